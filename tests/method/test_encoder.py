"""The head of an encoder fits the map that it gives, and an encoder that gives none is found at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facecycle.errors import UnfitEncoder
from facecycle.method.encoder import CodeEncoder


class _Unpadded(nn.Module):
    """Maps that are smaller than size / stride, or of another number of channels than announced."""

    channels, stride = 4, 16

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 17, 16)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(images))


def test_the_head_asks_for_the_map_s_real_size() -> None:
    encoder = _Unpadded()
    code = CodeEncoder(encoder, 64, 8)
    assert code.head[0].in_features == 4 * 3 * 3
    assert code(torch.randn(2, 3, 64, 64)).shape == (2, 256)
    # Looking moved no statistics, and left it in training.
    assert CodeEncoder(fresh := _Unpadded(), 64, 8).training
    assert fresh.training
    assert not fresh.norm.running_mean.any()


@pytest.mark.parametrize(
    ("encoder", "size", "message"),
    [
        (_Unpadded(), 72, "size = 72 is not a multiple of the encoder's stride, 16"),
        (_Unpadded(), 16, r"does not read images of 16 x 16 pixels: .*Kernel size"),
        (_Unpadded(5), 64, r"4 channels, but maps an image of 64 x 64 pixels to \(1, 5, 3, 3\)"),
    ],
)
def test_an_encoder_that_does_not_fit_is_found_before_training(encoder: nn.Module, size: int, message: str) -> None:
    with pytest.raises(UnfitEncoder, match=message):
        CodeEncoder(encoder, size, 8)
