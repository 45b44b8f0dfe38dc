"""Where a face is in every frame of a video: found, followed from frame to frame, and averaged over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facecycle.api import Detector, Face
from facecycle.data.video import Frame, ahead, frames
from facecycle.errors import DataError
from facecycle.faces.similarity import Similarity, align

BETWEEN = 0.05
"""Seconds after a look in which a followed face is not looked for again."""
AGAIN = 5
"""Frames without a face, or with another than the followed one, after which the whole frame is searched."""
SMOOTH = 0.14
"""Deviation, in seconds, of the weights by which a crop's place is averaged over time, so that it does not shake."""
FAR = 6
"""Deviations beyond which weights are nothing, below a 60,000,000th."""
GAP = 0.3
"""Seconds without a face that are bridged."""
NEAR, GROWN = 0.75, 1.5
"""Sides of the crop that a face moves by from one look to the next, and the factor that it grows by, at most.

Beyond them it is another face, as after a cut, and no place between the two is anybody's.
"""
BLOCK = 256
"""Frames that are averaged at a time, so that memory does not grow with the square of their number."""


@dataclass(frozen=True)
class Track:
    """Where a face is in every frame of a video.

    Attributes:
        seconds: (n,) when each frame is shown.
        places: (n, 4), the crop's centre x and y, the logarithm of its side, and its roll; nan where no face is known.
        looked: (n,) whether the frame was looked at, or its place follows from others.
    """

    seconds: np.ndarray
    places: np.ndarray
    looked: np.ndarray

    def smooth(self) -> Track:
        """Average places over time; frames that were not looked at and short gaps are bridged, long gaps stay."""
        seen = np.flatnonzero(np.isfinite(self.places[:, 0]))
        places = np.full_like(self.places, np.nan)
        steps = np.diff(self.places[seen], axis=0)
        away = np.linalg.norm(steps[:, :2], axis=1) / np.exp(self.places[seen[:-1], 2])
        jumps = (away > NEAR) | (abs(steps[:, 2]) > np.log(GROWN))
        ends = np.flatnonzero((np.diff(self.seconds[seen]) > GAP) | jumps)
        for part in np.split(seen, ends + 1) if len(seen) else []:
            times, known = self.seconds[part], self.places[part].copy()
            known[:, 3] = np.unwrap(known[:, 3], period=360)
            for start in range(part[0], part[-1] + 1, BLOCK):
                inside = np.arange(start, min(start + BLOCK, part[-1] + 1))
                now = self.seconds[inside]
                near = slice(*np.searchsorted(times, (now[0] - FAR * SMOOTH, now[-1] + FAR * SMOOTH)))
                weights = np.exp(-0.5 * ((now[:, None] - times[near]) / SMOOTH) ** 2)
                places[inside] = weights @ known[near] / weights.sum(1, keepdims=True)
        return Track(self.seconds, places, np.ones(len(places), bool))

    def similarity(self, number: int) -> Similarity | None:
        """Return where the crop of a frame lies, or None where there is no face."""
        x, y, size, roll = self.places[number].tolist()
        return None if np.isnan(x) else Similarity(x, y, float(np.exp(size)), roll)

    def shake(self) -> float:
        """Return the mean second difference of a crop's centre, in sides of the crop: a steady motion has none."""
        places = self.places[self.looked]
        change = np.linalg.norm(np.diff(places[:, :2], 2, axis=0), axis=1) / np.exp(places[1:-1, 2])
        return float(np.nanmean(change)) if np.isfinite(change).any() else 0.0


def track(path: Path, detector: Detector, tell: Callable[[str], None] = lambda text: None) -> Track:
    """Find a face in the frames of a video; between detections it is followed, where the detector can.

    A followed face is not looked for in frames that come within 0.05 s. Where it is lost after them, they are looked
    at all the same, so that every change from a face to none is known to the frame.

    Raises:
        DataError: the video cannot be read, or holds no frame.
    """
    seconds: list[float] = []
    places: list[list[float]] = []
    looked: list[bool] = []
    for frame, seen, face in _looks(ahead(frames(path)), detector):
        seconds.append(frame.seconds)
        places.append([np.nan] * 4 if face is None else _place(align(face)))
        looked.append(seen)
        tell(f"{path.name}: looked for a face up to frame {len(seconds):,}")
    if not seconds:
        raise DataError(f"{path}: there is no frame in it")
    return Track(np.array(seconds), np.array(places), np.array(looked))


def _looks(shown: Iterable[Frame], detector: Detector) -> Iterator[tuple[Frame, bool, Face | None]]:
    """Yield each frame, whether it was looked at, and the face that was seen in it."""
    before: list[tuple[float, Face]] = []  # the last two looks that saw the face, and when
    missing = 0
    waiting: list[Frame] = []

    def look(frame: Frame) -> tuple[Frame, bool, Face | None]:
        nonlocal missing
        face = _followed(detector, frame, before) if missing < AGAIN else None
        if face is None and missing % AGAIN == 0:  # a frame without a face is searched in full now and then
            before.clear()
            face = next(iter(detector.detect(frame.pixels)), None)
        missing = 0 if face is not None else missing + 1
        if face is not None:
            before[:] = [*before[-1:], (frame.seconds, face)]
        return frame, True, face

    for frame in shown:
        if before and not missing and frame.seconds - before[-1][0] < BETWEEN:
            waiting.append(frame)
            continue
        if waiting and (face := _followed(detector, frame, before)) is not None:
            yield from ((each, False, None) for each in waiting)
            yield frame, True, face
            before[:] = [before[-1], (frame.seconds, face)]
        else:
            yield from map(look, (*waiting, frame))
        waiting.clear()
    yield from map(look, waiting)


def _followed(detector: Detector, frame: Frame, before: Sequence[tuple[float, Face]]) -> Face | None:
    """Find a face again near where it should be by now, because a look sees it best in the middle."""
    follow = getattr(detector, "follow", None)
    if follow is None or not before:
        return None
    (earlier, first), (last, face) = before[0], before[-1]
    if last > earlier and face.landmarks is not None and first.landmarks is not None:
        way = (face.landmarks - first.landmarks).mean(0) * min(1.0, (frame.seconds - last) / (last - earlier))
        left, top, width, height = face.box
        box = (left + float(way[0]), top + float(way[1]), width, height)
        face = replace(face, box=box, landmarks=face.landmarks + way)
    found: Face | None = follow(frame.pixels, face)
    return found


def _place(similarity: Similarity) -> list[float]:
    return [similarity.x, similarity.y, float(np.log(similarity.side)), similarity.roll]
