"""The generator: a face and a flow to the moved face; and the stem it shares with the renormalizer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from facecycle.api import Warper
from facecycle.errors import ConfigError
from facecycle.method.blocks import ResBlock, conv, relu

DECODED_AT_ONCE = 16
"""Images whose activations exist at a time where memory is saved."""


def _conv_relu(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs), relu())


class Stem(nn.Module):
    """VGG19's first five convolutions: images to `mid` (2w, H/2, W/2) and `deep` (4w, H/4, W/4).

    With the paper's width w = 64 it can carry the pretrained weights and is then frozen; a narrower
    one is trained with the network it belongs to, from He's initialisation.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.conv1_1 = _conv_relu(3, width)
        self.conv1_2 = _conv_relu(width, width)
        self.conv2_1 = _conv_relu(width, 2 * width)
        self.conv2_2 = _conv_relu(2 * width, 2 * width)
        self.conv3_1 = _conv_relu(2 * width, 4 * width)
        # He et al., 2015. By PyTorch's default a third of the maps are constant on a picture as smooth as a mean face.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map normalised images (B, 3, H, W) to `mid` and `deep`."""
        mid = self.conv2_1(F.max_pool2d(self.conv1_2(self.conv1_1(images)), 2))
        deep = self.conv3_1(F.max_pool2d(self.conv2_2(mid), 2))
        return mid, deep

    def copy_from(self, pretrained: nn.Module) -> None:
        """Copy the first five convolutions of a VGG19, in their order.

        Raises:
            ConfigError: the network's convolutions have other shapes than this stem's.
        """
        ours = [m for m in self.modules() if isinstance(m, nn.Conv2d)]
        theirs = [m for m in pretrained.modules() if isinstance(m, nn.Conv2d)][: len(ours)]
        for mine, other in zip(ours, theirs, strict=True):
            if mine.weight.shape != other.weight.shape:
                raise ConfigError(
                    f"the pretrained stem has a convolution {tuple(other.weight.shape)} where this "
                    f"network has {tuple(mine.weight.shape)}",
                    hint="Set method.options.width=64 for VGG19's stem, or method.options.stem=trained to train it.",
                )
            mine.load_state_dict(other.state_dict())


def draw_noise(x: Tensor, noise: torch.Generator | None, shared: bool) -> Tensor:
    """Draw N(0, 1) of x's shape (B, C, H, W), or zeros without a source.

    It is drawn on the CPU, where one seed gives the same noise for every device. `shared` draws it once
    for all images, so that a result does not depend on what else is in the batch.
    """
    if noise is None:
        return torch.zeros_like(x)
    shape = (1, *x.shape[1:]) if shared else x.shape
    return torch.randn(shape, generator=noise).to(x).expand_as(x)


class Generator(nn.Module):
    """A face to the same face moved by a flow, in feature space (the paper's `Swap_Generator`).

    Source: FaceCycle (ICCV 2021), supplementary network tables. `width` = 64 and `blocks` = 8 are the
    paper's. With `save_memory`, the decoder's activations are computed again on the way back.
    """

    def __init__(self, width: int = 64, blocks: int = 8, save_memory: bool = False) -> None:
        super().__init__()
        self.save_memory = save_memory
        mid, deep = 2 * width, 4 * width
        self.stem = Stem(width)
        self.redconv = _conv_relu(deep, deep)
        self.cnn = nn.Sequential(*(ResBlock(deep) for _ in range(blocks)))
        self.up = nn.Sequential(nn.ConvTranspose2d(deep, mid, 4, 2, 1), relu(), conv(mid, mid), relu())
        self.up2 = nn.Sequential(nn.ConvTranspose2d(2 * mid, mid, 4, 2, 1), relu(), conv(mid, mid), relu())
        self.torgb = conv(mid, 3)
        self.noise_encoding1 = nn.Sequential(conv(mid, mid), relu(), conv(mid, mid), relu())
        self.noise_encoding0 = nn.Sequential(conv(deep, deep), relu(), conv(deep, deep), relu())

    def forward(
        self,
        images: Tensor,
        flow: Tensor | None,
        warper: Warper,
        noise: torch.Generator | None,
        shared_noise: bool = False,
    ) -> Tensor:
        """Map normalised images (B, 3, H, W), H and W multiples of 4, to moved images of that shape.

        Args:
            images: the faces to move.
            flow: (B, 2, h, w) in grid units, or None to reconstruct without moving (no noise then).
            warper: resamples the feature maps; the flow is not clamped here.
            noise: source of the generator's noise, deep map first; None makes the noise zero.
            shared_noise: the same noise for every image of the batch.
        """
        features = self.stem(images)
        if flow is not None:
            features = self.move(features, flow, warper, noise, shared_noise)
        return self.decode(features)

    def move(
        self,
        features: tuple[Tensor, Tensor],
        flow: Tensor,
        warper: Warper,
        noise: torch.Generator | None,
        shared_noise: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Warp the stem's `mid` and `deep` and fill what the warp uncovers with encoded noise; see `forward`."""
        mid, deep = features
        noise0 = draw_noise(deep, noise, shared_noise)
        noise1 = draw_noise(mid, noise, shared_noise)
        deep = warper.warp(deep, flow) + self.noise_encoding0(noise0 + deep.mean((-2, -1), keepdim=True))
        mid = warper.warp(mid, flow) + self.noise_encoding1(noise1 + mid.mean((-2, -1), keepdim=True))
        return mid, deep

    def decode(self, features: tuple[Tensor, Tensor]) -> Tensor:
        """Map `mid` and `deep` to images (B, 3, H, W)."""
        if self.save_memory and torch.is_grad_enabled():
            parts = zip(*(maps.split(DECODED_AT_ONCE) for maps in features), strict=True)
            return torch.cat([checkpoint(self._decode, *part, use_reentrant=False) for part in parts])
        return self._decode(*features)

    def _decode(self, mid: Tensor, deep: Tensor) -> Tensor:
        x = self.up(self.cnn(self.redconv(deep)))
        return self.torgb(self.up2(torch.cat([mid, x], dim=1)))
