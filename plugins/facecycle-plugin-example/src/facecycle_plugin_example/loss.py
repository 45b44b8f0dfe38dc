"""The loss `charbonnier`: L1 with a smooth minimum."""

from pydantic import Field
from torch import Tensor

from facecycle.api import Options


class CharbonnierOptions(Options):
    """Options of the loss."""

    epsilon: float = Field(1e-3, gt=0)
    """Differences well below it cost quadratically."""


class CharbonnierLoss:
    """Mean of sqrt(difference² + epsilon²) - epsilon."""

    facecycle_api = (1, 0)
    Options = CharbonnierOptions
    needs_target = True

    def __init__(self, options: CharbonnierOptions) -> None:
        self.epsilon = options.epsilon

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map predictions (V, B, 3, H, W) and a target (B, 3, H, W) to (V,)."""
        distance = ((predictions - target) ** 2 + self.epsilon**2).sqrt() - self.epsilon
        return distance.mean(dim=(1, 2, 3, 4))
