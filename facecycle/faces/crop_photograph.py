"""One photograph of a folder, or one frame of a video: its crop on the disk, and its row in the table of faces."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facecycle.api import Face
from facecycle.atomic import write_atomically
from facecycle.errors import DataError, NoFaceError
from facecycle.faces.crop import crop
from facecycle.faces.detection import detect, named, warnings
from facecycle.faces.similarity import align

OK, NO_FACE = "ok", "no face"
KEPT = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
"""Suffixes that crops keep. Other photographs become PNG files, with a second suffix."""
NUMBERS = ("left", "top", "width", "height", "score", "x", "y", "side", "roll")


@dataclass(frozen=True)
class Work:
    """What a worker needs for every part: where photographs are and crops go, and how they are made."""

    root: Path
    out: Path
    size: int
    detector: str
    fps: float = 5.0


def schema() -> Any:
    """Return the columns of the table of faces."""
    import pyarrow as pa

    fields = [("path", pa.string()), ("status", pa.string()), ("crop", pa.string()), ("faces", pa.int32())]
    fields += [(name, pa.float32()) for name in NUMBERS]
    fields += [(name, pa.int64()) for name in ("frame", "bytes", "modified")]
    return pa.schema([*fields, ("landmarks", pa.list_(pa.float32(), 10)), ("warnings", pa.list_(pa.string()))])


def crop_name(name: str) -> str:
    """Return the name of a photograph's crop: its own, where crops can be written in that format."""
    return name if os.path.splitext(name)[1].lower() in KEPT else f"{name}.png"


def crop_photograph(work: Work, name: str) -> dict[str, Any]:
    """Crop the largest face of a photograph, and return what is known of it."""
    from facecycle.data.images import open_upright, printable

    try:
        image = np.asarray(open_upright(work.root / name))
        faces = detect(image, named(work.detector), printable(work.root / name))
        return crop_first(work, image, faces, name, crop_name(name))
    except DataError as error:
        return without_crop(work, name, error)


def without_crop(work: Work, name: str, error: DataError) -> dict[str, Any]:
    """Return the row of what shows no face, or cannot be read."""
    from facecycle.data.images import printable, reason

    status = NO_FACE if isinstance(error, NoFaceError) else reason(work.root / name, error)
    return {"path": printable(name), "faces": 0, "status": status}


def crop_first(work: Work, image: np.ndarray, faces: Sequence[Face], name: str, crop_name: str) -> dict[str, Any]:
    """Crop the first of an image's faces, write the crop by a name, and return what is known of it.

    Raises:
        DataError: all landmarks of the face are the same, or not finite.
    """
    from facecycle.data.images import printable

    face, similarity = faces[0], align(faces[0])
    saved = work.out / crop_name
    kind = KEPT[saved.suffix.lower()]
    cut = Image.fromarray(crop(image, similarity, work.size))
    write_atomically(saved, lambda temporary: cut.save(temporary, kind, quality=95, subsampling=0))
    numbers = (*face.box, face.score, similarity.x, similarity.y, similarity.side, similarity.roll)
    return {
        "path": printable(name),
        "status": OK,
        "crop": printable(crop_name),
        "faces": len(faces),
        "landmarks": None if face.landmarks is None else face.landmarks.ravel().tolist(),
        "warnings": warnings(face, image.shape),
        **dict(zip(NUMBERS, map(float, numbers), strict=True)),
    }
