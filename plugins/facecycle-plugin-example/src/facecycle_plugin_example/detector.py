"""The detector `example-skin`: the one rectangle that holds the colours of skin, without landmarks."""

import numpy as np
from pydantic import Field

from facecycle.api import Face, Options


class SkinOptions(Options):
    """Options of the detector."""

    share: float = Field(0.02, gt=0, lt=1)
    """Least share of the image that must have the colour of skin."""


class SkinDetector:
    """The middle nine tenths of all pixels whose red exceeds their green, and green their blue, as in skin."""

    facecycle_api = (1, 0)
    Options = SkinOptions
    licence = "MIT"
    weights_licence = ""

    def __init__(self, options: SkinOptions) -> None:
        self.options = options

    def detect(self, image: np.ndarray) -> list[Face]:
        """Return the face of an RGB image (H, W, 3), uint8, or nothing."""
        red, green, blue = image.astype(np.int16).transpose(2, 0, 1)
        skin = (red > green + 15) & (green > blue) & (red > 90)
        share = skin.mean()
        if share < self.options.share:
            return []
        # Along each axis, a twentieth of the pixels lies outside on either side.
        (left, right), (top, bottom) = (np.quantile(each, (0.05, 0.95)) for each in reversed(skin.nonzero()))
        return [Face((float(left), float(top), float(right - left + 1), float(bottom - top + 1)), float(share))]
