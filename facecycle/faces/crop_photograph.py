"""One photograph of a folder: its crop on the disk, and its row in the table of faces."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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


def schema() -> Any:
    """Return the columns of the table of faces."""
    import pyarrow as pa

    fields = [("path", pa.string()), ("status", pa.string()), ("crop", pa.string()), ("faces", pa.int32())]
    fields += [(name, pa.float32()) for name in NUMBERS]
    return pa.schema([*fields, ("landmarks", pa.list_(pa.float32(), 10)), ("warnings", pa.list_(pa.string()))])


def crop_name(name: str) -> str:
    """Return the name of a photograph's crop: its own, where crops can be written in that format."""
    return name if os.path.splitext(name)[1].lower() in KEPT else f"{name}.png"


def crop_photograph(work: Work, name: str) -> dict[str, Any]:
    """Crop the largest face of a photograph, and return what is known of it."""
    from facecycle.data.images import open_upright, printable, reason

    path, row = work.root / name, {"path": printable(name), "faces": 0}
    try:
        image = np.asarray(open_upright(path))
        faces = detect(image, named(work.detector), printable(path))
        face, similarity = faces[0], align(faces[0])
    except NoFaceError:
        return row | {"status": NO_FACE}
    except DataError as error:
        return row | {"status": reason(path, error)}
    saved = work.out / crop_name(name)
    kind = KEPT[saved.suffix.lower()]
    cut = Image.fromarray(crop(image, similarity, work.size))
    write_atomically(saved, lambda temporary: cut.save(temporary, kind, quality=95, subsampling=0))
    numbers = (*face.box, face.score, similarity.x, similarity.y, similarity.side, similarity.roll)
    return row | {
        "status": OK,
        "crop": printable(crop_name(name)),
        "faces": len(faces),
        "landmarks": None if face.landmarks is None else face.landmarks.ravel().tolist(),
        "warnings": warnings(face, image.shape),
        **dict(zip(NUMBERS, map(float, numbers), strict=True)),
    }
