"""Photographs with the faces that are found in them, and the pictures that a face's motion makes of its photograph."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facecycle.api import Detector, Face
from facecycle.data.images import DAMAGED, Crop, ImageSource, printable, upright
from facecycle.errors import DataError, NoFaceError
from facecycle.faces.crop import crop as cut_out
from facecycle.faces.detection import DEFAULT, detect, named, warnings
from facecycle.faces.motion import moved, paste
from facecycle.faces.similarity import Similarity, align

ALL = "all"
COLOURS = slice(16, 20)
"""Where an ICC profile says which colours it describes."""
LONGEST_EXIF = 65_533
"""Bytes that a JPEG file has room for; other formats may bring more."""


@dataclass(frozen=True)
class Photograph:
    """An upright photograph.

    Attributes:
        name: for messages.
        pixels: RGB (H, W, 3), uint8, at full resolution.
        metadata: `exif` and `icc_profile`, as Pillow writes them beside new pixels.
    """

    name: str
    pixels: np.ndarray
    metadata: dict[str, bytes]


@dataclass(frozen=True)
class FoundFace:
    """A face of a photograph, ready for networks.

    Attributes:
        photograph: where it was found.
        number, count: its place among the faces of the photograph, from 1, and how many there are.
        face: its box, its landmarks and its score.
        doubts: in words, why little may be expected of it.
        similarity: where its aligned crop lies.
        pixels: the crop at the networks' size, RGB uint8 (3, S, S).
    """

    photograph: Photograph
    number: int
    count: int
    face: Face
    doubts: list[str]
    similarity: Similarity
    pixels: np.ndarray


def read_photograph(source: ImageSource) -> Photograph:
    """Read a photograph at full resolution, with what it says about itself.

    Raises:
        DataError: it cannot be read.
    """
    return photograph_of(upright(source), printable(source) if isinstance(source, str | Path) else "the image")


def photograph_of(image: Image.Image, name: str) -> Photograph:
    """Return an image that was decoded as upright RGB as a photograph."""
    metadata = {}
    with contextlib.suppress(*DAMAGED):
        exif = image.getexif()
        # Written anew it is without the thumbnail, which shows the face as it was.
        if exif and len(written := exif.tobytes()) <= LONGEST_EXIF:
            metadata["exif"] = written
    profile = image.info.get("icc_profile") or b""
    if profile[COLOURS] == b"RGB ":  # as the pixels are now; another one, such as a printer's, would falsify them
        metadata["icc_profile"] = profile
    return Photograph(name, np.asarray(image), metadata)


def finder(detector: str = DEFAULT, crop: Crop | None = None) -> Detector:
    """Return what finds faces: a detector by name, or the crop that says where the face is.

    Raises:
        FacecycleError: there is no such detector, or it cannot be opened.
    """
    return named(detector if crop is None else f"box:{','.join(map(str, crop))}")


def find_driver(source: ImageSource, detector: str, size: int) -> FoundFace:
    """Find the largest face of a photograph that others follow; see `find_faces`."""
    try:
        return find_faces(read_photograph(source), finder(detector), 1, size)[0]
    except NoFaceError as error:
        raise NoFaceError(
            error.message, hint="Faces are to follow it. Name another driver, or one cut to its face."
        ) from error


def find_faces(photograph: Photograph, detector: Detector, which: int | str, size: int) -> list[FoundFace]:
    """Find the faces of a photograph, and cut them out as networks read them.

    Args:
        photograph: where to look.
        detector: what finds them; see `finder`.
        which: the number of the face, from 1 for the largest, or `all`.
        size: side of the crops, in pixels.

    Raises:
        NoFaceError: there is no face.
        DataError: there are fewer faces than `which`, or the box that was given leaves the photograph.
    """
    faces = detect(photograph.pixels, detector, photograph.name)
    if which != ALL and int(which) > len(faces):
        raise DataError(f"{photograph.name}: {no_face(int(which), len(faces))}")
    chosen = range(len(faces)) if which == ALL else [int(which) - 1]
    found_faces = []
    for place in chosen:
        similarity = align(faces[place])
        pixels = cut_out(photograph.pixels, similarity, size).transpose(2, 0, 1)
        doubts = warnings(faces[place], photograph.pixels.shape)
        found_faces.append(
            FoundFace(photograph, place + 1, len(faces), faces[place], doubts, similarity, np.ascontiguousarray(pixels))
        )
    return found_faces


def no_face(which: int, count: int) -> str:
    """Say that there is no face of a number, and how many there are."""
    return f"there is no face {which}, because there {'is 1 face' if count == 1 else f'are {count} faces'}"


@dataclass(frozen=True)
class Motion:
    """How a face moves: by its own flow (2, h, w), which makes it frontal, and then as the driver that it follows.

    Attributes:
        face: the face that moves.
        own: its flow, in the method's grid units.
        back: the inverse of the flow of the face whose expression it is to wear, or None.
    """

    face: FoundFace
    own: np.ndarray
    back: np.ndarray | None = None

    @property
    def flows(self) -> list[np.ndarray]:
        """The flows that `facecycle.faces.motion` follows."""
        return [self.own] if self.back is None else [self.own, self.back]

    @property
    def _size(self) -> int:
        return self.face.pixels.shape[-1]

    def cut_out(self, strength: float, frontal: bool = False) -> np.ndarray:
        """Return the moved face at its own resolution, RGB uint8 (S, S, 3), sampled once from the photograph.

        Args:
            strength: factor of the motion, from 0, which leaves every pixel as it is, to 1.5.
            frontal: let it follow no driver.
        """
        flows = self.flows[:1] if frontal else self.flows
        pixels = self.face.photograph.pixels
        return moved(pixels, self.face.similarity, flows, strength=strength, network_size=self._size)

    def put_back(self, into: np.ndarray, strength: float) -> np.ndarray:
        """Return a photograph (H, W, 3) in which the face has moved; outside the face no pixel changes."""
        return paste(into, self.face.similarity, self.flows, strength=strength, network_size=self._size)
