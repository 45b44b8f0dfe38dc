"""The encoders without parameters agree with scikit-image, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.feature import hog, local_binary_pattern

from facecycle.data.images import from_uint8
from facecycle.registry import build


def pixels(batch: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 3, size, size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_the_papers_lbp_has_928_numbers_in_58_bins_of_which_10_can_be_filled() -> None:
    encoder = build("encoder", "lbp", {"method": "uniform"})
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    histograms = encoder(images)
    assert histograms.flatten(1).shape == (4, 928)
    assert torch.allclose(histograms.sum(1), torch.ones(4, 4, 4))
    assert (histograms.sum(dim=(0, 2, 3)) > 0).sum() == 10
    full = build("encoder", "lbp")(images)
    assert (full.sum(dim=(0, 2, 3)) > 0).sum() == 59


@pytest.mark.parametrize("method", ["uniform", "nri_uniform"])
def test_lbp_histograms_are_those_of_each_patch(method: str) -> None:
    grey = pixels()[:, :1].expand(-1, 3, -1, -1)
    found = build("encoder", "lbp", {"method": method})(from_uint8(grey))
    patterns = local_binary_pattern(grey[1, 0].numpy(), 8, 2, method)[16:32, 48:64].astype(int)
    expected = np.bincount(patterns.ravel(), minlength=found.shape[1]) / 256
    assert np.allclose(found[1, :, 1, 3], expected, atol=1e-6)


def test_hog_blocks_inside_the_image_are_those_of_scikit_image() -> None:
    grey = pixels()[:, :1].expand(-1, 3, -1, -1)
    found = build("encoder", "hog")(from_uint8(grey))
    assert found.shape == (2, 36, 8, 8)
    whole = hog(grey[0, 0].numpy() / 255, 9, (8, 8), (2, 2), block_norm="L2-Hys", feature_vector=False)
    # The last row and column of cells sees the continued edge; blocks that hold none of them are the same.
    inner = whole.reshape(7, 7, 36)[:6, :6]
    assert np.allclose(found[0].permute(1, 2, 0)[:6, :6], inner, atol=1e-4)


def test_pixels_are_the_image() -> None:
    images = pixels()
    assert torch.allclose(build("encoder", "pixels")(from_uint8(images)), images / 255, atol=1e-6)
