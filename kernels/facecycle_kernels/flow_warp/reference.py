"""flow_warp in plain torch: sample an image or feature map at identity grid + flow."""

import torch
import torch.nn.functional as F
from torch import Tensor

FAR = 1e4
"""What a flow is limited to, in grid units, and what NaN counts as: outside of any image."""


def axis(length: int, like: Tensor) -> Tensor:
    """Return the identity grid along one axis, (length,), with align_corners=True."""
    # A single cell sits at the centre: linspace(-1, 1, 1) would put it on the left edge.
    if length == 1:
        return torch.zeros(1, dtype=like.dtype, device=like.device)
    return torch.linspace(-1, 1, length, dtype=like.dtype, device=like.device)


def flow_warp(x: Tensor, flow: Tensor, clamp: bool = False) -> Tensor:
    """Sample `x` at identity grid + flow: bilinear, zeros outside, align_corners=True.

    Args:
        x: (B, C, H, W), any range. Half precision is sampled in float32.
        flow: (B, 2, h, w), channel 0 = x, channel 1 = y, in grid units ([-1, 1] spans the image).
            Resized to (H, W), bilinear, align_corners=True. A NaN or infinite cell samples outside.
        clamp: clamp the resized flow to [-1, 1].

    Returns:
        (B, C, H, W). Zero flow gives `x` back up to rounding. An axis of one pixel is never left.

    Source: method of FaceCycle (ICCV 2021), section 3.1; STN sampling with `align_corners=True`.
    """
    height, width = x.shape[-2:]
    wide = torch.promote_types(torch.promote_types(x.dtype, flow.dtype), torch.float32)
    flow = flow.to(wide).nan_to_num(nan=FAR, posinf=FAR, neginf=-FAR).clamp(-FAR, FAR)
    if flow.shape[-2:] != (height, width):
        flow = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=True)
    if clamp:
        flow = flow.clamp(-1, 1)
    grid_y, grid_x = torch.meshgrid(axis(height, flow), axis(width, flow), indexing="ij")
    grid = torch.stack((grid_x, grid_y), dim=-1) + flow.permute(0, 2, 3, 1)
    return F.grid_sample(x.to(wide), grid, mode="bilinear", padding_mode="zeros", align_corners=True).to(x.dtype)
