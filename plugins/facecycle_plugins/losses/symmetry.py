"""The `symmetry` loss: a neutral face looks the same in a mirror."""

from __future__ import annotations

from torch import Tensor

from facecycle.api import Options as BaseOptions


class SymmetryLoss:
    """Mean absolute difference of the left half and the mirrored right half; no target."""

    facecycle_api = (1, 0)
    Options = BaseOptions
    needs_target = False

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    def __call__(self, predictions: Tensor, target: Tensor | None = None) -> Tensor:
        """Map predictions (V, B, 3, H, W) to (V,). A middle column of an odd width is its own mirror."""
        half = predictions.shape[-1] // 2
        left = predictions[..., :half]
        right = predictions.flip(-1)[..., :half]
        return (left - right).abs().mean(dim=(1, 2, 3, 4))
