"""renormalize in plain torch: instance norm, then a given scale and shift."""

from __future__ import annotations

from torch import Tensor

EPS = 1e-5


def renormalize(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Return (x - mean) / sqrt(var + 1e-5) · gamma + beta, moments over each map's positions.

    Args:
        x: (B, C, H, W).
        gamma: (B, C, 1, 1) per channel, or (B, C, H, W) spatial.
        beta: as gamma.

    Returns:
        (B, C, H, W).

    Source: feature re-normalization of FaceCycle (ICCV 2021), section 3.2; biased variance as in
    instance norm.
    """
    mean = x.mean(dim=(-2, -1), keepdim=True)
    centred = x - mean
    variance = centred.square().mean(dim=(-2, -1), keepdim=True)
    return centred * (variance + EPS).rsqrt() * gamma + beta
