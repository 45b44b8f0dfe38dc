"""renormalize in plain torch: instance norm, then a given scale and shift."""

import torch
from torch import Tensor

EPS = 1e-5


def renormalize(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Return (x - mean) / sqrt(var + 1e-5) · gamma + beta, moments over each map's positions.

    Args:
        x: (B, C, H, W). Half precision is computed in float32.
        gamma: (B, C, 1, 1) per channel, or (B, C, H, W) spatial.
        beta: as gamma.

    Returns:
        (B, C, H, W).

    Source: feature re-normalization of FaceCycle (ICCV 2021), section 3.2; biased variance as in
    instance norm.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    centred = wide - wide.mean(dim=(-2, -1), keepdim=True)
    variance = centred.square().mean(dim=(-2, -1), keepdim=True)
    return (centred * (variance + EPS).rsqrt() * gamma + beta).to(x.dtype)
