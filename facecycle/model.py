"""What `facecycle.load` returns: networks ready for use on photographs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from facecycle.data.images import ImageSource, parse_crop, read_square_array
from facecycle.errors import ConfigError, DataError, did_you_mean
from facecycle.networks import load
from facecycle.pictures import drawn, to_pil
from facecycle.probing.features import refuse_non_finite
from facecycle.runtimes.by_torch import TorchRuntime

EXPRESSION = "expression"


class Model:
    """Networks in evaluation mode, and what they were trained for.

    Every image may be a file's path, a PIL image, or an array of uint8, (H, W, 3) RGB or (H, W) grey. Its largest
    centred square is taken, which an upright face should fill to half or more.

    Attributes:
        size: side of the square images that the networks read, in pixels.
        panels: names of the pictures that `translate` makes; the swaps among them need a driver.
        feature_names: names that `features` knows.
        origin: where the weights come from, and their terms.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        """Load a checkpoint; see `facecycle.load`."""
        self._runtime = TorchRuntime(load(None if path is None else Path(path)))
        self.size = self._runtime.size
        self.origin = self._runtime.origin
        self.panels = self._runtime.panels
        self.feature_names = self._runtime.features

    def translate(
        self, image: ImageSource, driver: ImageSource | None = None, *, crop: str | None = None, seed: int = 0
    ) -> dict[str, Image.Image]:
        """Make the pictures of a face: frontal, neutral, mean face and so on, by name.

        Args:
            image: the face.
            driver: a second face, to swap expression and identity with.
            crop: `x,y,w,h` in pixels of the upright `image`, instead of its centred square.
            seed: of the generator's noise; one seed gives the same pictures again.

        Returns:
            RGB pictures of `size` x `size` pixels, by the names in `panels`.

        Raises:
            FacecycleError: an image cannot be read, or the crop leaves it.
        """
        region = None if crop is None else parse_crop(crop)
        pixels = read_square_array(image, self.size, region)[None]
        drivers = None if driver is None else read_square_array(driver, self.size)[None]
        made = self._runtime.translate(pixels, drivers, seed, self.panels)
        return {name: to_pil(drawn(name, panel, self.size)[0]) for name, panel in made.items()}

    def embed(self, images: ImageSource | Sequence[ImageSource]) -> np.ndarray:
        """Return the expression codes of faces, float32 (n, 256), in (-1, 1); see `features`."""
        return self.features(images, EXPRESSION)

    def features(self, images: ImageSource | Sequence[ImageSource], name: str) -> np.ndarray:
        """Return a feature of faces, float32 (n, D).

        Args:
            images: one image, or several.
            name: `expression` or `identity`, codes of 256 numbers in (-1, 1); `conv` or `identity_conv`, the
                flattened feature maps before them. Linear probes read most from `conv`.

        Raises:
            FacecycleError: an image cannot be read, the checkpoint has no such feature, or it is not finite.
        """
        if name not in self.feature_names:
            hint = did_you_mean(name, self.feature_names) or f"Features: {', '.join(self.feature_names)}."
            raise ConfigError(f"these weights have no feature {name!r}", hint=hint)
        several = [images] if isinstance(images, str | os.PathLike | Image.Image | np.ndarray) else images
        if not len(several):
            raise DataError("there are no images to compute features of")
        (found,) = self._runtime.embed(np.stack([read_square_array(image, self.size) for image in several]), [name])
        refuse_non_finite(name, found)
        return found
