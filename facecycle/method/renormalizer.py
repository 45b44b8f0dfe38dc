"""The renormalizer: a neutral face to the mean face, and back, by an identity code."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from facecycle.api import Warper
from facecycle.method.blocks import ResBlock, conv, relu
from facecycle.method.encoder import CODE_SIZE
from facecycle.method.generator import Stem


class _Modulation(nn.Module):
    """Scale and shift per channel, (B, C, 1, 1) each, from a code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.beta = conv(CODE_SIZE, channels, 1)
        self.gamma = conv(CODE_SIZE, channels, 1)


class Renormalizer(nn.Module):
    """Strip a neutral face of its identity, or give it one (the paper's `Swap_Norm`).

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
        deep = deep.expand(len(code), -1, -1, -1)
        x = warper.renormalize(deep, modulation.gamma(code), modulation.beta(code))
        return self.torgb(self.up(self.cnn3(self.cnn(x))))
