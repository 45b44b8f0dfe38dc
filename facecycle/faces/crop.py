"""Crops: the square of a similarity, sampled once from the photograph, whose border goes on beyond it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from facecycle.faces.similarity import Similarity

LARGEST = 4096
"""Largest side, in pixels, that a crop is sampled at before it shrinks."""


def crop(image: np.ndarray, similarity: Similarity, size: int) -> np.ndarray:
    """Cut an aligned square out of a photograph.

    Every pixel is interpolated in the photograph itself, at its resolution or a higher one. Where the crop is smaller
    than that, it shrinks by the antialiasing filter that `read_square` uses.

    Args:
        image: RGB (H, W, 3), uint8.
        similarity: where the square lies.
        size: side of the crop, in pixels.

    Returns:
        RGB (size, size, 3), uint8. Beyond the photograph its border pixels are repeated.
    """
    finest = finest_side(similarity, size)
    corner, right, _, below = similarity.corners()
    region, offset = _bordered(image, similarity.corners())
    across, down, start = (right - corner) / finest, (below - corner) / finest, corner - offset
    data = (across[0], down[0], start[0], across[1], down[1], start[1])
    affine, bilinear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    return shrunk(np.asarray(Image.fromarray(region).transform((finest, finest), affine, data, bilinear)), size)


def finest_side(similarity: Similarity, size: int) -> int:
    """Return the side, in pixels, at which a crop is sampled: the photograph's resolution, or the crop's own."""
    return max(size, min(math.ceil(similarity.side), LARGEST))


def shrunk(square: np.ndarray, size: int) -> np.ndarray:
    """Shrink a square RGB image to (size, size, 3), antialiased."""
    if len(square) == size:
        return square
    return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BILINEAR))


def _bordered(image: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of a photograph that a square covers, with border pixels beyond, and where it begins (x, y)."""
    first, last = np.floor(corners.min(0)).astype(int) - 2, np.ceil(corners.max(0)).astype(int) + 2
    columns, rows = (np.arange(*ends).clip(0, n - 1) for *ends, n in zip(first, last, image.shape[1::-1], strict=True))
    return image.take(rows, axis=0).take(columns, axis=1), first
