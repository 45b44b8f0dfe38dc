"""The `auto` and `fused` warpers: the custom ops of facecycle_kernels."""

from __future__ import annotations

import logging

from facecycle_kernels.backend import why_not_triton
from facecycle_kernels.flow_warp import flow_warp
from facecycle_kernels.renormalize import renormalize

from facecycle.api import Options as BaseOptions
from facecycle.errors import ConfigError

log = logging.getLogger("facecycle")


class AutoWarper:
    """Triton kernels on CUDA, the ops' own CPU implementation elsewhere; logs once which, and why."""

    facecycle_api = (1, 0)
    Options = BaseOptions
    warp = staticmethod(flow_warp)
    renormalize = staticmethod(renormalize)

    def __init__(self, options: BaseOptions) -> None:
        reason = why_not_triton()
        log.info("warper auto: %s", f"torch's own operations, because {reason}" if reason else "Triton kernels")


class FusedWarper(AutoWarper):
    """The Triton kernels, or an error where they cannot run."""

    def __init__(self, options: BaseOptions) -> None:
        if reason := why_not_triton():
            raise ConfigError(f"the warper fused cannot run here: {reason}", hint="Take --warper auto or reference.")
