"""Similarities: where the square of an aligned crop lies in its photograph, and how a face says so."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import numpy as np

from facecycle.api import Face
from facecycle.errors import DataError

ALIGNED = np.array([(0.299, 0.281), (0.701, 0.281), (0.326, 0.682), (0.674, 0.682)])
"""Where the eyes and the corners of the mouth lie in an aligned crop, in sides of it."""
USED = [0, 1, 3, 4]
"""The landmarks that align a face. The nose's tip moves most when a head turns, and is left out."""
BELOW, SIDE = 0.05, 0.87
"""Without landmarks: the crop's centre in sides below the box's, and its side in heights of the box."""


@dataclass(frozen=True)
class Similarity:
    """A square of a photograph, which may be rolled and may leave the photograph.

    Attributes:
        x, y: its centre, in pixels from the photograph's upper left corner (0, 0); a pixel's centre is at a half.
        side: its side, in pixels.
        roll: degrees by which it is turned clockwise, as the picture shows it.
    """

    x: float
    y: float
    side: float
    roll: float = 0.0

    @property
    def _factor(self) -> complex:
        return cmath.rect(self.side, math.radians(self.roll))

    def to_photograph(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 2) of the crop, whose corners are (0, 0) and (1, 1), to pixels of the photograph."""
        return _pairs((_complex(points) - (0.5 + 0.5j)) * self._factor + complex(self.x, self.y))

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 2) in pixels of the photograph to the crop; the inverse of `to_photograph`."""
        return _pairs((_complex(points) - complex(self.x, self.y)) / self._factor + (0.5 + 0.5j))

    def pixels(self, size: int) -> np.ndarray:
        """Return the centres of a crop's pixels in the photograph, (size, size, 2), float32."""
        corner, right, _, below = self.corners()
        places = ((np.arange(size) + 0.5) / size)[:, None]
        across, down = (places * (end - corner) for end in (right, below))
        return (across + corner).astype(np.float32) + down[:, None].astype(np.float32)

    def corners(self) -> np.ndarray:
        """Return the corners (4, 2) in the photograph: upper left, upper right, lower right, lower left."""
        return self.to_photograph(np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float))


def fit(crop: np.ndarray, photograph: np.ndarray, weights: np.ndarray | None = None) -> Similarity:
    """Return the similarity that maps points (n, 2) of a crop to those of a photograph with least squared error.

    Args:
        crop: in sides of the crop.
        photograph: in pixels.
        weights: (n,), how much each pair counts; None counts all alike.

    Raises:
        DataError: all points are the same, or not finite.
    """
    share = np.full(len(crop), 1 / len(crop)) if weights is None else weights / weights.sum()
    source, target = _complex(crop), _complex(photograph)
    source_mean, target_mean = share @ source, share @ target
    spread = share @ abs(source - source_mean) ** 2
    factor = share @ ((source - source_mean).conj() * (target - target_mean)) / spread if spread else 0j
    if not (abs(factor) > 0 and cmath.isfinite(factor)):
        raise DataError("the points fit no similarity, because they are all the same or not finite")
    centre = target_mean + factor * (0.5 + 0.5j - source_mean)
    return Similarity(float(centre.real), float(centre.imag), float(abs(factor)), math.degrees(cmath.phase(factor)))


def align(face: Face) -> Similarity:
    """Return where a face's aligned crop lies: by its eyes and the corners of its mouth, or else by its box.

    Raises:
        DataError: all landmarks are the same, or not finite.
    """
    if face.landmarks is not None:
        return fit(ALIGNED, face.landmarks[USED])
    left, top, width, height = face.box
    x, y = left + width / 2, top + height / 2
    if face.exact:
        return Similarity(x, y, min(width, height))
    side = SIDE * height
    return Similarity(x, y + BELOW * side, side)


def _complex(points: np.ndarray) -> np.ndarray:
    """Return points (..., 2) as complex numbers (...), which turn and scale by one multiplication."""
    return points[..., 0] + 1j * points[..., 1]


def _pairs(numbers: np.ndarray) -> np.ndarray:
    return np.stack((numbers.real, numbers.imag), axis=-1)
