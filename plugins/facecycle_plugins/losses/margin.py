"""The `margin` loss: the mean face stays near the neutral face, up to a margin."""

from __future__ import annotations

from torch import Tensor

from facecycle.api import Options as BaseOptions


class MarginOptions(BaseOptions):
    """Options of the margin loss."""

    margin: float = 0.1
    """Difference per pixel, in normalised units, that costs nothing."""
    hinge: bool = True
    """True: mean(relu(|x - y| - margin)). False: mean(|x - y| - margin), as the published code trained."""


class MarginLoss:
    """Mean of |prediction - target| above a margin."""

    facecycle_api = (1, 0)
    Options = MarginOptions
    needs_target = True

    def __init__(self, options: MarginOptions) -> None:
        self.options = options

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map predictions (V, B, 3, H, W) and a target (B, 3, H, W) to (V,)."""
        excess = (predictions - target).abs() - self.options.margin
        if self.options.hinge:
            excess = excess.relu()
        return excess.mean(dim=(1, 2, 3, 4))
