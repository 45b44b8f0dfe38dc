"""What a rendered face is made of: identity, expression, pose, light and background, drawn from seeds."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

# How each expression moves the face, in units of the head's half height. brow: up; tilt: inner end up; eyes:
# openness; curve: mouth corners up; gape: mouth open; stretch: mouth width; teeth: shown; wrinkle: of the nose.
MOTIONS = ("brow", "tilt", "eyes", "curve", "gape", "stretch", "teeth", "wrinkle")
_EXPRESSIONS = {
    "neutral": [0.00, 0.00, 1.00, 0.00, 0.00, 1.00, 0.0, 0.0],
    "happy": [0.02, 0.00, 0.70, 0.13, 0.07, 1.35, 1.0, 0.0],
    "sad": [0.00, 0.22, 0.70, -0.12, 0.00, 0.85, 0.0, 0.0],
    "surprise": [0.11, 0.00, 1.55, 0.00, 0.22, 0.70, 0.0, 0.0],
    "anger": [-0.07, -0.28, 0.80, -0.05, 0.05, 1.00, 1.0, 0.2],
    "fear": [0.08, 0.20, 1.45, -0.07, 0.10, 1.15, 0.6, 0.0],
    "disgust": [-0.05, -0.12, 0.45, -0.09, 0.03, 0.90, 0.0, 1.0],
}
EXPRESSIONS = tuple(_EXPRESSIONS)
_EXPRESSION_TABLE = torch.tensor(list(_EXPRESSIONS.values()))

_SKIN = torch.tensor([[0.96, 0.82, 0.71], [0.87, 0.67, 0.53], [0.72, 0.51, 0.37], [0.46, 0.30, 0.21]])
_HAIR = torch.tensor(
    [[0.09, 0.07, 0.06], [0.29, 0.18, 0.10], [0.62, 0.45, 0.22], [0.45, 0.20, 0.10], [0.62, 0.61, 0.60]]
)
_IRIS = torch.tensor([[0.25, 0.15, 0.08], [0.25, 0.42, 0.62], [0.30, 0.45, 0.25], [0.40, 0.36, 0.30]])


@dataclasses.dataclass(frozen=True)
class Faces:
    """Parameters of N faces. Lengths are in half heights of the head; colours are RGB in [0, 1].

    Identity: `shape` (N, 14) as named by `SHAPE`, `skin`, `hair`, `lips`, `iris` (N, 3).
    Motion: `motion` (N, 8) as named by `MOTIONS`, `gaze` (N,).
    Pose: `pose` (N, 3) pitch, yaw, roll in degrees; `place` (N, 3) shift x, y and scale in the image.
    Scene: `light` (N, 3) unit vector to the light, `ambient` (N,), `ground` (N, 2, 3) background colours
    at top and bottom, `blobs` (N, 2, 6) their x, y, width and colour.
    """

    shape: Tensor
    skin: Tensor
    hair: Tensor
    lips: Tensor
    iris: Tensor
    motion: Tensor
    gaze: Tensor
    pose: Tensor
    place: Tensor
    light: Tensor
    ambient: Tensor
    ground: Tensor
    blobs: Tensor

    def __len__(self) -> int:
        return len(self.pose)

    def take(self, rows: Tensor | slice) -> Faces:
        """Return the faces of the given rows."""
        return Faces(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})


_SHAPE_RANGES = {
    "width": (0.68, 0.82),
    "jaw": (0.78, 1.02),
    "eye_size": (0.085, 0.12),
    "eye_spacing": (0.25, 0.33),
    "eye_height": (0.05, 0.14),
    "brow_width": (0.022, 0.05),
    "nose_width": (0.075, 0.125),
    "nose_length": (0.20, 0.30),
    "mouth_width": (0.19, 0.28),
    "lip_height": (0.035, 0.065),
    "hairline": (0.46, 0.72),
    "hair_length": (-0.75, 0.35),
    "beard": (-2.5, 1.0),
    "glasses": (-3.0, 1.0),
}
SHAPE = tuple(_SHAPE_RANGES)


def _uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.from_numpy(rng.uniform(low, high, shape).astype(np.float32))


def draw_identity(seed: int, number: int) -> dict[str, Tensor]:
    """Draw the lasting features of person `number`; two numbers never give the same person."""
    rng = np.random.default_rng([seed, 1, number])
    low, high = torch.tensor(list(_SHAPE_RANGES.values())).T
    shape = low + (high - low) * _uniform(rng, 0, 1, len(SHAPE))
    # Beard and glasses are there or not: most of their range is not.
    shape[-2] = shape[-2].clamp(min=0)
    shape[-1] = (shape[-1] > 0).float()
    tone = rng.uniform(0, len(_SKIN) - 1.001)
    skin = torch.lerp(_SKIN[int(tone)], _SKIN[int(tone) + 1], tone % 1)
    skin = (skin + _uniform(rng, -0.03, 0.03, 3)).clamp(0, 1)
    hair = (_HAIR[rng.integers(len(_HAIR))] * _uniform(rng, 0.75, 1.25, 1)).clamp(0, 1)
    red = torch.tensor([0.75, 0.33, 0.33])
    lips = torch.lerp(skin * torch.tensor([0.92, 0.68, 0.66]), red, float(rng.uniform(0, 0.45)))
    return {"shape": shape, "skin": skin, "hair": hair, "lips": lips, "iris": _IRIS[rng.integers(len(_IRIS))]}


def motion_of(expression: int, intensity: float) -> Tensor:
    """Return the motion (8,) of an expression between neutral (0) and full (1)."""
    return torch.lerp(_EXPRESSION_TABLE[0], _EXPRESSION_TABLE[expression], intensity)


def draw_scene(seed: int, person: int, take: int) -> dict[str, Tensor]:
    """Draw what stays through a take: light and background."""
    rng = np.random.default_rng([seed, 2, person, take])
    angle, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.9)
    light = torch.tensor([np.cos(angle) * tilt, abs(np.sin(angle)) * tilt, np.sqrt(1 - tilt**2)]).float()
    blobs = torch.cat([_uniform(rng, -1, 1, 2, 2), _uniform(rng, 0.2, 0.6, 2, 1), _uniform(rng, 0, 1, 2, 3)], 1)
    return {
        "light": light,
        "ambient": _uniform(rng, 0.45, 0.7, 1)[0],
        "ground": _uniform(rng, 0.05, 0.95, 2, 3),
        "blobs": blobs,
    }


def draw_frame(seed: int, person: int, frame: int) -> dict[str, Tensor]:
    """Draw what changes from frame to frame: expression, gaze, pose and place.

    Head angles are normal with deviations of 12 (pitch), 25 (yaw) and 8 (roll) degrees, cut at 30, 60
    and 25. `expression` is the class id.
    """
    rng = np.random.default_rng([seed, 3, person, frame])
    expression = int(rng.integers(len(EXPRESSIONS)))
    motion = motion_of(expression, float(rng.uniform(0.65, 1.0)))
    pose = torch.from_numpy(rng.normal(0, [12, 25, 8]).astype(np.float32))
    limit = torch.tensor([30.0, 60.0, 25.0])
    return {
        "expression": torch.tensor(expression),
        "motion": motion,
        "gaze": _uniform(rng, -0.25, 0.25, 1)[0],
        "pose": torch.maximum(torch.minimum(pose, limit), -limit),
        "place": torch.cat([_uniform(rng, -0.05, 0.05, 2), _uniform(rng, 0.70, 0.78, 1)]),
    }


def stack(rows: list[dict[str, Tensor]]) -> Faces:
    """Combine faces, each an identity, a scene and a frame in one."""
    return Faces(**{f.name: torch.stack([row[f.name] for row in rows]) for f in dataclasses.fields(Faces)})


def neutral(faces: Faces) -> Faces:
    """Return the same people in the same light, without expression, looking straight ahead."""
    return dataclasses.replace(
        faces,
        motion=_EXPRESSION_TABLE[0].expand_as(faces.motion),
        gaze=torch.zeros_like(faces.gaze),
        pose=torch.zeros_like(faces.pose),
    )
