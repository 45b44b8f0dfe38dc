"""ssim in plain torch: the structural similarity of several predictions and one target."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW = 11
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2


def _band(length: int, like: Tensor) -> Tensor:
    """Return the (length, length) matrix that filters a line with the gaussian window, zeros outside."""
    positions = torch.arange(length, dtype=like.dtype, device=like.device)
    distance = positions[:, None] - positions[None, :]
    taps = torch.exp(-distance.square() / (2 * SIGMA**2)) * (distance.abs() <= WINDOW // 2)
    offsets = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    return taps / torch.exp(-offsets.square() / (2 * SIGMA**2)).sum()


def _blur(x: Tensor) -> Tensor:
    """Filter (..., H, W) with the normalised gaussian window, zeros outside.

    As two products with banded matrices: on a CPU the backward of a one-channel convolution takes
    several times as long.
    """
    height, width = x.shape[-2:]
    return _band(height, x) @ (x @ _band(width, x))


def ssim(predictions: Tensor, target: Tensor) -> Tensor:
    """Return the mean structural similarity of each prediction with the target.

    Args:
        predictions: (V, B, C, H, W), in the same space as the target; no range is assumed.
        target: (B, C, H, W); its moments are computed once for all V.

    Returns:
        (V,), at most 1; 1 where prediction and target are equal.

    Source: Wang et al. 2004, 11x11 gaussian window, sigma 1.5, per channel, zero padding, constants
    C1 = 0.01², C2 = 0.03²; mean over everything.
    """
    mean_p, mean_t = _blur(predictions), _blur(target)
    var_p = _blur(predictions * predictions) - mean_p * mean_p
    var_t = _blur(target * target) - mean_t * mean_t
    covariance = _blur(predictions * target) - mean_p * mean_t
    luminance = (2 * mean_p * mean_t + C1) / (mean_p * mean_p + mean_t * mean_t + C1)
    structure = (2 * covariance + C2) / (var_p + var_t + C2)
    return (luminance * structure).mean(dim=(-4, -3, -2, -1))
