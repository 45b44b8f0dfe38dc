"""One video of a folder: crops of some of its frames, which are a track, and their rows in the table of faces."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from facecycle.api import Face
from facecycle.data.video import frames, missing
from facecycle.errors import DataError
from facecycle.faces.crop_photograph import Work, crop_first, without_crop
from facecycle.faces.detection import detect, named
from facecycle.faces.following import GROWN, NEAR
from facecycle.faces.similarity import Similarity, align

ROUNDING = 1e-6
"""Of the number of intervals that have passed, because times are sums of fractions."""
JUMPED = "it may be another person: the face before was elsewhere"


def track_name(name: str) -> str:
    """Return the folder of a video's crops: its name without the suffix."""
    return os.path.splitext(name)[0]


def crop_video(work: Work, name: str) -> list[dict[str, Any]]:
    """Crop a face of the first frame of every `1 / work.fps` seconds, and return what is known of each.

    It is the largest face at first, and then the one that is where the face before was. Where none is, the largest is
    taken again, with a warning. Crops are called by the frame's number, from 0. A video that cannot be read, or that
    was cut short, has a row that says so, beside those of its frames.
    """
    path, rows = work.root / name, []
    count, begin, end, taken = 0, 0.0, 0.0, -1
    before: Similarity | None = None
    for stale in (work.out / track_name(name)).glob("[0-9]*.jpg"):  # of the file as it was before
        stale.unlink()
    try:
        for number, frame in enumerate(frames(path)):
            begin = begin if count else frame.seconds
            count, end = number + 1, frame.seconds
            interval = math.floor((end - begin) * work.fps + ROUNDING)
            if interval > taken:
                taken = interval
                row, before = _crop_frame(work, name, number, frame.pixels, before)
                rows.append(row)
        if not count:
            raise DataError(f"{path}: there is no frame in it")
        if short := missing(path, count, end):
            raise DataError(f"{path}: it was cut short, {short:.1f} s of pictures are missing")
    except DataError as error:
        rows.append(without_crop(work, name, error))
    return rows


def _crop_frame(
    work: Work, name: str, number: int, pixels: np.ndarray, before: Similarity | None
) -> tuple[dict[str, Any], Similarity | None]:
    """Crop the followed face of a frame; return its row, and where the face was seen last."""
    try:
        faces, jumped = _followed(detect(pixels, named(work.detector), str(work.root / name)), before)
        row = crop_first(work, pixels, faces, name, f"{track_name(name)}/{number:06d}.jpg")
    except DataError as error:
        return without_crop(work, name, error) | {"frame": number}, before
    row["warnings"] += [JUMPED] * jumped
    return row | {"frame": number}, align(faces[0])


def _followed(faces: Sequence[Face], before: Similarity | None) -> tuple[list[Face], bool]:
    """Put the face first that is where the one before was; tell whether there is none, and the largest stays first."""
    if before is None:
        return list(faces), False
    squares = [align(face) for face in faces]
    away = [math.hypot(square.x - before.x, square.y - before.y) / before.side for square in squares]
    sizes = [abs(math.log(square.side / before.side)) for square in squares]
    order = sorted(range(len(faces)), key=lambda place: away[place] + sizes[place])
    near = [place for place in order if away[place] < NEAR and sizes[place] < math.log(GROWN)]
    if not near:
        return list(faces), True
    return [faces[near[0]], *(face for place, face in enumerate(faces) if place != near[0])], False
