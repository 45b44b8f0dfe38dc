"""The detectors `centre` and `box`, which look at no pixel: where the face is, is known before."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import AliasChoices, BeforeValidator, Field

from facecycle.api import Face
from facecycle.api import Options as BaseOptions
from facecycle.errors import DataError


class Centre:
    """The largest square in the middle of the image, whatever it shows."""

    facecycle_api = (1, 0)
    Options = BaseOptions
    licence = "MIT"
    weights_licence = ""

    def __init__(self, options: BaseOptions) -> None: ...

    def detect(self, image: np.ndarray) -> list[Face]:
        """Return the square of an image (H, W, 3) as its one face."""
        height, width = image.shape[:2]
        side = min(width, height)
        return [Face(((width - side) // 2, (height - side) // 2, side, side), 1.0, exact=True)]


def _numbers(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


Pixels = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(ge=1)]


class BoxOptions(BaseOptions):
    """Options of the detector."""

    box: Annotated[tuple[Pixels, Pixels, Side, Side], BeforeValidator(_numbers)] = Field(
        validation_alias=AliasChoices("box", "model")
    )
    """Left, top, width and height in pixels of the upright image: `box:40,20,160,160`."""


class Box:
    """The middle square of a box that is given, the same for every image."""

    facecycle_api = (1, 0)
    Options = BoxOptions
    licence = "MIT"
    weights_licence = ""

    def __init__(self, options: BoxOptions) -> None:
        self.box = options.box

    def detect(self, image: np.ndarray) -> list[Face]:
        """Return the square of the box as the one face of an image (H, W, 3).

        Raises:
            DataError: the box leaves the image.
        """
        left, top, width, height = self.box
        if left + width > image.shape[1] or top + height > image.shape[0]:
            box = ",".join(map(str, self.box))
            raise DataError(f"the box {box} leaves the image, which is {image.shape[1]} x {image.shape[0]} pixels")
        side = min(width, height)
        return [Face((left + (width - side) // 2, top + (height - side) // 2, side, side), 1.0, exact=True)]
