"""Interpolation in numpy: images at any points, bilinear or bicubic, and small grids of numbers, bicubic."""

from __future__ import annotations

import numpy as np

SHARPNESS = -0.75
"""The parameter of cubic convolution, as torch has it."""
BLOCK = 16384
"""Points that are interpolated at a time, whose numbers the processor's cache holds."""


def sample(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate an image at points, bilinear; beyond it the border pixels go on.

    At a pixel's centre the pixel comes back unchanged.

    Args:
        image: RGB (H, W, 3), uint8.
        points: (..., 2), x and y in pixels from the image's corner, a pixel's centre at a half.

    Returns:
        RGB (..., 3), uint8.
    """
    height, width = image.shape[:2]
    x, y = (
        (points[..., axis] - np.float32(0.5)).clip(0, length - 1).astype(np.float32, copy=False)
        for axis, length in enumerate((width, height))
    )
    left, top = int(x.min()), int(y.min())
    # The part that is looked at, and one more row and column to interpolate with at its end.
    image = np.pad(image[top : int(y.max()) + 2, left : int(x.max()) + 2], ((0, 1), (0, 1), (0, 0)), "edge")
    width = image.shape[1]
    column, row = x.astype(np.int32), y.astype(np.int32)
    x -= column
    y -= row
    column -= left
    row -= top
    first = row * width + column
    found = np.empty((*first.shape, 3), np.uint8)
    for channel in range(3):
        values = np.ascontiguousarray(image[..., channel]).ravel()
        upper, lower = values[first].astype(np.float32), values[first + width].astype(np.float32)
        upper += (values[first + 1] - upper) * x
        lower += (values[first + width + 1] - lower) * x
        upper += (lower - upper) * y
        found[..., channel] = upper + 0.5
    return found


def sample_cubic(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Interpolate an image at points, by cubic convolution, which keeps it sharp and takes three times as long.

    At a pixel's centre the pixel comes back unchanged.

    Args:
        image: RGB (H, W, 3), uint8.
        points: (n, 2), x and y in pixels from the image's corner, a pixel's centre at a half.

    Returns:
        RGB (n, 3), uint8; beyond the image its border pixels go on.
    """
    found = np.empty((len(points), 3), np.uint8)
    if not len(points):
        return found
    x, y = (
        (points[:, axis] - np.float32(0.5)).clip(0, length - 1).astype(np.float32, copy=False)
        for axis, length in enumerate(image.shape[1::-1])
    )
    left, top = int(x.min()) - 1, int(y.min()) - 1
    # The part that is looked at, with a pixel before it and two behind.
    rows, columns = np.arange(top, int(y.max()) + 3), np.arange(left, int(x.max()) + 3)
    part = image.take(rows, 0, mode="clip").take(columns, 1, mode="clip")
    planes, width = np.ascontiguousarray(part.transpose(2, 0, 1)).reshape(3, -1), len(columns)
    for start in range(0, len(points), BLOCK):
        block = slice(start, start + BLOCK)
        column, row = np.floor(x[block]), np.floor(y[block])
        across, down = _weights(x[block] - column), _weights(y[block] - row)
        first = (row.astype(int) - (top + 1)) * width + (column.astype(int) - (left + 1))
        for channel, plane in enumerate(planes):
            total = np.full(len(first), 0.5, np.float32)
            for j in range(4):
                line = sum(plane[j * width + i :][first] * across[i] for i in range(4))
                total += line * down[j]
            found[block, channel] = total.clip(0, 255)
    return found


def cubic(grid: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Interpolate numbers on a grid at points, by cubic convolution; beyond the grid its rim goes on.

    Args:
        grid: (C, h, w).
        cells: (..., 2), x and y in cells, of which the first has its centre at 0.

    Returns:
        (..., C).
    """
    (columns, across), (rows, down) = (_taps(cells[..., axis], grid.shape[2 - axis]) for axis in (0, 1))
    near = grid[:, rows[..., :, None], columns[..., None, :]]
    return np.einsum("c...ij,...i,...j->...c", near, down, across, optimize=True)


def resized(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize numbers on a grid (h, w, C) to (height, width, C), by cubic convolution; the corner cells stay corners."""
    matrices = []
    for length, wanted in zip(grid.shape, (height, width), strict=False):
        places, weights = _taps(np.linspace(0, length - 1, wanted), length)
        matrix = np.zeros((wanted, length), grid.dtype)
        np.add.at(matrix, (np.arange(wanted)[:, None], places), weights)
        matrices.append(matrix)
    down, across = matrices
    rows = np.tensordot(down, grid, 1)
    return np.matmul(across, rows)


def _taps(places: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the four cells around each place (...) along an axis, (..., 4), and their weights."""
    places = places.clip(0, length - 1)
    first = np.floor(places).astype(int)
    weights = np.stack(_weights(places - first), axis=-1)
    return (first[..., None] + np.arange(-1, 3)).clip(0, length - 1), weights


def _weights(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the weights of the four cells around places that lie t behind the second, in cells from 0 to 1."""
    # Distances to the four cells are 1 + t, t, 1 - t and 2 - t (Keys, 1981).
    near = [((SHARPNESS + 2) * d - (SHARPNESS + 3)) * d * d + 1 for d in (t, 1 - t)]
    far = [((SHARPNESS * d - 5 * SHARPNESS) * d + 8 * SHARPNESS) * d - 4 * SHARPNESS for d in (1 + t, 2 - t)]
    return far[0], near[0], near[1], far[1]
