"""Losses of flows, without a target: `smoothness` lets a flow bend gently, and `folding` keeps it from folding."""

from pydantic import Field
from torch import Tensor

from facecycle.api import Options
from facecycle_plugins.losses import Loss


class SmoothnessLoss(Loss):
    """Mean absolute second difference along x and along y. Affine flows cost nothing."""

    needs_target = False

    def __call__(self, predictions: Tensor, target: Tensor | None = None) -> Tensor:
        """Map predictions (V, B, C, h, w), three pixels wide and high or more, to (V,)."""
        along_x = predictions[..., 2:] - 2 * predictions[..., 1:-1] + predictions[..., :-2]
        along_y = predictions[..., 2:, :] - 2 * predictions[..., 1:-1, :] + predictions[..., :-2, :]
        return along_x.abs().mean(dim=(1, 2, 3, 4)) + along_y.abs().mean(dim=(1, 2, 3, 4))


class FoldingOptions(Options):
    """Options of the folding loss."""

    least: float = Field(0.25, ge=0, le=1)
    """How near two neighbours may come, over their distance in the image, at no cost."""


class FoldingLoss(Loss):
    """Mean of relu(least - d)², with d the distance of two neighbours after the flow over that before it.

    Neighbours are those along x and along y. Without a flow d = 1, and below 0 the flow folds: it shows a part of the
    face twice. A face folded along its middle is symmetric, so without this the symmetry loss rewards the fold.
    """

    Options = FoldingOptions
    needs_target = False
    options: FoldingOptions

    def __call__(self, predictions: Tensor, target: Tensor | None = None) -> Tensor:
        """Map flows (V, B, 2, h, w), in grid units, to (V,)."""
        height, width = predictions.shape[-2:]
        x, y = predictions[:, :, 0], predictions[:, :, 1]
        along_x = 1 + (x[..., 1:] - x[..., :-1]) * (width - 1) / 2
        along_y = 1 + (y[..., 1:, :] - y[..., :-1, :]) * (height - 1) / 2
        too_near = [(self.options.least - d).relu().square().mean(dim=(1, 2, 3)) for d in (along_x, along_y)]
        return too_near[0] + too_near[1]
