"""flow_warp in plain torch: sample an image or feature map at identity grid + flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _axis(length: int, like: Tensor) -> Tensor:
    # A single cell sits at the centre: linspace(-1, 1, 1) would put it on the left edge.
    if length == 1:
        return torch.zeros(1, dtype=like.dtype, device=like.device)
    return torch.linspace(-1, 1, length, dtype=like.dtype, device=like.device)


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Resize a flow (B, 2, h, w) to (B, 2, H, W), bilinear, align_corners=True; its units do not change."""
    if flow.shape[-2:] == (height, width):
        return flow
    return F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=True)


def flow_warp(x: Tensor, flow: Tensor, clamp: bool = False) -> Tensor:
    """Sample `x` at identity grid + flow: bilinear, zeros outside, align_corners=True.

    Args:
        x: (B, C, H, W), any range.
        flow: (B, 2, h, w), channel 0 = x, channel 1 = y, in grid units ([-1, 1] spans the image).
        clamp: clamp the resized flow to [-1, 1].

    Returns:
        (B, C, H, W). Zero flow gives `x` back up to rounding.

    Source: method of FaceCycle (ICCV 2021), section 3.1; STN sampling with `align_corners=True`.
    """
    height, width = x.shape[-2:]
    flow = resize_flow(flow, height, width)
    if clamp:
        flow = flow.clamp(-1, 1)
    grid_y, grid_x = torch.meshgrid(_axis(height, flow), _axis(width, flow), indexing="ij")
    grid = torch.stack((grid_x, grid_y), dim=-1) + flow.permute(0, 2, 3, 1)
    return F.grid_sample(x, grid.to(x.dtype), mode="bilinear", padding_mode="zeros", align_corners=True)
