"""Two codes to a flow, and images sampled by it, as FAb-Net and TCAE do."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facecycle.api import Warper
from facecycle.errors import ConfigError

LAST_WIDTHS = (128, 64, 32)
SMALLEST = 32


class FlowDecoder(nn.Module):
    """A source's and a target's code to maps at the image's size, each number in (-1, 1).

    ReLU, then for each doubling of the size bilinear upsampling, a 3 x 3 convolution, batch norm and ReLU; the last
    convolution is followed by tanh alone [C]. The last widths are 128, 64 and 32, and those before them 256. The
    public code has 256 px; other powers of two are ours [A]. That corners are not aligned when maps are doubled is
    certain for TCAE [R] and assumed for FAb-Net [A].

    Raises:
        ConfigError: the size of images is not a power of two, or below 32.
    """

    def __init__(self, size: int, code: int, outputs: int) -> None:
        super().__init__()
        self.doublings = size.bit_length() - 1
        if size != 2**self.doublings or size < SMALLEST:
            raise ConfigError(
                f"size = {size}: the method's decoder doubles its map until it has the image's size",
                hint="Set size to a power of two, 32 or larger.",
            )
        widths = (2 * code, *[256] * (self.doublings - 1 - len(LAST_WIDTHS)), *LAST_WIDTHS)
        for number in range(1, self.doublings):
            self.add_module(f"conv{number}", nn.Conv2d(widths[number - 1], widths[number], 3, 1, 1))
            self.add_module(f"norm{number}", nn.BatchNorm2d(widths[number]))
        self.last = nn.Conv2d(widths[-1], outputs, 3, 1, 1)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Map the codes (B, D) of a source and a target to maps (B, outputs, S, S)."""
        x = torch.cat([source, target], 1).relu()[..., None, None]
        for number in range(1, self.doublings):
            x = getattr(self, f"conv{number}")(_doubled(x))
            x = getattr(self, f"norm{number}")(x).relu_()
        return self.last(_doubled(x)).tanh()


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def inside(flow: Tensor) -> Tensor:
    """Return a flow (B, 2, H, W), in grid units, shortened where it leaves the image."""
    y, x = (torch.linspace(-1, 1, length, device=flow.device, dtype=flow.dtype) for length in flow.shape[-2:])
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"))
    return (grid + flow).clamp(-1, 1) - grid


def sample(warper: Warper, images: Tensor, flow: Tensor) -> Tensor:
    """Return images (B, 3, H, W) sampled where a flow (B, 2, H, W) says, at their borders where it leaves them."""
    return warper.warp(images, inside(flow))
