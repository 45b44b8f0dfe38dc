"""The faces of a photograph, largest first, and in words what makes one of them doubtful."""

from __future__ import annotations

import functools

import numpy as np

from facecycle import registry
from facecycle.api import Detector, Face
from facecycle.errors import DataError, NoFaceError
from facecycle.faces.similarity import Similarity, align

DEFAULT = "yunet"
SMALL = 64
"""Sides of the aligned crop, in pixels, below which a face is small: networks read as many."""
TURNED = 0.13
"""How far, in sides of the crop, the nose's tip lies beside its place. Of video frames whose head turns by 40 degrees
and more, six of seven are beyond it, from 30 to 40 a half, and below 20 none of 553."""
NOSE = 0.5
CUT_OFF = 0.1
"""Share of the aligned crop that lies beyond the photograph."""
UNCERTAIN = 0.85
"""A score that none of these 728 frames is below."""


@functools.cache
def named(name: str) -> Detector:
    """Return the detector of a name, such as `yunet`, `centre` or `box:40,20,160,160`, opened once.

    Raises:
        FacecycleError: there is none, or it cannot be opened.
    """
    detector: Detector = registry.build("detector", name)
    return detector


def detect(image: np.ndarray, detector: Detector | None = None, name: str = "the image") -> list[Face]:
    """Find the faces of a photograph.

    Args:
        image: RGB (H, W, 3), uint8, upright.
        detector: None takes `yunet`.
        name: what the error calls the image.

    Returns:
        One face at least; the largest comes first.

    Raises:
        NoFaceError: there is none.
        DataError: the array is no image, or the face's box, which was given, leaves it.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(
            f"{name}: an array of {image.dtype} with shape {image.shape} is no image",
            hint="Expected uint8 of shape (H, W, 3), RGB.",
        )
    try:
        faces = (detector or named(DEFAULT)).detect(image)
    except DataError as error:
        raise DataError(f"{name}: {error.message}", hint=error.hint) from error
    if not faces:
        raise NoFaceError(
            f"{name}: no face was found", hint="Say where it is: --crop X,Y,W,H in pixels, or --detector centre."
        )
    return faces


def warnings(face: Face, shape: tuple[int, ...]) -> list[str]:
    """Say in words what makes a face doubtful: small, turned far, cut off, uncertain; nothing where all is well.

    Args:
        face: the face.
        shape: height and width of the photograph, in pixels; further numbers are ignored.
    """
    if face.exact:
        return []
    similarity = align(face)
    found = []
    if similarity.side < SMALL:
        found.append(f"the face is small: {similarity.side:.0f} pixels, where {SMALL} are read")
    if face.landmarks is not None and abs(float(similarity.to_crop(face.landmarks[2])[0]) - NOSE) > TURNED:
        found.append("the face is turned far to the side")
    if (beyond := share_beyond(similarity, shape)) > CUT_OFF:
        found.append(f"the face is cut off: {beyond:.0%} of its crop lies beyond the border")
    if face.score < UNCERTAIN:
        found.append(f"it may be no face: its score is {face.score:.2f}")
    return found


def share_beyond(similarity: Similarity, shape: tuple[int, ...]) -> float:
    """Return the share of a crop that lies beyond a photograph of a height and width."""
    points = similarity.pixels(32)
    return 1 - float(((points >= 0) & (points <= shape[1::-1])).all(-1).mean())
