"""ssim: structural similarity of several predictions against one target."""

from facecycle_kernels.ssim.op import ssim

__all__ = ["ssim"]
