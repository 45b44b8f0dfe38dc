"""The detector `yunet`: boxes and five landmarks from a network of 53,000 weights, which come with the package."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field

from facecycle.api import Face
from facecycle.api import Options as BaseOptions
from facecycle.faces.crop import crop
from facecycle.faces.similarity import ALIGNED, USED, Similarity, fit
from facecycle_plugins.detectors.yunet_network import STRIDES, WEIGHTS, Network, Runtime, open_network

USUAL, CLOSER, LARGEST_SCALE = (640, 160), 1280, 2.0
"""Longest sides, in pixels, that an image is shrunk to, and the one where these show no face.

A face that is wider than some 400 of 640 pixels is found at 160 alone. A closer look enlarges no more than twice.
"""
MULTIPLE = 32
"""Pixels that both sides of what the network reads are a multiple of."""
OVERLAP = 0.3
"""Share of common area from which two boxes are one face."""
PATCH = 192
"""Side, in pixels, of the squares around a face in which its landmarks are found again."""
FINEST = 1.25
"""Largest side of these squares in the image, in sides of a patch: a large face is looked at in a smaller image."""
ZOOMS, PASSES = (1.8, 1.5, 2.2), 2
"""Sides of these squares in sides of the aligned crop, and how often they follow the landmarks.

Their mean over all zooms, and over what a mirror shows, is a third closer than those of one square.
"""
REACH = 6.6
"""Side of the square that all of them lie in, wherever the landmarks go. What lies beyond it is not shrunk."""
TURNS = (45, 90, 135, 180, 225, 270, 315)
"""Degrees by which a square is turned where the face in it does not look upright, because its score is low."""
UPRIGHT, SURER = 0.9, 0.02
"""The score from which a face looks upright, and by how much that of a turned square must be higher."""
GAP = 2.0
"""Factor that an image is shrunk by with a filter. What goes beyond it is done by means of blocks."""
MIRRORED = [1, 0, 2, 4, 3]
"""The landmarks, in the order that a mirror shows them in."""


class YuNetOptions(BaseOptions):
    """Options of the detector."""

    score: float = Field(0.8, gt=0, lt=1)
    """Least score of a face. At 0.6 more are found, and ten times as many that are none."""
    runtime: Runtime | None = None
    """`onnx` or `torch`. Default: onnxruntime where it is installed."""


class Found(NamedTuple):
    """Faces as arrays: `points` (n, 7, 2) are two corners of the box and five landmarks, `scores` (n,)."""

    points: np.ndarray
    scores: np.ndarray


class YuNet:
    """Faces of 20 pixels and more, with landmarks that are found again upright."""

    facecycle_api = (1, 0)
    Options = YuNetOptions
    licence = "MIT"
    weights_licence = "MIT (Shiqi Yu, OpenCV zoo). They were trained on WIDER FACE, whose images are for research."
    browser_files = tuple(WEIGHTS / name for name in ("yunet.onnx", "yunet.safetensors", "LICENSE"))
    """What it needs beside its code in a browser, `facecycle/serving/browser/yunet.js`."""

    def __init__(self, options: YuNetOptions) -> None:
        self.options = options

    @cached_property
    def _network(self) -> Network:
        return open_network(self.options.runtime)

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find the faces of an upright RGB image (H, W, 3), uint8. The largest box comes first."""
        points, scores = self._search(image)
        corners = points[:, :2]
        first, last = corners.min(1), corners.max(1)  # a quarter turn back exchanges them
        faces = [
            Face((*a.tolist(), *(b - a).tolist()), float(score), self._followed(image, landmarks))
            for a, b, score, landmarks in zip(first, last, scores, points[:, 2:], strict=True)
        ]
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def follow(self, image: np.ndarray, face: Face) -> Face | None:
        """Find a face again that was there a moment ago, such as in the frame before; None where it is not.

        One look at it and at its mirror image takes a tenth of a detection.
        """
        if face.landmarks is None:
            return None
        square = _around(face.landmarks, ZOOMS[0])
        part, first, factors = _part(image, square, FINEST * PATCH / square.side)
        if not part.size:
            return None
        seen = self._seen(part, [_around(face.landmarks * factors - first, ZOOMS[0])], mirrored=True)
        score = min(score for _, score in seen)
        if not score:
            return None
        landmarks = (np.mean([found for found, _ in seen], axis=0) + first) / factors
        # In a larger square a face is found smaller, by as much: halfway is its size, and looks do not alternate.
        middle, grown = landmarks.mean(0), fit(face.landmarks, landmarks).side
        landmarks = (landmarks - middle) / grown**0.5 + middle
        moved = fit(face.landmarks, landmarks)  # from pixels to pixels
        left, top, width, height = face.box
        corner = moved.to_photograph(np.array([left, top], float))
        return Face((float(corner[0]), float(corner[1]), width * moved.side, height * moved.side), score, landmarks)

    def _search(self, image: np.ndarray) -> Found:
        """Look at the usual sizes, then closer, then at the three quarter turns, of which the surest counts."""
        length = max(image.shape[:2])
        usual = {min(1.0, side / length) for side in USUAL}
        for scales in (usual, {min(LARGEST_SCALE, CLOSER / length)}):
            if len((found := self._look(image, scales)).scores):
                return found
        turned = [(turns, self._look(np.rot90(image, turns), usual)) for turns in (1, 2, 3)]
        turns, best = max(turned, key=lambda each: each[1].scores.max(initial=0))
        middle = np.array(image.shape[1::-1]) / 2
        from_middle = best.points - (middle if turns == 2 else middle[::-1])
        # np.rot90 turns against the clock, so points go back with it; y points down.
        back = (from_middle[..., 0] + 1j * from_middle[..., 1]) * 1j**turns
        return Found(np.stack((back.real, back.imag), -1) + middle, best.scores)

    def _look(self, image: np.ndarray, scales: Iterable[float]) -> Found:
        """Find faces, in pixels of the image, at several scales of it."""
        looks = [self._at(image, scale) for scale in scales]
        return distinct(Found(*(np.concatenate(each) for each in zip(*looks, strict=True))))

    def _at(self, image: np.ndarray, scale: float) -> Found:
        """Find faces, in pixels of the image, at a scale of it."""
        resized, scales = _resized(image, scale)
        beyond = [(0, -length % MULTIPLE) for length in resized.shape[:2]]
        points, scores = self._faces(np.pad(resized, (*beyond, (0, 0)), "edge")[None])[0]
        return Found(points / scales, scores)

    def _followed(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Find a face's landmarks again; of a large face, in a smaller image, which is as good and much faster."""
        scale = FINEST * PATCH / _around(landmarks, max(ZOOMS)).side
        part, first, factors = _part(image, _around(landmarks, REACH), scale)
        return (self._refined(part, landmarks * factors - first) + first) / factors

    def _refined(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Find landmarks again in squares that they make upright; of a face that is not seen there, they stay."""
        upright, score = self._seen(image, [_around(landmarks, ZOOMS[0])])[0]
        if score < UPRIGHT:
            turned = self._seen(image, [_around(landmarks, ZOOMS[0], degrees) for degrees in TURNS])
            upright, score = max((upright, score + SURER), *turned, key=lambda each: each[1])
        if score > SURER:
            landmarks = upright
        for _ in range(PASSES):
            squares = [_around(landmarks, zoom) for zoom in ZOOMS]
            seen = [found for found, score in self._seen(image, squares, mirrored=True) if score]
            landmarks = np.mean(seen or [landmarks], axis=0)
        return landmarks

    def _seen(
        self, image: np.ndarray, squares: list[Similarity], mirrored: bool = False
    ) -> list[tuple[np.ndarray, float]]:
        """Return landmarks (5, 2), in pixels of the image, and the score of the face in the middle of each square.

        With `mirrored`, those that a mirror shows follow. Where there is no face, the score is 0.
        """
        patches = np.stack([crop(image, square, PATCH) for square in squares])
        seen = list(zip(squares, map(_middle, self._faces(patches)), strict=True))
        if mirrored:
            for square, (points, score) in zip(squares, map(_middle, self._faces(patches[:, :, ::-1])), strict=True):
                seen.append((square, ((points * (-1, 1) + (1, 0))[MIRRORED], score)))
        return [(square.to_photograph(points), score) for square, (points, score) in seen]

    def _faces(self, images: np.ndarray) -> list[Found]:
        """Run the network on RGB images (n, H, W, 3), uint8, and find the faces of each, in its pixels."""
        inputs = np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2), dtype=np.float32)
        maps = [decode(each, stride) for each, stride in zip(self._network(inputs), STRIDES, strict=True)]
        points, scores = (np.concatenate(each, axis=1) for each in zip(*maps, strict=True))
        sure = scores >= self.options.score
        return [distinct(Found(points[row][which], scores[row][which])) for row, which in enumerate(sure)]


def _resized(image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an image at another scale, and the exact factors of x and y."""
    small, factors = _scaled(image, scale)
    resized = Image.fromarray(image).resize(tuple(small.tolist()), Image.Resampling.BILINEAR, reducing_gap=GAP)
    return np.asarray(resized), factors


def _scaled(image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the sides (x, y) of an image at another scale, and the exact factors of x and y."""
    sides = np.array(image.shape[1::-1])
    small = np.maximum(1, np.round(sides * scale)).astype(int)
    return small, small / sides


def _part(image: np.ndarray, square: Similarity, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the part of a smaller image that a square covers, without the rest of it being made.

    Args:
        image: RGB (H, W, 3), uint8.
        square: where in the image.
        scale: of the smaller image; from 1 on it is the image, and the part all of it.

    Returns:
        RGB (h, w, 3), its first pixel (x, y) in the smaller image, and the exact factors of x and y.
    """
    if scale >= 1:
        return image, np.zeros(2, int), np.ones(2)
    small, factors = _scaled(image, scale)
    corners = square.corners() * factors
    first, last = np.clip((corners.min(0) - 2, corners.max(0) + 3), 0, small).astype(int)
    if not (last > first).all():
        return image[:0], first, factors
    # As `_resized` does: the mean of blocks of pixels, then the filter, which reads one smaller pixel on each side.
    block = np.maximum(1, (1 / factors / GAP).astype(int))
    begin = (first / factors - 1 / factors - block).clip(0).astype(int) // block * block
    end = (np.ceil((last + 1) / factors / block + 1) * block).astype(int)
    cut = Image.fromarray(image[begin[1] : end[1], begin[0] : end[0]]).reduce(tuple(block.tolist()))
    box = np.concatenate((first / factors - begin, np.minimum(last / factors, image.shape[1::-1]) - begin))
    size = tuple((last - first).tolist())
    resized = cut.resize(size, Image.Resampling.BILINEAR, box=tuple((box / np.tile(block, 2)).tolist()))
    return np.asarray(resized), first, factors


def decode(found: np.ndarray, stride: int) -> Found:
    """Turn a map (n, 16, h, w) into points (n, h * w, 7, 2) in pixels and scores (n, h * w)."""
    count, _, height, width = found.shape
    cells = found.reshape(count, 16, -1).transpose(0, 2, 1)
    # Class and objectness are probabilities, whose geometric mean is the score.
    scores = np.sqrt(np.prod(1 / (1 + np.exp(-cells[..., :2])), axis=-1))
    rows, columns = np.indices((height, width)).reshape(2, -1)
    anchors = np.stack((columns, rows), -1)[:, None]
    offsets = cells[..., 2:].astype(np.float64).reshape(count, -1, 7, 2)
    centre, half = offsets[:, :, :1], np.exp(offsets[:, :, 1:2]) / 2
    points = np.concatenate((centre - half, centre + half, offsets[:, :, 2:]), axis=2)
    return Found((points + anchors) * stride, scores)


def distinct(found: Found) -> Found:
    """Keep the surest of the boxes that overlap (non-maximum suppression)."""
    first, last = found.points[:, 0], found.points[:, 1]
    areas = (last - first).prod(-1)
    common = np.minimum(last, last[:, None]) - np.maximum(first, first[:, None])
    shared = common.clip(0).prod(-1)
    overlap = shared / (areas + areas[:, None] - shared)
    order, kept = np.argsort(-found.scores, kind="stable"), []
    while len(order):
        kept.append(order[0])
        order = order[overlap[order[0], order] <= OVERLAP]
    return Found(found.points[kept], found.scores[kept])


def _around(landmarks: np.ndarray, zoom: float, degrees: float = 0) -> Similarity:
    """Return the square around a face that its landmarks make upright, turned further by some degrees."""
    aligned = fit(ALIGNED, landmarks[USED])
    x, y = aligned.to_photograph(np.array([0.5, 0.45]))
    return Similarity(float(x), float(y), zoom * aligned.side, aligned.roll + degrees)


def _middle(found: Found) -> tuple[np.ndarray, float]:
    """Return landmarks (5, 2), in sides of a patch, and the score of the face in its middle; 0 where there is none."""
    distance = np.abs(found.points[:, :2].mean(1) - PATCH / 2).max(-1)
    if not len(distance) or distance.min() > PATCH / 5:
        return np.zeros((5, 2)), 0.0
    best = int(distance.argmin())
    return found.points[best, 2:] / PATCH, float(found.scores[best])
