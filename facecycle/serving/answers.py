"""What the page asks for: the faces of a photograph, and the pictures that are made of one of them."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

from facecycle.api import FLOW, Detector, Face
from facecycle.data.images import decode
from facecycle.errors import ConfigError, DataError, NoFaceError
from facecycle.faces.motion import STRONGEST
from facecycle.pictures import to_pil
from facecycle.runtimes.base import Runtime
from facecycle.serving.shown import moves, shown_of
from facecycle.translation.photographs import ALL, FoundFace, Photograph, find_faces, finder, no_face, photograph_of
from facecycle.translation.rows import PASTED, Row, panels_for, pictures_of

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")
"""What browsers show. Pillow reads others too, by code that fewer people look at."""
MAX_PIXELS = 50_000_000
"""Of a photograph: what the largest phones' have."""
NAME = "the photograph"
"""What errors call every one of them."""
KEPT = 2
"""Photographs whose faces are remembered, because a slider asks again and again: one, and its driver."""
SIDE = 2048
"""Longest side, in pixels, of the copy of a photograph in which faces are looked for."""
MIME = {"JPEG": "image/jpeg", "PNG": "image/png"}


@dataclass(frozen=True)
class Encoded:
    """A picture in a file's bytes, with its name and its media type."""

    name: str
    media_type: str
    content: bytes


class Answers:
    """Answers with some weights; used by one thread at a time.

    Nothing is written to a disk. The last photographs stay in memory until others come.
    """

    def __init__(self, runtime: Runtime) -> None:
        """Take weights.

        Raises:
            ConfigError: they make no pictures.
        """
        self._shown, self._moves = shown_of(runtime), moves(runtime)
        self._runtime, self._detector = runtime, InACopy(finder())
        self._faces = lru_cache(KEPT)(self._found)

    def warm_up(self) -> None:
        """Open the networks, which takes longer than to use them."""
        side = self._runtime.size
        self._detector.detect(np.zeros((side, side, 3), np.uint8))
        face, alone = np.zeros((1, 3, side, side), np.uint8), self._names(driven=False)
        names = panels_for(self._runtime, alone or self._names(driven=True))
        self._runtime.translate(face, None if alone else face, 0, names)

    def about(self) -> dict[str, Any]:
        """Say which weights these are.

        Returns:
            `origin` and `terms` of the weights, whether it `moves` a face within its photograph, and `panels`, the
            pictures of the face alone in their order: each with its `name`, its `title`, what it is `about` in words,
            and whether it is `driven`, so that it needs a second face.
        """
        runtime, panels = self._runtime, [asdict(each) for each in self._shown]
        return {"origin": runtime.origin, "terms": runtime.terms, "moves": self._moves, "panels": panels}

    def find(self, photograph: bytes) -> dict[str, Any]:
        """Find faces.

        Args:
            photograph: an image file.

        Returns:
            `width` and `height` of the upright photograph, and `faces`, largest first: each with its `box` [x, y, w, h]
            and five `landmarks` [x, y] or none, in pixels, and `doubts` in words.

        Raises:
            DataError: it is no image that is read here, or shows no face.
        """
        found = self._faces(photograph)
        height, width = found[0].photograph.pixels.shape[:2]
        faces = [
            {
                "box": list(map(float, each.face.box)),
                "landmarks": None if each.face.landmarks is None else each.face.landmarks.tolist(),
                "doubts": each.doubts,
            }
            for each in found
        ]
        return {"width": width, "height": height, "faces": faces}

    def translate(self, photograph: bytes, face: int, strength: float, driver: bytes = b"") -> list[Encoded]:
        """Make the pictures of a face.

        Args:
            photograph: an image file.
            face: its place among the faces, from 0 for the largest.
            strength: factor of the motion, from 0, which leaves every pixel as it is, to 1.5.
            driver: an image file whose largest face it follows; empty for none.

        Returns:
            The photograph with the moved face in it, as JPEG where it came as one and as PNG else, with its EXIF data
            and colour profile, if faces are moved. The face alone, as PNG. What needs a driver is left out without.

        Raises:
            ConfigError: the strength is out of range.
            DataError: as `find` does, or there is no such face.
        """
        if not 0 <= strength <= STRONGEST:
            raise ConfigError(f"the strength {strength:g} is not from 0 to {STRONGEST:g}")
        found = self._faces(photograph)
        if not 0 <= face < len(found):
            raise DataError(no_face(face, len(found)), hint="They are counted from 0.")
        other = self._faces(driver)[0] if driver else None
        wanted = self._names(driven=other is not None)
        if not wanted:
            return []
        (made,) = pictures_of(self._runtime, [Row("", "", found[face], other)], wanted, strength, seed=0)
        whole = found[face].photograph
        kind = "JPEG" if photograph.startswith(b"\xff\xd8") else "PNG"
        return [
            _encoded(name, to_pil(made.by_name[name]), *((kind, whole) if name == PASTED else ("PNG", None)))
            for name in wanted
            if name != FLOW
        ]

    def _names(self, driven: bool) -> list[str]:
        """Return the names of the pictures of a face, and `flow`, by which it is moved."""
        shown = [each.name for each in self._shown if driven or not each.driven]
        return [PASTED, *shown, FLOW] if self._moves else shown

    def _found(self, content: bytes) -> list[FoundFace]:
        image = decode(io.BytesIO(content), NAME, formats=FORMATS, most=MAX_PIXELS)
        photograph = photograph_of(image, NAME)
        try:
            return find_faces(photograph, self._detector, ALL, self._runtime.size)
        except NoFaceError as error:
            raise NoFaceError(
                f"{NAME}: no face was found",
                hint="Faces are found from 20 pixels on, best where both eyes can be seen.",
            ) from error


class InACopy:
    """A detector that looks into a smaller copy of a large photograph.

    It finds what can be found there, and each of many faces takes it a bounded time.
    """

    facecycle_api = (1, 1)

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.licence, self.weights_licence = detector.licence, detector.weights_licence

    def detect(self, image: np.ndarray) -> list[Face]:
        """See `facecycle.api.Detector`; positions are those in the photograph."""
        height, width = image.shape[:2]
        if (scale := SIDE / max(height, width)) >= 1:
            return self._detector.detect(image)
        sides = max(1, round(width * scale)), max(1, round(height * scale))
        copy = Image.fromarray(image).resize(sides, Image.Resampling.BILINEAR, reducing_gap=2.0)
        across, down = width / sides[0], height / sides[1]
        found = []
        for face in self._detector.detect(np.asarray(copy)):
            x, y, w, h = face.box
            landmarks = None if face.landmarks is None else face.landmarks * (across, down)
            found.append(replace(face, box=(x * across, y * down, w * across, h * down), landmarks=landmarks))
        return found


def _encoded(name: str, picture: Image.Image, kind: str, like: Photograph | None) -> Encoded:
    """Write a picture into bytes: nearly lossless, and fast, because nobody keeps most of them."""
    how: dict[str, Any] = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"compress_level": 1}
    file = io.BytesIO()
    picture.save(file, kind, **how, **(like.metadata if like else {}))
    return Encoded(name, MIME[kind], file.getvalue())
