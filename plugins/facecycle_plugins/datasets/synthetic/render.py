"""Face parameters to pictures: rays meet ellipsoids, and the face is painted on the head they hit.

Camera coordinates: x right, y up, z towards the viewer; the image spans [-1, 1]. Head coordinates have
the same axes and turn with the head. Everything is a tensor operation over (N, H, W).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from facecycle_plugins.datasets.synthetic.faces import SHAPE, Faces
from facecycle_plugins.datasets.synthetic.paint import paint, smooth

CHUNK = 16
"""Faces rendered together; their planes fit a processor's cache."""


def rotation(pose: Tensor) -> Tensor:
    """Return the matrices (N, 3, 3) that turn head into camera coordinates.

    Args:
        pose: (N, 3) pitch, yaw, roll in degrees. Positive pitch looks up, positive yaw turns the face to
            the right of the image, positive roll tilts the head clockwise as seen in the image.
    """
    pitch, yaw, roll = (pose * (math.pi / 180)).unbind(-1)
    one, zero = torch.ones_like(pitch), torch.zeros_like(pitch)

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, -1).view(-1, 3, 3)

    about_x = matrix(one, zero, zero, zero, pitch.cos(), pitch.sin(), zero, -pitch.sin(), pitch.cos())
    about_y = matrix(yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos())
    about_z = matrix(roll.cos(), roll.sin(), zero, -roll.sin(), roll.cos(), zero, zero, zero, one)
    return about_z @ about_y @ about_x


def render(faces: Faces, size: int) -> Tensor:
    """Render faces as RGB uint8 (N, 3, size, size)."""
    parts = [_render(faces.take(slice(i, i + CHUNK)), size) for i in range(0, len(faces), CHUNK)]
    return torch.cat(parts) if parts else torch.zeros(0, 3, size, size, dtype=torch.uint8)


class _Scene:
    """Rays of a chunk in head coordinates, and the nearest surface each has met so far."""

    def __init__(self, faces: Faces, size: int) -> None:
        self.faces = faces
        line = (torch.arange(size) + 0.5) / size * 2 - 1
        self.y, self.x = torch.meshgrid(-line, line, indexing="ij")
        scale = faces.place[:, 2, None, None]
        self.px = (self.x - faces.place[:, 0, None, None]) / scale
        self.py = (self.y - faces.place[:, 1, None, None]) / scale
        self.matrix = rotation(faces.pose)
        # Inverse rotation is the transpose; a ray starts in the plane z = 0 and runs along z.
        m = self.matrix[..., None, None]
        self.origin = [m[:, 0, i] * self.px + m[:, 1, i] * self.py for i in range(3)]
        self.direction = [m[:, 2, i] for i in range(3)]
        self.depth = torch.full_like(self.px, -9.0)
        self.cover = torch.zeros_like(self.px)
        self.part = torch.zeros_like(self.px, dtype=torch.long)
        self.parts: list[Tensor] = []

    def ellipsoid(self, *numbers: Tensor | float) -> Tensor:
        """Return centre and radii as (N, 6)."""
        return torch.stack([n if isinstance(n, Tensor) else torch.full_like(self.faces.ambient, n) for n in numbers], 1)

    def hit(self, part: Tensor) -> tuple[Tensor, Tensor]:
        """Meet an ellipsoid (N, 6): coverage and depth, (N, H, W) each."""
        centre, inverse = part[:, :3, None, None], 1 / part[:, 3:, None, None]
        o = [(self.origin[i] - centre[:, i]).mul_(inverse[:, i]) for i in range(3)]
        d = [self.direction[i] * inverse[:, i] for i in range(3)]
        dd = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
        od = (o[0] * d[0]).addcmul_(o[1], d[1]).addcmul_(o[2], d[2]).div_(dd)
        oo = (o[0] * o[0]).addcmul_(o[1], o[1]).addcmul_(o[2], o[2])
        inside = (od * od).sub_((oo - 1).div_(dd))
        return smooth(inside * 0.6), inside.clamp(min=0).sqrt_().sub_(od)

    def add(self, *numbers: Tensor | float) -> None:
        """Add an ellipsoid, centre and radii, to the skin; nearer surfaces hide farther ones."""
        part = self.ellipsoid(*numbers)
        cover, depth = self.hit(part)
        nearer = (cover > 0) & (depth > self.depth)
        self.depth = torch.where(nearer, depth, self.depth)
        self.part.masked_fill_(nearer, len(self.parts))
        self.cover = torch.maximum(self.cover, cover)
        self.parts.append(part)

    def soften(self, count: int, factor: float) -> None:
        """Light the last parts as if they were wider: a nose's true sides would be as dark as its underside."""
        for part in self.parts[-count:]:
            part[:, 3] *= factor

    def point(self, depth: Tensor) -> list[Tensor]:
        """Return where the rays are at a depth, in head coordinates."""
        return [o + depth * d for o, d in zip(self.origin, self.direction, strict=True)]

    def skin_light(self, point: list[Tensor]) -> Tensor:
        """Return the light on the nearest surface of the skin."""
        numbers = torch.stack(self.parts, 1)
        rows = torch.arange(len(numbers))[:, None, None]
        return self.light(point, [numbers[..., i][rows, self.part] for i in range(6)])

    def light(self, point: list[Tensor], part: list[Tensor]) -> Tensor:
        """Return Lambert's light on points of ellipsoids, given as six planes; 1 where they are lit fully."""
        normal = [(point[i] - part[i]) / part[3 + i].square() for i in range(3)]
        towards = torch.einsum("nij,ni->nj", self.matrix, self.faces.light)[..., None, None]
        lit = normal[0] * towards[:, 0] + normal[1] * towards[:, 1] + normal[2] * towards[:, 2]
        length = (normal[0].square() + normal[1].square() + normal[2].square()).sqrt().clamp_(min=1e-6)
        ambient = self.faces.ambient[:, None, None]
        return ambient + (1.15 - ambient) * (lit / length).clamp_(min=0)


