"""The `l1` loss: photometric mean absolute difference."""

from __future__ import annotations

from torch import Tensor

from facecycle.api import Options as BaseOptions


class L1Loss:
    """Mean of |prediction - target| over all elements, batch included."""

    facecycle_api = (1, 0)
    Options = BaseOptions
    needs_target = True

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map predictions (V, B, 3, H, W) and a target (B, 3, H, W) to (V,)."""
        return (predictions - target).abs().mean(dim=(1, 2, 3, 4))
