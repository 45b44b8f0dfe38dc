"""Building blocks that the networks share: attention, residual block, initialisation."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1


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
