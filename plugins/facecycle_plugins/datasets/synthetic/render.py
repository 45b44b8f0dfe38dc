"""Face parameters to pictures: rays meet ellipsoids, and the face is painted on the head they hit.

Camera coordinates: x right, y up, z towards the viewer; the image spans [-1, 1]. Head coordinates have the same axes
and turn with the head. Rays are (N, H, W). The pixels that show skin come as one list of all faces, so there a plane
is (M,) and a colour (3, M).
"""

import math

import torch
from torch import Tensor

from facecycle_plugins.datasets.synthetic.faces import MOTIONS, SHAPE, Faces

CHUNK = 32
"""Faces rendered together; their planes fit a processor's cache."""
NOWHERE = -9.0  # depth of a ray that has met nothing: behind everything
SOFT = 0.035  # width of a painted edge, about a pixel at 64 pixels


def smooth(distance: Tensor) -> Tensor:
    """Return the coverage of a pixel whose signed distance to an edge is given, positive inside."""
    return (distance / SOFT + 0.5).clamp_(0, 1)


def rotation(pose: Tensor) -> Tensor:
    """Return the matrices (N, 3, 3) that turn head into camera coordinates.

    `pose` (N, 3) is pitch, yaw, roll in degrees: up, to the right of the image and clockwise are positive.
    """
    pitch, yaw, roll = (pose * (math.pi / 180)).unbind(-1)
    one, zero = torch.ones_like(pitch), torch.zeros_like(pitch)

    about_x = (one, zero, zero, zero, pitch.cos(), pitch.sin(), zero, -pitch.sin(), pitch.cos())
    about_y = (yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos())
    about_z = (roll.cos(), roll.sin(), zero, -roll.sin(), roll.cos(), zero, zero, zero, one)
    x, y, z = (torch.stack(entries, -1).view(-1, 3, 3) for entries in (about_x, about_y, about_z))
    return z @ y @ x


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
        self.towards = torch.einsum("nij,ni->nj", self.matrix, faces.light)  # to the light, in head coordinates
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
        rest = y * (form[:, 1, 1] * y + 2 * form[:, 1, 2]) + form[:, 2, 2]
        inside = x * (form[:, 0, 0] * x + 2 * form[:, 0, 2]) + rest
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

    def skin(self) -> tuple[Tensor, Tensor]:
        """Return the colours (M, 3) of the M pixels that show skin, and their places (M,) in (N x H x W)."""
        where = self.cover.flatten().nonzero()[:, 0]
        face = where // self.cover[0].numel()
        point = [plane.flatten().index_select(0, where) for plane in self.point(self.depth)]
        part = face * len(self.parts) + self.part.flatten().index_select(0, where)
        ellipsoid = torch.stack(self.parts, 2).transpose(0, 1).flatten(1).index_select(1, part)  # (6, M)
        towards, ambient = self.towards.T.index_select(1, face), self.faces.ambient.index_select(0, face)
        light = lambert(point, list(ellipsoid), list(towards), ambient)
        return (_Layers(self.faces, face, *point).skin * light).T.contiguous(), where


def lambert(point: list[Tensor], ellipsoid: list[Tensor], towards: list[Tensor], ambient: Tensor) -> Tensor:
    """Return the light on points x, y, z of ellipsoids by Lambert's cosine; 1 where they are lit fully.

    `ellipsoid` has centre and radii, `towards` the unit vector to the light, `ambient` the light in the shade, 0 to 1.
    """
    normal = [(point[i] - ellipsoid[i]) / ellipsoid[3 + i].square() for i in range(3)]
    lit = (normal[0] * towards[0]).addcmul_(normal[1], towards[1]).addcmul_(normal[2], towards[2])
    length = normal[0].square_().addcmul_(normal[1], normal[1]).addcmul_(normal[2], normal[2]).sqrt_()
    return (lit / length.clamp_(min=1e-6)).clamp_(min=0).mul_(1.15 - ambient).add_(ambient)


class _Layers:
    """The layers painted on M pixels of skin before light falls on them; `skin` (3, M) is their colour.

    `face` (M,) says which face a pixel shows, and x, y, z (M,) where on the head it lies, in head coordinates.
    """

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
        self.eye = self.across - self.p["eye_spacing"], self.y - self.p["eye_height"]
        for layer in (self.beard_and_blush, self.eyes, self.brows, self.nose, self.mouth, self.glasses):
            layer()

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
        ex, ey = self.eye
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
        ex, ey = self.eye
        ring = ((ex / (size * 1.75)) ** 2 + (ey / (size * 1.4)) ** 2).clamp(min=1e-6).sqrt() - 1
        bridge = smooth(0.012 - (ey - 0.03).abs()) * smooth(0.12 - self.across)
        frame = torch.maximum(smooth(0.018 - ring.abs() * size * 1.5), bridge)
        self.over(0.08, frame * self.front * self.p["glasses"])


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
    for part in scene.parts[-2:]:  # lit as if it were wider: a nose's true sides would be as dark as its underside
        part[:, 3] *= 2.0

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
    ellipsoid, towards = (list(numbers[..., None, None].unbind(1)) for numbers in (skull, scene.towards))
    light = lambert([x, y, z], ellipsoid, towards, faces.ambient[:, None, None])
    return _over(image, faces.hair[:, :, None, None] * (light * strands)[:, None], alpha)
