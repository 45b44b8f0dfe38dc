"""The `auto` and `fused` warpers: the custom ops of facecycle_kernels."""

from __future__ import annotations

import logging

from facecycle_kernels.backend import why_not_triton
from facecycle_kernels.flow_warp import flow_warp
from facecycle_kernels.renormalize import renormalize
from torch import Tensor

from facecycle.api import Options as BaseOptions
from facecycle.errors import ConfigError

log = logging.getLogger("facecycle")


class AutoWarper:
    """Triton kernels on CUDA, the ops' own CPU implementation elsewhere; logs once which, and why."""

    facecycle_api = (1, 0)
    Options = BaseOptions

    def __init__(self, options: BaseOptions) -> None:
        self.options = options
        reason = why_not_triton()
        log.info("warper auto: %s", f"torch's own operations, for {reason}" if reason else "Triton kernels")

    def warp(self, x: Tensor, flow: Tensor, clamp: bool = False) -> Tensor:
        """See `facecycle_kernels.flow_warp.reference`."""
        return flow_warp(x, flow, clamp)

    def renormalize(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """See `facecycle_kernels.renormalize.reference`."""
        return renormalize(x, gamma, beta)


class FusedWarper(AutoWarper):
    """The Triton kernels, or an error where they cannot run."""

    def __init__(self, options: BaseOptions) -> None:
        self.options = options
        if reason := why_not_triton():
            raise ConfigError(f"the warper fused cannot run here: {reason}", hint="Take --warper auto or reference.")
