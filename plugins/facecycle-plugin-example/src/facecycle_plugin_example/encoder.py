"""The encoder `example-conv`: four strided convolutions."""

from itertools import pairwise

from pydantic import Field
from torch import Tensor, nn

from facecycle.api import Options


class ExampleConvOptions(Options):
    """Options of the encoder."""

    width: int = Field(16, ge=1)
    """Channels of the first convolution; each further one has twice as many."""


class ExampleConv(nn.Module):
    """Images (B, 3, H, W) to features (B, 8 * width, H / 16, W / 16)."""

    facecycle_api = (1, 0)
    Options = ExampleConvOptions
    stride = 16

    def __init__(self, options: ExampleConvOptions) -> None:
        super().__init__()
        widths = [3, *(options.width * 2**i for i in range(4))]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.channels = widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images to a feature map."""
        return self.layers(images)
