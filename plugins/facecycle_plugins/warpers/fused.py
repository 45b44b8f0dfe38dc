"""The `auto` and `fused` warpers: the custom ops of facecycle_kernels, imported at the first use."""

import logging
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from torch import Tensor

from facecycle.api import Options as BaseOptions
from facecycle.errors import ConfigError


@dataclass
class _Ops:
    options: BaseOptions
    facecycle_api: ClassVar = (1, 0)
    Options: ClassVar = BaseOptions

    def warp(self, x: Tensor, flow: Tensor, clamp: bool = False) -> Tensor:
        """See `facecycle_kernels.flow_warp`."""
        from facecycle_kernels.flow_warp import flow_warp

        return flow_warp(x, flow, clamp)

    def renormalize(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """See `facecycle_kernels.renormalize`."""
        from facecycle_kernels.renormalize import renormalize

        return renormalize(x, gamma, beta)


@dataclass
class FusedWarper(_Ops):
    """The Triton kernels, or an error where they cannot run."""

    def __post_init__(self) -> None:
        from facecycle_kernels.backend import why_not_triton

        if reason := why_not_triton():
            raise ConfigError(f"the warper fused cannot run here: {reason}", hint="Take --warper auto or reference.")


@dataclass
class AutoWarper(_Ops):
    """Triton kernels on CUDA, the ops' own CPU implementation elsewhere; logs once which, and why."""

    def __post_init__(self) -> None:
        _announce()


@cache
def _announce() -> None:
    from facecycle_kernels.backend import why_not_triton

    reason = why_not_triton()
    picked = f"torch's own operations, because {reason}" if reason else "Triton kernels"
    logging.getLogger("facecycle").info("warper auto: %s", picked)
