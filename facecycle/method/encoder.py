"""The paper's encoder, as the plugin `facecycle`, and the code head every encoder gets."""

from __future__ import annotations

import math

from torch import Tensor, nn

from facecycle.api import Options as BaseOptions
from facecycle.errors import ConfigError
from facecycle.method.blocks import Attention, ResBlock, conv, initialise, lrelu

CODE_SIZE = 256


class FaceCycleEncoder(nn.Module):
    """The convolutional part of the paper's code encoder: (B, 3, H, W) to (B, 128, H/16, W/16).

    Source: FaceCycle (ICCV 2021), supplementary network tables.
    """

    facecycle_api = (1, 0)
    Options = BaseOptions
    channels = 128
    stride = 16

    def __init__(self, options: BaseOptions) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(conv(3, 64, 7, 2), lrelu(), conv(64, 64), lrelu())
        self.layer1 = nn.Sequential(conv(64, 64), lrelu(), Attention(64), conv(64, 64), lrelu())
        self.layer2_1 = nn.Sequential(conv(64, 128, 3, 2), lrelu(), Attention(128), conv(128, 128), lrelu())
        self.resblock1 = ResBlock(128)
        self.resblock2 = ResBlock(128)
        self.layer2_2 = nn.Sequential(conv(128, 128, 3, 2), lrelu(), conv(128, 128), lrelu())
        self.layer3_1 = nn.Sequential(conv(128, 256, 3, 2), lrelu(), conv(256, 256), lrelu())
        self.layer3_2 = nn.Sequential(conv(256, 256), lrelu(), conv(256, 128), lrelu())
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to features (B, 128, H/16, W/16), rounded up."""
        x = self.layer2_1(self.layer1(self.conv1(images)))
        x = self.resblock2(self.resblock1(x))
        return self.layer3_2(self.layer3_1(self.layer2_2(x)))


class CodeEncoder(nn.Module):
    """An encoder and its head: images to the flattened map (conv feature) and to a 256-d code.

    The head is Linear D→width lrelu, Linear width→256, tanh; the paper's width is 512. D is the feature map's size
    at the training resolution, so a code exists only there while the conv feature exists at any size.
    """

    def __init__(self, encoder: nn.Module, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.encoder = encoder
        channels, stride = int(encoder.channels), int(encoder.stride)  # type: ignore[arg-type]
        if size % stride:
            raise ConfigError(
                f"size = {size} is not a multiple of the encoder's stride, {stride}",
                hint=f"Set one that is, for example --set size={math.lcm(16, stride)}.",
            )
        side = size // stride
        self.head = nn.Sequential(nn.Linear(channels * side * side, width), lrelu(), nn.Linear(width, CODE_SIZE))
        initialise(self.head)

    def conv_feature(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to the flattened feature map (B, C·h·w)."""
        return self.encoder(images).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, size, size) to codes (B, 256) in (-1, 1).

        Raises:
            ConfigError: images of another size than the head was made for.
        """
        if tuple(images.shape[-2:]) != (self.size, self.size):
            height, width = images.shape[-2:]
            raise ConfigError(
                f"a code is defined at {self.size} x {self.size} pixels only; got {width} x {height}",
                hint="Use the conv feature for other sizes.",
            )
        return self.head(self.conv_feature(images)).tanh()
