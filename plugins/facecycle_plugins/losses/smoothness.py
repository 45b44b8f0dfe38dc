"""The `smoothness` loss: a flow bends gently; `folding` alone forbids that it folds."""

from __future__ import annotations

from torch import Tensor

from facecycle.api import Options as BaseOptions


class SmoothnessLoss:
    """Mean absolute second difference along x and along y; no target. Affine flows cost nothing."""

    facecycle_api = (1, 0)
    Options = BaseOptions
    needs_target = False

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    def __call__(self, predictions: Tensor, target: Tensor | None = None) -> Tensor:
        """Map predictions (V, B, C, h, w), three pixels wide and high or more, to (V,)."""
        along_x = predictions[..., 2:] - 2 * predictions[..., 1:-1] + predictions[..., :-2]
        along_y = predictions[..., 2:, :] - 2 * predictions[..., 1:-1, :] + predictions[..., :-2, :]
        return along_x.abs().mean(dim=(1, 2, 3, 4)) + along_y.abs().mean(dim=(1, 2, 3, 4))
