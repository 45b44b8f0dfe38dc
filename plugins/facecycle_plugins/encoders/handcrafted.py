"""Encoders without parameters: `hog`, `lbp` and `pixels`, the baselines of every probe."""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from skimage.feature import hog, local_binary_pattern
from torch import Tensor, nn

from facecycle.api import Options as BaseOptions
from facecycle.data.images import denormalise


def grey(images: Tensor) -> np.ndarray:
    """Map normalised images (B, 3, H, W) to luma (B, H, W) in [0, 1], float64."""
    luma = torch.tensor((0.299, 0.587, 0.114), dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    return (denormalise(images) * luma).sum(1).double().cpu().numpy()


class _Handcrafted(nn.Module):
    facecycle_api = (1, 0)
    Options: type[BaseOptions] = BaseOptions

    def __init__(self, options: BaseOptions) -> None:
        super().__init__()


class HogEncoder(_Handcrafted):
    """Histograms of oriented gradients: 9 orientations, cells of 8 pixels, blocks of 2 x 2 cells (L2-Hys).

    The image is continued by its edge for one cell on the right and at the bottom, so that the grid of
    blocks has one block a cell. Source: Dalal and Triggs 2005.
    """

    channels = 36
    stride = 8

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to (B, 36, H/8, W/8)."""
        padded = F.pad(images, (0, self.stride, 0, self.stride), mode="replicate")
        maps = [hog(image, 9, (8, 8), (2, 2), block_norm="L2-Hys", feature_vector=False) for image in grey(padded)]
        grid = np.stack(maps).reshape(len(maps), *maps[0].shape[:2], self.channels)
        return torch.from_numpy(grid).permute(0, 3, 1, 2).to(images)


class LbpOptions(BaseOptions):
    """Options of the encoder `lbp`."""

    method: Literal["uniform", "nri_uniform"] = "nri_uniform"
    """`uniform` with 58 bins is the paper's 928-d baseline; `nri_uniform` has 59 patterns and tells more."""


class LbpEncoder(_Handcrafted):
    """Histograms of local binary patterns, P = 8, R = 2, over patches of 16 pixels, summing to 1 each.

    scikit-image's rotation-invariant `uniform` has 10 patterns; the paper counts them in 58 bins, of
    which 48 stay empty. `nri_uniform` has 58 uniform patterns and one for all others.
    Source: Ojala et al. 2002; Ahonen et al. 2006.
    """

    Options = LbpOptions
    stride = 16

    def __init__(self, options: LbpOptions) -> None:
        super().__init__(options)
        self.method = options.method
        self.channels = 58 if options.method == "uniform" else 59

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to (B, channels, H/16, W/16)."""
        levels = (grey(images) * 255).round().astype(np.uint8)
        patterns = np.stack([local_binary_pattern(level, 8, 2, self.method) for level in levels]).astype(np.int64)
        count, rows, columns = (len(images), *(side // self.stride for side in images.shape[2:]))
        whole = patterns[:, : rows * self.stride, : columns * self.stride]
        patch = np.arange(count * rows * columns).reshape(count, rows, 1, columns, 1)
        places = patch * self.channels + whole.reshape(count, rows, self.stride, columns, self.stride)
        counts = np.bincount(places.ravel(), minlength=count * rows * columns * self.channels)
        histograms = torch.from_numpy(counts).view(count, rows, columns, self.channels).permute(0, 3, 1, 2)
        return (histograms / self.stride**2).to(images)


class PixelEncoder(_Handcrafted):
    """The pixels themselves, RGB in [0, 1]."""

    channels = 3
    stride = 1

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to (B, 3, H, W)."""
        return denormalise(images)