def _over(image: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    """Paint a colour (N, 3), or (N, 3, H, W), over an image (N, 3, H, W) with coverage (N, H, W), in place."""
    if colour.dim() == 2:
        colour = colour[:, :, None, None]
    # In place: new planes for every layer cost more in page faults than the arithmetic.
    return image.lerp_(colour.expand_as(image), alpha[:, None])


def _background(faces: Faces, scene: _Scene) -> Tensor:
    top, bottom = faces.ground[:, 0, :, None, None], faces.ground[:, 1, :, None, None]
    image = torch.lerp(bottom, top, (scene.y / 2 + 0.5).expand(len(faces), 3, -1, -1))
    for blob in range(faces.blobs.shape[1]):
        x, y, width = (faces.blobs[:, blob, i, None, None] for i in range(3))
        alpha = torch.exp(-((scene.x - x) ** 2 + (scene.y - y) ** 2) / (width * width))
        image = _over(image, faces.blobs[:, blob, 3:], alpha * 0.7)
    return image


def _render(faces: Faces, size: int) -> Tensor:
    scene = _Scene(faces, size)
    s = dict(zip(SHAPE, faces.shape.unbind(1), strict=True))
    image = _background(faces, scene)

    # Neck and shoulders stay with the body: they do not turn.
    neck = smooth(0.36 * s["width"][:, None, None] / 0.75 - scene.px.abs()) * smooth(-0.45 - scene.py)
    neck_light = 0.62 + 0.1 * (1 - (scene.px / 0.4) ** 2).clamp(min=0)
    image = _over(image, faces.skin[:, :, None, None] * neck_light[:, None], neck)
    shoulders = smooth(-1.02 - 0.28 * scene.px**2 - scene.py)
    image = _over(image, faces.ground.flip(1)[:, 0] * 0.55, shoulders)
    back, _ = scene.hit(scene.ellipsoid(0.0, 0.05, -0.15, s["width"] + 0.12, 0.98, 0.75))
    long_hair = back * smooth(0.25 - s["hair_length"])[:, None, None]
    long_hair = long_hair * smooth(scene.py - s["hair_length"][:, None, None])
    image = _over(image, faces.hair * 0.6, long_hair)

    scene.add(0.0, 0.16, -0.08, s["width"], 0.80, 0.80)
    scene.add(0.0, -0.28, 0.02, s["width"] * s["jaw"] * 0.88, 0.70, 0.66)
    for side in (-1.0, 1.0):
        scene.add(s["width"] * side, 0.0, -0.10, 0.09, 0.19, 0.12)
    tip = -0.02 - s["nose_length"] * 0.55
    scene.add(0.0, tip + s["nose_length"] * 0.40, 0.70, s["nose_width"] * 0.6, s["nose_length"] * 0.75, 0.09)
    scene.add(0.0, tip - 0.04, 0.73, s["nose_width"] * 1.05, 0.085, 0.13)
    scene.soften(2, 2.0)

    point = scene.point(scene.depth)
    skin = faces.skin[:, :, None, None].repeat(1, 1, size, size)
    paint(skin, faces, point, scene.cover)
    image = _over(image, skin * scene.skin_light(point)[:, None], scene.cover)
    image = _hair(image, faces, scene, s)
    return image.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def _hair(image: Tensor, faces: Faces, scene: _Scene, s: dict[str, Tensor]) -> Tensor:
    """Put hair over the head: all of a larger skull but the face's window in it."""
    skull = scene.ellipsoid(0.0, 0.22, -0.12, s["width"] + 0.07, 0.86, 0.84)
    cover, depth = scene.hit(skull)
    point = x, y, z = scene.point(depth)
    # In front the hairline bends down to the temples; behind the ears hair reaches its length.
    temple = s["hairline"][:, None, None] - 0.9 * x * x
    sides = s["hair_length"].clamp(min=-0.35)[:, None, None]
    edge = torch.lerp(sides.expand_as(z), temple, smooth((z + 0.02) * 0.25))
    alpha = cover * smooth((y - edge) * 0.8) * (depth > scene.depth - 0.12)
    strands = 1 + 0.10 * (x * 45 + 6 * y).sin()
    light = scene.light(point, list(skull[..., None, None].unbind(1)))
    return _over(image, faces.hair[:, :, None, None] * (light * strands)[:, None], alpha)
