"""The detector `yunet`: boxes and five landmarks from a network of 53,000 weights, which come with the package."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field

from facecycle.api import Face
from facecycle.api import Options as BaseOptions
from facecycle.faces.crop import crop
from facecycle.faces.similarity import Similarity, align
from facecycle_plugins.detectors.yunet_network import STRIDES, Network, Runtime, open_network

USUAL, CLOSER, LARGEST_SCALE = (640, 160), 1280, 2.0
"""Longest sides, in pixels, that an image is shrunk to, and the one where these show no face.

A face that is wider than some 400 of 640 pixels is found at 160 alone. A closer look enlarges no more than twice.
"""
MULTIPLE = 32
"""Pixels that both sides of what the network reads are a multiple of."""
OVERLAP = 0.3
"""Share of common area from which two boxes are one face."""
PATCH, PATCH_SIDES = 192, 1.75
"""Landmarks are found again in an upright square: its side in pixels, and in sides of an aligned crop."""
TURNS = ((0, 45, 90, 135, 180, 225, 270, 315), (0,))
"""Degrees by which the square is turned in each pass, because landmarks of a turned face look too upright."""
SURER = 0.02
"""By how much the score of a turned square must be higher."""


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
            Face((*a.tolist(), *(b - a).tolist()), float(score), landmarks)
            for a, b, score, landmarks in zip(first, last, scores, points[:, 2:], strict=True)
        ]
        for turns in TURNS:
            faces = [self._refined(image, face, turns) for face in faces]
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

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
        sides = np.array(image.shape[1::-1])
        small = np.maximum(1, np.round(sides * scale)).astype(int)
        resized = Image.fromarray(image).resize(tuple(small.tolist()), Image.Resampling.BILINEAR, reducing_gap=2.0)
        beyond = [(0, -length % MULTIPLE) for length in small[::-1].tolist()]
        points, scores = self._faces(np.pad(np.asarray(resized), (*beyond, (0, 0)), "edge")[None])[0]
        return Found(points * (sides / small), scores)

    def _refined(self, image: np.ndarray, face: Face, turns: tuple[int, ...]) -> Face:
        """Find a face's landmarks again in a patch that they make upright, or in turns of it where it looks surer.

        A face that is seen in none of them keeps its own.
        """
        squares = [_patch(face, degrees) for degrees in turns]
        seen = self._faces(np.stack([crop(image, square, PATCH) for square in squares]))
        found = [_middle(each, square) for each, square in zip(seen, squares, strict=True)]
        sure = [score - (SURER if degrees else 0) for (_, score), degrees in zip(found, turns, strict=True)]
        landmarks, score = found[int(np.argmax(sure))]
        return replace(face, landmarks=landmarks) if score else face

    def _faces(self, images: np.ndarray) -> list[Found]:
        """Run the network on RGB images (n, H, W, 3), uint8, and find the faces of each, in its pixels."""
        inputs = np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2), dtype=np.float32)
        maps = [decode(each, stride) for each, stride in zip(self._network(inputs), STRIDES, strict=True)]
        points, scores = (np.concatenate(each, axis=1) for each in zip(*maps, strict=True))
        sure = scores >= self.options.score
        return [distinct(Found(points[row][which], scores[row][which])) for row, which in enumerate(sure)]


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


def _patch(face: Face, degrees: float) -> Similarity:
    """Return the square around a face that its landmarks make upright, turned further by some degrees."""
    aligned = align(face)
    x, y = aligned.to_photograph(np.array([0.5, 0.45]))
    return Similarity(float(x), float(y), PATCH_SIDES * aligned.side, aligned.roll + degrees)


def _middle(found: Found, square: Similarity) -> tuple[np.ndarray, float]:
    """Return landmarks in the photograph, and the score, of the face in the middle of a patch; 0 where none is."""
    distance = np.abs(found.points[:, :2].mean(1) - PATCH / 2).max(-1)
    if not len(distance) or distance.min() > PATCH / 5:
        return np.empty((5, 2)), 0.0
    best = int(distance.argmin())
    return square.to_photograph(found.points[best, 2:] / PATCH), float(found.scores[best])
