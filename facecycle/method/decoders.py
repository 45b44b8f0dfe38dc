"""The decoders: a code to the facial motion, a face moved by it, and a neutral face to the mean face and back."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from facecycle.api import Warper
from facecycle.errors import ConfigError
from facecycle.method.encoder import CODE_SIZE, Attention, ResBlock, conv, initialise, lrelu, relu

DECODED_AT_ONCE = 16
"""Images whose activations exist at a time where memory is saved."""


def _double() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)


class MotionDecoder(nn.Module):
    """The facial motion: a code (B, 256) to a flow (B, 2, 16, 16) in (-1, 1).

    Source: FaceCycle (ICCV 2021), supplementary network tables. `width` = 256 is the paper's.
    """

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        spread = (conv(CODE_SIZE, 16 * width, 1), nn.PixelShuffle(4), lrelu())
        self.motiongen1 = nn.Sequential(*spread, Attention(width), conv(width, width), lrelu())
        self.motiongen2 = nn.Sequential(
            _double(), conv(width, half), lrelu(), Attention(half), conv(half, half), lrelu()
        )
        self.resblock1 = ResBlock(half)
        self.resblock2 = ResBlock(half)
        self.toflow4 = nn.Sequential(_double(), conv(half, quarter), lrelu(), conv(quarter, 2, 1, bias=False))
        initialise(self)
        for layer in self.toflow4:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0, 0.05)

    def forward(self, code: Tensor) -> Tensor:
        """Map codes (B, 256) to flows (B, 2, 16, 16), channel 0 = x, 1 = y, in grid units."""
        x = self.motiongen1(code[:, :, None, None])
        x = self.resblock2(self.resblock1(self.motiongen2(x)))
        return self.toflow4(x).tanh()


def backflow(warper: Warper, flow: Tensor) -> Tensor:
    """Return the approximate inverse of a flow, -clamp(warp(flow, flow), -1, 1), shape (B, 2, h, w).

    Gradients reach the flow through both arguments of the warp.
    """
    return -torch.clamp(warper.warp(flow, flow), -1, 1)


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
    """De-expression and re-expression: a face moved by a flow, in feature space (the paper's `Swap_Generator`).

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


class _Modulation(nn.Module):
    """Scale and shift per channel, (B, C, 1, 1) each, from a code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.beta = conv(CODE_SIZE, channels, 1)
        self.gamma = conv(CODE_SIZE, channels, 1)


class Renormalizer(nn.Module):
    """De-identity and re-identity: strip a neutral face of its identity, or give it one (the paper's `Swap_Norm`).

    Source: FaceCycle (ICCV 2021), supplementary network tables. `width` = 64 and `blocks` = 6 are the
    paper's.
    """

    def __init__(self, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        mid, deep = 2 * width, 4 * width
        self.stem = Stem(width)
        self.denorm = _Modulation(deep)
        self.renorm = _Modulation(deep)
        self.cnn = nn.Sequential(*(ResBlock(deep) for _ in range(blocks)))
        self.cnn3 = nn.Sequential(ResBlock(deep))
        self.up = nn.Sequential(
            nn.ConvTranspose2d(deep, mid, 4, 2, 1),
            relu(),
            conv(mid, mid),
            relu(),
            nn.ConvTranspose2d(mid, mid, 4, 2, 1),
            relu(),
        )
        self.torgb = conv(mid, 3, 1)

    def forward(
        self, images: Tensor, identity_code: Tensor, direction: Literal["denorm", "renorm"], warper: Warper
    ) -> Tensor:
        """Map images (B, 3, H, W) and codes (B, 256) to images (B, 3, H, W).

        Args:
            images: neutral faces to `denorm` (to the mean face), or mean faces to `renorm`; (1, 3, H, W) is one
                face for all codes.
            identity_code: whose identity is removed or given.
            direction: which of the two modulations is used.
            warper: applies instance norm, scale and shift.
        """
        modulation = self.denorm if direction == "denorm" else self.renorm
        code = identity_code[:, :, None, None]
        _, deep = self.stem(images)
        deep = deep.expand(code.shape[0], -1, -1, -1)  # `len` would be a constant in an exported graph
        x = warper.renormalize(deep, modulation.gamma(code), modulation.beta(code))
        return self.torgb(self.up(self.cnn3(self.cnn(x))))
