"""What is painted on the skin: eyes, brows, nose, mouth, beard and glasses, before light falls on it.

The pixels of all faces that show skin come as one list, so a plane is (M,) here and a colour (3, M).
"""

from __future__ import annotations

import torch
from torch import Tensor

from facecycle_plugins.datasets.synthetic.faces import MOTIONS, SHAPE, Faces

SOFT = 0.035
"""Width of a painted edge, about a pixel at 64 pixels."""


def smooth(distance: Tensor) -> Tensor:
    """Return the coverage of a pixel whose signed distance to an edge is given, positive inside."""
    return (distance / SOFT + 0.5).clamp_(0, 1)


def paint(faces: Faces, face: Tensor, point: list[Tensor]) -> Tensor:
    """Return the colours (3, M) of M pixels of skin.

    Args:
        faces: N faces.
        face: (M,) which of them a pixel shows.
        point: x, y, z (M,) each: where on the head it lies, in head coordinates.
    """
    layers = _Layers(faces, face, *point)
    layers.beard_and_blush()
    layers.eyes()
    layers.brows()
    layers.nose()
    layers.mouth()
    layers.glasses()
    return layers.skin


class _Layers:
    """A list of pixels and the layers painted on them, from the skin up."""

    def __init__(self, faces: Faces, face: Tensor, x: Tensor, y: Tensor, z: Tensor) -> None:
        def spread(numbers: Tensor) -> Tensor:
            """Give each pixel its face's numbers: (N, K) to (K, M)."""
            return numbers.T.index_select(1, face)

        self.x, self.y, self.across, self.front = x, y, x.abs(), smooth(z - 0.05)
        self.p = dict(zip(SHAPE, spread(faces.shape), strict=True))
        self.m = dict(zip(MOTIONS, spread(faces.motion), strict=True))
        self.gaze = faces.gaze.index_select(0, face)
        self.bare, self.hair, self.lips, self.iris = map(spread, (faces.skin, faces.hair, faces.lips, faces.iris))
        self.skin = self.bare.clone()

    def over(self, colour: Tensor | float, alpha: Tensor) -> None:
        """Paint a colour (3, M), or a grey, with coverage (M,)."""
        if isinstance(colour, float):
            colour = torch.full((1, 1), colour)
        self.skin.lerp_(colour.expand_as(self.skin), alpha)

    def beard_and_blush(self) -> None:
        """A beard below the mouth and along the jaw; red cheeks."""
        edge = -0.30 - self.y - 0.27 * (0.5 - self.across).clamp(min=0)
        self.over(self.hair, smooth(edge) * self.front * self.p["beard"].clamp(0, 0.85))
        blush = torch.exp(-(((self.across - 0.36) / 0.16) ** 2 + ((self.y + 0.20) / 0.13) ** 2))
        self.over(self.lips, blush * 0.25 * self.front)

    def eyes(self) -> None:
        """White, iris and pupil inside the lids, in a darker socket; then the line of the upper lid."""
        size = self.p["eye_size"]
        ex, ey = self.across - self.p["eye_spacing"], self.y - self.p["eye_height"]
        width, height = size * 1.25, size * 0.62 * self.m["eyes"]
        ring = (1 - ((ex / width) ** 2 + (ey / height) ** 2).clamp(min=1e-6).sqrt()) * height
        eye = smooth(ring) * self.front
        socket = torch.exp(-((ex / (width * 1.5)) ** 2 + ((ey - 0.02) / 0.12) ** 2))
        self.over(self.bare * 0.45, socket * self.front * 0.28)
        self.over(0.97, eye)
        towards = self.x - self.x.sign() * self.p["eye_spacing"] - self.gaze * size
        from_iris = (towards**2 + ey**2).sqrt()
        self.over(self.iris, smooth(size * 0.58 - from_iris) * eye)
        self.over(0.03, smooth(size * 0.26 - from_iris) * eye)
        lid = smooth(0.018 - ring.abs()) * smooth(ey + 0.4 * height) * self.front
        self.over(self.hair * 0.4, lid * 0.9)

    def brows(self) -> None:
        """A bar over each eye that bends down outwards; the tilt lifts its inner end."""
        outwards = self.across - 0.28
        inner = (0.30 - self.across) / 0.30
        middle = self.p["eye_height"] + 0.21 + self.m["brow"] + self.m["tilt"] * inner * 0.45
        thickness = self.p["brow_width"] * (1.1 - 0.5 * (outwards / 0.2).clamp(0, 1))
        bar = smooth(thickness - (self.y - middle + 0.35 * outwards**2).abs())
        self.over(self.hair * 0.8, bar * smooth(0.19 - (outwards - 0.01).abs()) * self.front * 0.95)

    def nose(self) -> None:
        """Nostrils; the wrinkles of disgust, and the folds beside a lifted lip."""
        wrinkle = (self.y * 90).sin() * torch.exp(-((self.x / 0.10) ** 2 + ((self.y - 0.06) / 0.09) ** 2))
        self.skin *= 1 - 0.28 * wrinkle.clamp(min=0) * self.m["wrinkle"] * self.front
        tip = self.y + 0.06 + self.p["nose_length"] * 0.55
        nostril = ((self.across - self.p["nose_width"] * 0.55) / 0.035) ** 2 + ((tip + 0.075) / 0.022) ** 2
        self.over(self.bare * 0.25, torch.exp(-nostril) * self.front * 0.9)
        fold = smooth(0.012 - (self.across - 0.17 + 0.55 * (self.y + 0.18)).abs())
        fold = fold * smooth(0.13 - (self.y + 0.32).abs()) * self.front
        amount = (self.m["wrinkle"] + 2.5 * self.m["curve"].clamp(min=0)).clamp(0, 1)
        self.over(self.bare * 0.55, fold * amount * 0.8)

    def mouth(self) -> None:
        """Lips that bend with the corners, and open around teeth or the dark of the mouth."""
        half = self.p["mouth_width"] * self.m["stretch"]
        arch = (1 - (self.across / half) ** 2).clamp(min=0)
        gape = self.m["gape"]
        # Corners up means the middle hangs below them.
        middle = -0.46 + self.m["curve"] * (0.55 - arch) - 0.25 * gape
        upper, lower = middle + gape * 0.5 * arch, middle - gape * 0.9 * arch
        lip = self.p["lip_height"] * (0.35 + 0.65 * arch)
        ends = smooth(half - self.across) * self.front
        lips = torch.minimum(upper + lip - self.y, self.y - lower + lip * 1.15)
        self.over(self.lips * 0.85, smooth(lips) * ends)
        gap = torch.minimum(upper - self.y, self.y - lower)
        opening = smooth(gap) * ends * (gape > 0.005)
        self.over(torch.tensor([[0.15], [0.06], [0.06]]), opening)
        teeth = torch.minimum(gap, 0.055 * self.m["teeth"] + 0.02 - (upper - self.y))
        self.over(0.95, smooth(teeth) * opening * (self.m["teeth"] > 0.1))
        line = smooth(0.010 - (self.y - middle).abs()) * ends * (gape <= 0.02)
        self.over(self.lips * 0.35, line * 0.9)

    def glasses(self) -> None:
        """A dark ring around each eye, and a bridge."""
        size = self.p["eye_size"]
        ex, ey = self.across - self.p["eye_spacing"], self.y - self.p["eye_height"]
        ring = ((ex / (size * 1.75)) ** 2 + (ey / (size * 1.4)) ** 2).clamp(min=1e-6).sqrt() - 1
        bridge = smooth(0.012 - (ey - 0.03).abs()) * smooth(0.12 - self.across)
        frame = torch.maximum(smooth(0.018 - ring.abs() * size * 1.5), bridge)
        self.over(0.08, frame * self.front * self.p["glasses"])
