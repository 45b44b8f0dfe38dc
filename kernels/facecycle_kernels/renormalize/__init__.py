"""renormalize: instance norm without affine, then gamma and beta per channel or per position."""

from facecycle_kernels.renormalize.op import renormalize

__all__ = ["renormalize"]
