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

CHUNK = 32
"""Faces rendered together; their planes fit a processor's cache."""

NOWHERE = -9.0
"""Depth of a ray that has met nothing: behind everything."""


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
    """Rays of a chunk, and the nearest surface of the head each has met so far.

    A ray starts at (x, y, 0) of the camera and runs along z. It has the same x in a column of pixels and the
    same y in a row, so these are (N, 1, W) and (N, H, 1), and what is linear in them costs next to nothing.
    """

    def __init__(self, faces: Faces, size: int) -> None:
        self.faces = faces
        line = (torch.arange(size) + 0.5) / size * 2 - 1
        self.row, self.column = -line[:, None], line
        place = faces.place[:, :, None, None]
        self.x, self.y = (self.column - place[:, 0]) / place[:, 2], (self.row - place[:, 1]) / place[:, 2]
        self.matrix = rotation(faces.pose)
        self.depth = torch.full((len(faces), size, size), NOWHERE)
        self.cover = torch.zeros_like(self.depth)
        self.part = torch.zeros_like(self.depth, dtype=torch.long)
        self.parts: list[Tensor] = []

    def ellipsoid(self, *numbers: Tensor | float) -> Tensor:
        """Return centre and radii as (N, 6)."""
        return torch.stack([n if isinstance(n, Tensor) else torch.full_like(self.faces.ambient, n) for n in numbers], 1)

    def hit(self, part: Tensor) -> tuple[Tensor, Tensor]:
        """Meet an ellipsoid (N, 6): coverage and depth, (N, H, W) each.

        Where the ellipsoid is the unit sphere a ray is o + depth d, with o linear in (x, y, 1). It meets the
        sphere at depth = -od/dd +- sqrt(inside), inside = (od/dd)^2 - (oo - 1)/dd, a quadratic form in (x, y, 1).
        """
        inverse = 1 / part[:, None, 3:]
        d = self.matrix[:, 2:] * inverse
        o = torch.cat([self.matrix[:, :2], -part[:, None, :3]], 1) * inverse
        dd = d.square().sum(2, keepdim=True)
        od = (o @ d.mT / dd)[..., None]  # (N, 3, 1, 1)
        oo = o @ o.mT
        oo[:, 2, 2] -= 1
        form = (od[..., 0] * od[..., 0].mT - oo / dd)[..., None, None]
        x, y = self.x, self.y
        inside = x * (form[:, 0, 0] * x + 2 * form[:, 0, 2]) + (
            y * (form[:, 1, 1] * y + 2 * form[:, 1, 2]) + form[:, 2, 2]
        )
        inside.addcmul_(x, 2 * form[:, 0, 1] * y)
        cover = smooth(inside * 0.6)
        return cover, inside.clamp_(min=0).sqrt_().sub_(od[:, 0] * x).sub_(od[:, 1] * y + od[:, 2])

    def point(self, depth: Tensor) -> list[Tensor]:
        """Return where the rays are at a depth, in head coordinates."""
        m = self.matrix[..., None, None]
        return [(m[:, 0, i] * self.x + m[:, 1, i] * self.y).addcmul_(depth, m[:, 2, i]) for i in range(3)]

    def add(self, *numbers: Tensor | float) -> None:
        """Add an ellipsoid, centre and radii, to the skin; nearer surfaces hide farther ones."""
        part = self.ellipsoid(*numbers)
        cover, depth = self.hit(part)
        depth.masked_fill_(cover == 0, NOWHERE)
        self.part.masked_fill_(depth > self.depth, len(self.parts))
        self.depth = torch.maximum(self.depth, depth)
        self.cover = torch.maximum(self.cover, cover)
        self.parts.append(part)

    def soften(self, count: int, factor: float) -> None:
        """Light the last parts as if they were wider: a nose's true sides would be as dark as its underside."""
        for part in self.parts[-count:]:
            part[:, 3] *= factor

    def skin(self) -> tuple[Tensor, Tensor]:
        """Return the colours (M, 3) of the M pixels that show skin, and their places (M,) in (N x H x W)."""
        where = self.cover.flatten().nonzero()[:, 0]
        face = where // self.cover[0].numel()
        point = [plane.flatten().index_select(0, where) for plane in self.point(self.depth)]
        part = face * len(self.parts) + self.part.flatten().index_select(0, where)
        ellipsoid = torch.stack(self.parts, 2).transpose(0, 1).flatten(1).index_select(1, part)  # (6, M)
        towards, ambient = self.towards().T.index_select(1, face), self.faces.ambient.index_select(0, face)
        light = lambert(point, list(ellipsoid), list(towards), ambient)
        return (paint(self.faces, face, point) * light).T.contiguous(), where

    def towards(self) -> Tensor:
        """Return the direction of the light (N, 3) in head coordinates."""
        return torch.einsum("nij,ni->nj", self.matrix, self.faces.light)


