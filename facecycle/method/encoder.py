"""The code encoders: the blocks of all networks, the paper's encoder, and the head that every encoder gets."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from facecycle.api import Options as BaseOptions
from facecycle.heads import HeadedEncoder

SLOPE = 0.1
CODE_SIZE = 256


def lrelu() -> nn.LeakyReLU:
    """LeakyReLU with the method's slope, 0.1, in place: convolutions keep their input, not their output."""
    return nn.LeakyReLU(SLOPE, inplace=True)


def relu() -> nn.ReLU:
    """ReLU, in place as `lrelu` is."""
    return nn.ReLU(inplace=True)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, bias: bool = True) -> nn.Conv2d:
    """Convolution padded by kernel // 2."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)


class Attention(nn.Module):
    """Channel attention over all positions, added to its input.

    S = phi(x) · softmax_N(theta(x))^T, A = S · softmax_c(g(x)), output lrelu(x + A); no scaling.
    Source: FaceCycle (ICCV 2021), supplementary network tables.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = conv(channels, channels, 1)
        self.theta = conv(channels, channels, 1)
        self.phi = conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        g = self.g(x).flatten(2).softmax(dim=1)
        theta = self.theta(x).flatten(2).softmax(dim=2)
        phi = self.phi(x).flatten(2)
        attended = (phi @ theta.transpose(1, 2)) @ g
        return F.leaky_relu(x + attended.view_as(x), SLOPE, inplace=True)


class ResBlock(nn.Module):
    """Conv3 lrelu Conv3, plus the input, lrelu."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels)
        self.conv2 = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        y = self.conv2(F.leaky_relu(self.conv1(x), SLOPE, inplace=True))
        return F.leaky_relu(x + y, SLOPE, inplace=True)


def initialise(network: nn.Module) -> None:
    """Initialise the code encoder's and motion decoder's layers in place.

    Convolutions N(0, sqrt(2 / (k·k·c_out))), linear layers N(0, 0.01), biases 0.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


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


class CodeEncoder(HeadedEncoder):
    """An encoder and its head: images to the flattened map (conv feature) and to a 256-d code in (-1, 1).

    The head is Linear D→width lrelu, Linear width→256, tanh; the paper's width is 512. D is the feature map's size.

    Raises:
        UnfitEncoder: the encoder does not read images of that size, or does not give the map that it promises.
    """

    def __init__(self, encoder: nn.Module, size: int, width: int) -> None:
        super().__init__(encoder, size)
        self.head = nn.Sequential(nn.Linear(self.inputs, width), lrelu(), nn.Linear(width, CODE_SIZE))
        initialise(self.head)

    def code(self, conv_feature: Tensor) -> Tensor:
        """Map the flattened feature map at the training size to codes (B, 256) in (-1, 1)."""
        return self.head(conv_feature).tanh()
