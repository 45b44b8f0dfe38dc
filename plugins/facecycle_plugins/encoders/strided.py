"""The encoders of FAb-Net and TCAE: convolutions that each halve the image, `fab-net` and `tcae`.

They begin with torch's own first weights, as the public codes do [C]; torch of that time drew the gains of batch norm
from (0, 1) [P], and today they begin with 1.
"""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from facecycle.api import Options

WIDTHS = (32, 64, 128, 256, 256, 256, 256)
SLOPE = 0.2


class FabNetOptions(Options):
    """Depth of the encoder of FAb-Net."""

    layers: int = Field(7, ge=1, le=7)
    """Convolutions, each of which halves the image: 7 leave 2 x 2 of 256 px [C], and 5 leave that of 64 px [A]."""


class TcaeOptions(Options):
    """Depth of the encoder of TCAE."""

    layers: int = Field(5, ge=1, le=7)
    """Convolutions, each of which halves the image: 5 leave 8 x 8 of 256 px [C]."""


class StridedEncoder(nn.Module):
    """Convolutions of 4 x 4 and stride 2, each followed by LeakyReLU 0.2; batch norm between from one of them on."""

    def __init__(self, layers: int, first_norm: int) -> None:
        super().__init__()
        self.channels = WIDTHS[layers - 1]
        self.stride = 2**layers
        self.layers = layers
        for number, (inputs, outputs) in enumerate(zip((3, *WIDTHS), WIDTHS[:layers], strict=False), 1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, 4, 2, 1))
            self.add_module(f"norm{number}", nn.BatchNorm2d(outputs) if number >= first_norm else nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to features (B, channels, H / stride, W / stride)."""
        x = images
        for number in range(1, self.layers + 1):
            x = getattr(self, f"norm{number}")(getattr(self, f"conv{number}")(x))
            x = F.leaky_relu(x, SLOPE, inplace=True)
        return x


class FabNetEncoder(StridedEncoder):
    """FAb-Net's encoder without its last convolution, which is a linear layer of the 2 x 2 map [C].

    Source: Wiles, Koepke, Zisserman, BMVC 2018; github.com/oawiles/FAb-Net.
    """

    facecycle_api = (1, 1)
    Options = FabNetOptions

    def __init__(self, options: FabNetOptions) -> None:
        super().__init__(options.layers, first_norm=2)


class TcaeEncoder(StridedEncoder):
    """TCAE's trunk, which the codes of pose and action share [C].

    Source: Li, Zeng, Shan, Chen, CVPR 2019; github.com/mysee1989/TCAE.
    """

    facecycle_api = (1, 1)
    Options = TcaeOptions

    def __init__(self, options: TcaeOptions) -> None:
        super().__init__(options.layers, first_norm=1)