def lambert(point: list[Tensor], ellipsoid: list[Tensor], towards: list[Tensor], ambient: Tensor) -> Tensor:
    """Return the light on points of ellipsoids by Lambert's cosine; 1 where they are lit fully.

    Args:
        point: x, y, z.
        ellipsoid: centre and radii, six numbers or planes.
        towards: unit vector to the light.
        ambient: light in the shade, 0 to 1.
    """
    normal = [(point[i] - ellipsoid[i]) / ellipsoid[3 + i].square() for i in range(3)]
    lit = (normal[0] * towards[0]).addcmul_(normal[1], towards[1]).addcmul_(normal[2], towards[2])
    length = normal[0].square_().addcmul_(normal[1], normal[1]).addcmul_(normal[2], normal[2]).sqrt_()
    return (lit / length.clamp_(min=1e-6)).clamp_(min=0).mul_(1.15 - ambient).add_(ambient)


def _over(image: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    """Paint a colour (N, 3), or (N, 3, H, W), over an image (N, 3, H, W) with coverage (N, H, W), in place."""
    if colour.dim() == 2:
        colour = colour[:, :, None, None]
    # In place: new planes for every layer cost more in page faults than the arithmetic.
    return image.lerp_(colour.expand_as(image), alpha[:, None])


def _background(faces: Faces, scene: _Scene) -> Tensor:
    top, bottom = faces.ground[:, 0, :, None, None], faces.ground[:, 1, :, None, None]
    image = torch.lerp(bottom, top, scene.row / 2 + 0.5).repeat(1, 1, 1, scene.column.numel())
    for blob in range(faces.blobs.shape[1]):
        x, y, width = (faces.blobs[:, blob, i, None, None] for i in range(3))
        alpha = torch.exp(-((scene.column - x) ** 2 + (scene.row - y) ** 2) / (width * width))
        image = _over(image, faces.blobs[:, blob, 3:], alpha * 0.7)
    return image


def _render(faces: Faces, size: int) -> Tensor:
    scene = _Scene(faces, size)
    s = dict(zip(SHAPE, faces.shape.unbind(1), strict=True))
    image = _background(faces, scene)

    # Neck and shoulders stay with the body: they do not turn.
    neck = smooth(0.36 * s["width"][:, None, None] / 0.75 - scene.x.abs()) * smooth(-0.45 - scene.y)
    neck_light = 0.62 + 0.1 * (1 - (scene.x / 0.4) ** 2).clamp(min=0)
    image = _over(image, faces.skin[:, :, None, None] * neck_light[:, None], neck)
    shoulders = smooth(-1.02 - 0.28 * scene.x**2 - scene.y)
    image = _over(image, faces.ground.flip(1)[:, 0] * 0.55, shoulders)
    back, _ = scene.hit(scene.ellipsoid(0.0, 0.05, -0.15, s["width"] + 0.12, 0.98, 0.75))
    long_hair = back * smooth(0.25 - s["hair_length"])[:, None, None]
    long_hair = long_hair * smooth(scene.y - s["hair_length"][:, None, None])
    image = _over(image, faces.hair * 0.6, long_hair)

    scene.add(0.0, 0.16, -0.08, s["width"], 0.80, 0.80)
    scene.add(0.0, -0.28, 0.02, s["width"] * s["jaw"] * 0.88, 0.70, 0.66)
    for side in (-1.0, 1.0):
        scene.add(s["width"] * side, 0.0, -0.10, 0.09, 0.19, 0.12)
    tip = -0.02 - s["nose_length"] * 0.55
    scene.add(0.0, tip + s["nose_length"] * 0.40, 0.70, s["nose_width"] * 0.6, s["nose_length"] * 0.75, 0.09)
    scene.add(0.0, tip - 0.04, 0.73, s["nose_width"] * 1.05, 0.085, 0.13)
    scene.soften(2, 2.0)

    colour, where = scene.skin()
    pixels = image.permute(0, 2, 3, 1).reshape(-1, 3)
    alpha = scene.cover.flatten().index_select(0, where)
    pixels.index_copy_(0, where, pixels.index_select(0, where).lerp_(colour, alpha[:, None]))
    image = pixels.view(-1, size, size, 3).permute(0, 3, 1, 2)
    image = _hair(image, faces, scene, s)
    return image.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def _hair(image: Tensor, faces: Faces, scene: _Scene, s: dict[str, Tensor]) -> Tensor:
    """Put hair over the head: all of a larger skull but the face's window in it."""
    skull = scene.ellipsoid(0.0, 0.22, -0.12, s["width"] + 0.07, 0.86, 0.84)
    cover, depth = scene.hit(skull)
    x, y, z = scene.point(depth)
    # In front the hairline bends down to the temples; behind the ears hair reaches its length.
    temple = s["hairline"][:, None, None] - 0.9 * x * x
    sides = s["hair_length"].clamp(min=-0.35)[:, None, None]
    edge = torch.lerp(sides.expand_as(z), temple, smooth((z + 0.02) * 0.25))
    alpha = cover * smooth((y - edge) * 0.8) * (depth > scene.depth - 0.12)
    strands = 1 + 0.10 * (x * 45 + 6 * y).sin()
    ellipsoid, towards = (list(numbers[..., None, None].unbind(1)) for numbers in (skull, scene.towards()))
    light = lambert([x, y, z], ellipsoid, towards, faces.ambient[:, None, None])
    return _over(image, faces.hair[:, :, None, None] * (light * strands)[:, None], alpha)
