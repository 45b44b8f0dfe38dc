"""The `reference` warper: plain torch, any device, any H x W."""

from __future__ import annotations

from facecycle_kernels.flow_warp.reference import flow_warp
from facecycle_kernels.renormalize.reference import renormalize
from torch import Tensor

from facecycle.api import Options as BaseOptions


class ReferenceWarper:
    """Both operations as the formulas say them, differentiated by autograd."""

    facecycle_api = (1, 0)
    Options = BaseOptions

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    def warp(self, x: Tensor, flow: Tensor, clamp: bool = False) -> Tensor:
        """See `facecycle_kernels.flow_warp.reference`."""
        return flow_warp(x, flow, clamp)

    def renormalize(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """See `facecycle_kernels.renormalize.reference`."""
        return renormalize(x, gamma, beta)
