"""The `ssim` loss: one minus structural similarity."""

from __future__ import annotations

from facecycle_kernels.ssim import ssim
from torch import Tensor

from facecycle.api import Options as BaseOptions


class SsimLoss:
    """1 - SSIM over 11x11 gaussian windows of the normalised images."""

    facecycle_api = (1, 0)
    Options = BaseOptions
    needs_target = True

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map predictions (V, B, 3, H, W) and a target (B, 3, H, W) to (V,)."""
        return 1 - ssim(predictions, target)
