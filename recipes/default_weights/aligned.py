"""Frames of tracks as `translate` aligns them, with a margin to turn and move them in: what the recipe trains on."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from facecycle.atomic import write_atomically
from facecycle.data.images import open_upright
from facecycle.errors import NoFaceError
from facecycle.faces.crop import crop
from facecycle.faces.detection import detect, named
from facecycle.faces.similarity import align

MARGIN = 1.4
"""Side of a crop, in sides of the aligned square."""
SIZE = 112
"""Side of a crop, in pixels."""


def align_tracks(root: Path, tracks: Iterable[Path], out: Path, workers: int = 2) -> list[Path]:
    """Crop the frames of tracks below a folder, and return the folders of the crops; crops that exist are kept.

    A frame without a face is left out.
    """
    frames = [frame for track in tracks for frame in sorted(track.iterdir())]
    saved = [out / frame.relative_to(root) for frame in frames]
    for folder in {file.parent for file in saved}:
        folder.mkdir(parents=True, exist_ok=True)
    missing = [pair for pair in zip(frames, saved, strict=True) if not pair[1].exists()]
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_align, *zip(*missing, strict=True), chunksize=64) if missing else ())
    return sorted({file.parent for file in saved if file.exists()})


def _align(frame: Path, saved: Path) -> None:
    pixels = np.asarray(open_upright(frame))
    try:
        square = align(detect(pixels, named("yunet"), frame.name)[0])
    except NoFaceError:
        return
    wider = Image.fromarray(crop(pixels, replace(square, side=MARGIN * square.side), SIZE))
    write_atomically(saved, partial(wider.save, format="JPEG", quality=95, subsampling=0))
