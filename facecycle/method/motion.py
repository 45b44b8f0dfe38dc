"""The motion decoder: an expression code to a flow and its approximate inverse."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facecycle.api import Warper
from facecycle.method.blocks import Attention, ResBlock, conv, initialise, lrelu
from facecycle.method.encoder import CODE_SIZE


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class _Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _double(x)


class MotionDecoder(nn.Module):
    """A code (B, 256) to a flow (B, 2, 16, 16) in (-1, 1).

    Source: FaceCycle (ICCV 2021), supplementary network tables. `width` = 256 is the paper's.
    """

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        self.motiongen1 = nn.Sequential(
            conv(CODE_SIZE, 16 * width, 1),
            nn.PixelShuffle(4),
            lrelu(),
            Attention(width),
            conv(width, width),
            lrelu(),
        )
        self.motiongen2 = nn.Sequential(
            _Double(), conv(width, half), lrelu(), Attention(half), conv(half, half), lrelu()
        )
        self.resblock1 = ResBlock(half)
        self.resblock2 = ResBlock(half)
        self.toflow4 = nn.Sequential(_Double(), conv(half, quarter), lrelu(), conv(quarter, 2, 1, bias=False))
        initialise(self)
        for layer in self.toflow4:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0, 0.05)

    def forward(self, code: Tensor) -> Tensor:
        """Map codes (B, 256) to flows (B, 2, 16, 16), channel 0 = x, 1 = y, in grid units."""
        x = self.motiongen1(code[:, :, None, None])
        x = self.resblock2(self.resblock1(self.motiongen2(x)))
        return self.toflow4(x).tanh()


def backflow(warper: Warper, flow: Tensor) -> Tensor:
    """Return the approximate inverse of a flow, -clamp(warp(flow, flow), -1, 1), shape (B, 2, h, w).

    Gradients reach the flow through both arguments of the warp.
    """
    return -torch.clamp(warper.warp(flow, flow), -1, 1)
