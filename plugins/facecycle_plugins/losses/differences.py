"""Mean differences of images, flows or codes: `l1` and `mse` from a target, and `size` from zero.

Each may keep to a band of a batch's images. A curriculum begins with those that are easiest, and goes on to others.
"""

from __future__ import annotations

import math

from pydantic import Field, model_validator
from torch import Tensor

from facecycle.api import Options
from facecycle.whole_batch import gather
from facecycle_plugins.losses import Loss


class BandOptions(Options):
    """Which images of a batch count, by their share of the batch from the smallest loss to the largest."""

    low: float = Field(0.0, ge=0, lt=1)
    """Share of the images, those of the smallest losses, that is left out."""
    high: float = Field(1.0, gt=0, le=1)
    """Share up to which images count: with `low` 0 and `high` 0.5 the easier half does."""

    @model_validator(mode="after")
    def _is_a_band(self) -> BandOptions:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self


class Banded(Loss):
    """A loss of each image that is averaged over a band of them.

    Of the losses in rising order those at the places int(low · B) up to int(high · B) count, of the whole batch B of
    all processes. Source: public code of FAb-Net (BMVC 2018), which trains by such bands.
    """

    Options = BandOptions
    options: BandOptions

    @property
    def couples_images(self) -> bool:
        """Whether an image's loss counts depends on the others."""
        return (self.options.low, self.options.high) != (0, 1)

    @property
    def fewest_images(self) -> int:
        """Images of which a band holds at least one, whatever their number above that."""
        return math.ceil(1 / (self.options.high - self.options.low) - 1e-9)

    def mean(self, values: Tensor) -> Tensor:
        """Map values (V, B, ...) of every number to (V,)."""
        if not self.couples_images:
            return values.mean(dim=tuple(range(1, values.dim())))
        of_images = gather(values.flatten(2).mean(2).T).T
        count = of_images.shape[1]
        ordered = of_images.sort(dim=1).values
        return ordered[:, int(self.options.low * count) : int(self.options.high * count)].mean(1)


class L1Loss(Banded):
    """Mean of |prediction - target| over all elements, batch included."""

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map predictions (V, B, ...) and a target (B, ...) to (V,)."""
        return self.mean((predictions - target).abs())


class MseLoss(Banded):
    """Mean of (prediction - target)² over all elements, batch included."""

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map predictions (V, B, ...) and a target (B, ...) to (V,)."""
        return self.mean((predictions - target).square())


class SizeLoss(Banded):
    """Mean of |prediction| over all elements, batch included: a flow of this loss moves no more than it must."""

    needs_target = False

    def __call__(self, predictions: Tensor, target: Tensor | None = None) -> Tensor:
        """Map predictions (V, B, ...) to (V,)."""
        return self.mean(predictions.abs())
