"""The data set `turned`: photographs of faces seen from other sides, by a warp over the shape of a head.

A still has no second frame that shows the same person under another angle, so one is made: the picture is bent a
little in places, as a moving mouth or brow does, and laid over a smooth relief, which is turned and looked at again.
Nobody's true shape is known, so small turns are good and large ones are crude; that the same person moved is true of
all of them.
"""

import hashlib
import itertools
import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, field_validator
from torch import Tensor

from facecycle.api import BadFrame, Labelled, Task, Track, Verification
from facecycle.data.augment import greyscale
from facecycle.errors import NotOffered
from facecycle_plugins.datasets.unlabelled.tracks import TrackDataset, TrackOptions

VERSION = 1
"""Raise it when the same seed gives other pictures."""
TALL = 1.3
"""Height of a head over its width."""
DEPTH = 0.8
"""How far the middle of a face stands out, over the half width of the head."""
PIVOT = 0.3
"""Depth of the axes that a head turns about, over the same."""
ITERATIONS = 8
"""Each brings the place where a ray meets the relief nearer, at turns by 36 and 20 degrees to about half of before."""
BENDS = 4
"""Places of a face that move."""
REACH = 0.25
"""How far around them the face moves along, over its half width."""
RAYS = 33
"""Rays along each side of an image for which that place is computed; between them it is interpolated."""

Deviation = Annotated[float, Field(ge=0, le=20)]
"""Of an angle, in degrees. The relief turned by much more than twice 20 would hide parts of itself."""


