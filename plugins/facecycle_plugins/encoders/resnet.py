"""ResNets of basic blocks, as timm has them in every name and number, without the seconds that importing timm takes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)
STRIDES = (2, 4, 8, 16, 32)
"""Strides of the feature maps: of the stem, then of each stage."""


@dataclass(frozen=True)
class Layout:
    """Basic blocks in each stage; `tiered`: a stem of three convolutions, and shortcuts that average."""

    blocks: tuple[int, int, int, int]
    tiered: bool = False


LAYOUTS = {
    "resnet10t": Layout((1, 1, 1, 1), tiered=True),
    "resnet18": Layout((2, 2, 2, 2)),
    "resnet34": Layout((3, 4, 6, 3)),
}


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class _Block(nn.Module):
    """Two convolutions, and what came in added to them."""

    def __init__(self, inputs: int, outputs: int, stride: int, tiered: bool) -> None:
        super().__init__()
        shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            # A shortcut that averages begins with its pool, so its convolution has another number.
            pool = [nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)] if tiered else []
            shortcut = nn.Sequential(*pool, _conv(inputs, outputs, 1, 1 if tiered else stride), nn.BatchNorm2d(outputs))
        self.conv1 = _conv(inputs, outputs, stride=stride)
        self.bn1, self.act1 = nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        self.conv2 = _conv(outputs, outputs)
        self.bn2, self.act2 = nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        found = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        found += x if self.downsample is None else self.downsample(x)
        return self.act2(found)


class ResNet(nn.Module):
    """A ResNet up to its deepest feature map of stride <= `max_stride`, which is 2 at least.

    First weights are drawn as timm draws them, the stages that are dropped included, so that a seed means the same.

    Attributes:
        channels, stride: of that map.
    """

    def __init__(self, name: str, max_stride: int) -> None:
        super().__init__()
        layout = LAYOUTS[name]
        if layout.tiered:
            narrow = _conv(3, 24, stride=2), nn.BatchNorm2d(24), nn.ReLU(inplace=True)
            wider = _conv(24, 32), nn.BatchNorm2d(32), nn.ReLU(inplace=True)
            self.conv1: nn.Module = nn.Sequential(*narrow, *wider, _conv(32, 64))
        else:
            self.conv1 = _conv(3, 64, kernel=7, stride=2)
        self.bn1, self.act1 = nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        width = 64
        for stage, (count, wide) in enumerate(zip(layout.blocks, WIDTHS, strict=True), start=1):
            blocks = []
            for _ in range(count):
                blocks.append(_Block(width, wide, 2 if wide > width else 1, layout.tiered))
                width = wide
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        nn.Linear(width, 1000)  # timm's classifier, whose weights are drawn and dropped
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _Block):
                nn.init.zeros_(module.bn2.weight)
        kept = sum(stride <= max_stride for stride in STRIDES) - 1
        self.channels, self.stride = (64, *WIDTHS)[kept], STRIDES[kept]
        for stage in range(kept + 1, len(WIDTHS) + 1):
            delattr(self, f"layer{stage}")
        if kept == 0:
            del self.maxpool

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images (B, 3, H, W) to a list of the one map (B, channels, H / stride, W / stride), as timm's do."""
        found: Tensor = images
        for layer in self.children():
            found = layer(found)
        return [found]
