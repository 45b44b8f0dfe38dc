"""ssim in plain torch: the structural similarity of several predictions and one target."""

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2


def _blur(x: Tensor) -> Tensor:
    """Filter (..., H, W) with the normalised gaussian window, zeros outside."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    line = torch.exp(-offsets.square() / (2 * SIGMA**2))
    window = torch.outer(line, line) / line.sum() ** 2
    return F.conv2d(x.reshape(-1, 1, *x.shape[-2:]), window[None, None], padding=WINDOW // 2).view(x.shape)


def ssim(predictions: Tensor, target: Tensor) -> Tensor:
    """Return the mean structural similarity of each prediction with the target.

    Args:
        predictions: (V, B, C, H, W), in the same space as the target; no range is assumed. Half precision
            is computed in float32.
        target: (B, C, H, W); its moments are computed once for all V.

    Returns:
        (V,), at most 1; 1 where prediction and target are equal.

    Source: Wang et al. 2004, 11x11 gaussian window, sigma 1.5, per channel, zero padding, constants
    C1 = 0.01², C2 = 0.03²; mean over everything.
    """
    predictions, target = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (predictions, target))
    mean_p, mean_t = _blur(predictions), _blur(target)
    var_p = _blur(predictions * predictions) - mean_p * mean_p
    var_t = _blur(target * target) - mean_t * mean_t
    covariance = _blur(predictions * target) - mean_p * mean_t
    luminance = (2 * mean_p * mean_t + C1) / (mean_p * mean_p + mean_t * mean_t + C1)
    structure = (2 * covariance + C2) / (var_p + var_t + C2)
    return (luminance * structure).mean(dim=(-4, -3, -2, -1))