class TurnedOptions(TrackOptions):
    """Options of the data set `turned`."""

    min_frames: int = Field(1, ge=1)
    """Shorter tracks are left out."""
    takes: int = Field(1, ge=1)
    """Tracks made of each track, each with its own scale, and grey or not."""
    turns: int = Field(8, ge=1)
    """Frames made of each image in a take, each turned and moved otherwise."""
    face: float = Field(0.75, gt=0, le=2)
    """Half width of the faces in the images, over half of the image's width."""
    angles: tuple[Deviation, Deviation, Deviation] = (10, 18, 8)
    """Deviation of the pitch, yaw and roll that are added, in degrees; cut at twice that."""
    scale: tuple[PositiveFloat, PositiveFloat] = (0.9, 1.1)
    """Range of a take's scale."""
    shift: float = Field(0.05, ge=0, le=1)
    """Deviation of the place, over half of the image's width; cut at twice that."""
    grey: float = Field(0.2, ge=0, le=1)
    """Share of the takes without colour."""
    bend: float = Field(0.05, ge=0, le=1)
    """Deviation of how far places of a face move, over the half width of the face; cut at twice that."""
    seed: int = Field(0, ge=0)
    """Seed of everything drawn."""

    @field_validator("scale")
    @classmethod
    def _is_a_range(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if bounds[0] > bounds[1]:
            raise ValueError("the smaller number comes first")
        return bounds


class Turned:
    """Every track of a `tracks` folder, or every still of a folder, as tracks of turned faces."""

    facecycle_api = (1, 0)
    Options = TurnedOptions
    licence = TrackDataset.licence

    def __init__(self, options: TurnedOptions) -> None:
        self.options = options
        own = {name: getattr(options, name) for name in TrackOptions.model_fields}
        self._files = TrackDataset(TrackOptions(**own))
        self.passed_over = self._files.passed_over
        self._sources = self._files.tracks()
        # Takes of a track follow each other, images within a take, and turns of an image.
        lengths = [len(track.frames) * options.turns for track in self._sources for _ in range(options.takes)]
        self._starts = np.cumsum([0, *lengths])

    def tracks(self) -> list[Track]:
        """Return the takes of every track, in natural order."""
        takes = itertools.product(self._sources, range(self.options.takes))
        ends = itertools.pairwise(self._starts.tolist())
        return [
            Track(f"{source.name}#{take}", source.identity, range(start, stop))
            for (source, take), (start, stop) in zip(takes, ends, strict=True)
        ]

    def labelled(self, task: Task) -> Labelled | Verification:
        """Turned faces carry no labels.

        Raises:
            NotOffered: always.
        """
        raise NotOffered(f"the data set 'turned' has no labels for {task}", hint="Probe the images themselves.")

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Turn frames and return them as RGB uint8 (n, 3, size, size); a bad one's pixels are zero and it is named."""
        options = self.options
        wanted = np.asarray(frames, dtype=np.int64)
        places = np.searchsorted(self._starts, wanted, "right") - 1
        inside = (wanted - self._starts[places]) // options.turns
        sources = [
            self._sources[place // options.takes].frames[image] for place, image in zip(places, inside, strict=True)
        ]
        # Read larger than they are shown, for the warp blurs and may enlarge.
        pixels, bad = self._files.images(sources, size * 3 // 2)
        scale, grey = torch.tensor([_draw_take(options, place) for place in places.tolist()]).view(-1, 2).T
        motions = [_draw_frame(options, frame) for frame in wanted.tolist()]
        angles, shift, bends = torch.from_numpy(np.array(motions, np.float32)).split((3, 2, 4 * BENDS), 1)
        turned = turn(pixels.float(), size, angles, scale, shift, bends.unflatten(1, (BENDS, 4)), options.face)
        return greyscale(turned, grey.bool()).round().clamp(0, 255).to(torch.uint8), bad

    def fingerprint(self) -> str:
        """Return a digest that changes with the files, the options and how faces are turned."""
        own = self.options.model_dump_json(exclude={"path"})
        return hashlib.sha256(f"{VERSION}{own}{self._files.fingerprint()}".encode()).hexdigest()


def _draw_take(options: TurnedOptions, take: int) -> tuple[float, float]:
    """Draw what stays through a take: the scale, and whether it is grey (1) or not (0)."""
    rng = np.random.default_rng([options.seed, 1, take])
    low, high = map(math.log, options.scale)
    return math.exp(rng.uniform(low, high)), float(rng.uniform() < options.grey)


def _draw_frame(options: TurnedOptions, frame: int) -> np.ndarray:
    """Draw what changes from frame to frame.

    Returns:
        Pitch, yaw and roll in radians; shift along x and y, and `BENDS` times a place and its move, in grid units.
    """
    bend = np.array([0.5, 0.5 * TALL, options.bend, options.bend]) * options.face
    deviations = np.concatenate([np.radians(options.angles), [options.shift] * 2, np.tile(bend, BENDS)])
    return np.random.default_rng([options.seed, 2, frame]).standard_normal(len(deviations)).clip(-2, 2) * deviations


def turn(images: Tensor, size: int, angles: Tensor, scale: Tensor, shift: Tensor, bends: Tensor, face: float) -> Tensor:
    """Turn the faces in images (n, C, H, W), which are laid over a relief and seen along parallel rays.

    The relief is z(x, y) = DEPTH · face · exp(-(x² + (y / TALL)²) / face²): the head stands out, and what is around
    it is flat. Where a ray meets it has no closed form and is found by iteration, on a coarse grid: it is smooth.

    Args:
        images: float images, H = W.
        size: side of the turned images in pixels.
        angles: (n, 3) pitch, yaw and roll in radians: up, to the left of the picture, and clockwise are positive.
        scale: (n,) how much larger the face becomes.
        shift: (n, 2) to the right and down, in grid units: [-1, 1] spans the image.
        bends: (n, k, 4) x and y of places of the face, and how far each moves to the right and down, in grid units.
        face: half width of the face in grid units.
    """
    pitch, yaw, roll = angles.T
    zero, one = torch.zeros_like(roll), torch.ones_like(roll)
    # x to the right, y down, z towards the viewer.
    about_x = [one, zero, zero, zero, pitch.cos(), -pitch.sin(), zero, pitch.sin(), pitch.cos()]
    about_y = [yaw.cos(), zero, -yaw.sin(), zero, one, zero, yaw.sin(), zero, yaw.cos()]
    about_z = [roll.cos(), -roll.sin(), zero, roll.sin(), roll.cos(), zero, zero, zero, one]
    rotation = torch.eye(3)
    for entries in (about_x, about_y, about_z):
        rotation = torch.stack(entries, 1).view(-1, 3, 3) @ rotation
    rotation = rotation * scale[:, None, None]
    # A point (x, y, z) is seen at flat · (x, y) + out · z, so (x, y) = flat⁻¹ · (seen - out · z(x, y)).
    back = torch.linalg.inv(rotation[:, :2, :2])
    out = (back @ rotation[:, :2, 2:])[:, None, None, :, 0]
    line = torch.linspace(-1, 1, RAYS)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    seen = torch.stack([columns, rows], -1) - shift[:, None, None]
    flat = torch.einsum("nij,nhwj->nhwi", back, seen)
    reach = face * torch.tensor([1, TALL])
    place = flat
    for _ in range(ITERATIONS):
        height = torch.exp(-((place / reach) ** 2).sum(-1, keepdim=True)) - PIVOT
        place = flat - out * (DEPTH * face * height)
    near = torch.exp(-((place[:, None] - bends[:, :, None, None, :2]) ** 2).sum(-1, keepdim=True) / (REACH * face) ** 2)
    place = place - (near * bends[:, :, None, None, 2:]).sum(1)
    grid = F.interpolate(place.permute(0, 3, 1, 2), [size, size], mode="bilinear", align_corners=True)
    return F.grid_sample(images, grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=True)
