"""Losses of images: `ssim` and `margin` compare them with a target, `symmetry` with their own mirror images."""

from facecycle_kernels.ssim import ssim
from torch import Tensor

from facecycle.api import Options
from facecycle_plugins.losses import Loss


class SsimLoss(Loss):
    """1 - SSIM over 11x11 gaussian windows of the normalised images."""

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map predictions (V, B, 3, H, W) and a target (B, 3, H, W) to (V,)."""
        return 1 - ssim(predictions, target)


class MarginOptions(Options):
    """Options of the margin loss."""

    margin: float = 0.1
    """Difference per pixel, in normalised units, that costs nothing."""
    hinge: bool = True
    """True: mean(relu(|x - y| - margin)). False: mean(|x - y| - margin), as the published code trained."""


class MarginLoss(Loss):
    """Mean of |prediction - target| above a margin: the mean face stays near the neutral face."""

    Options = MarginOptions
    options: MarginOptions

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map predictions (V, B, 3, H, W) and a target (B, 3, H, W) to (V,)."""
        excess = (predictions - target).abs() - self.options.margin
        if self.options.hinge:
            excess = excess.relu()
        return excess.mean(dim=(1, 2, 3, 4))


class SymmetryLoss(Loss):
    """Mean absolute difference of the left half and the mirrored right half: a neutral face is the same in a mirror."""

    needs_target = False

    def __call__(self, predictions: Tensor, target: Tensor | None = None) -> Tensor:
        """Map predictions (V, B, 3, H, W) to (V,). A middle column of an odd width is its own mirror."""
        half = predictions.shape[-1] // 2
        return (predictions[..., :half] - predictions.flip(-1)[..., :half]).abs().mean(dim=(1, 2, 3, 4))
