"""Temporal ranking as the method `temporal`: frames further away in time are further away in code.

Read from the public code [C]: the networks, the order of the three calls, the frames of a sample, and the loss. There
the encoder is an ImageNet ResNet-18, whose numbers are not comparable with those of networks trained from nothing. The
anchor of a video is drawn once for the whole run, batch norm sees a card's frames, and every frame is cropped on its
own. Here an anchor is drawn anew for each visit.
Source: Lu, Tavabi, Soleymani, "Self-Supervised Learning for Facial Action Unit Recognition through Temporal
Consistency", BMVC 2020.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from facecycle.api import Options, Pairs, Parts, View, Views
from facecycle.heads import HeadedEncoder
from facecycle_plugins.methods import CodeMethod


class TemporalOptions(Options):
    """Frames of a sample, and the width of the code."""

    frames: int = Field(12, ge=3, le=1024)
    """Frames of a sample: the anchor, the one after it, and those that follow."""
    code: int = Field(256, ge=1, le=65536)
    """Numbers of the code, which has length 1."""


class PooledCode(HeadedEncoder):
    """An encoder whose code is one linear layer of its map's mean over all positions, divided by its length."""

    def __init__(self, encoder: nn.Module, size: int, width: int) -> None:
        super().__init__(encoder, size)
        self.head = nn.Linear(int(encoder.channels), width)  # type: ignore[arg-type]

    def conv_feature(self, images: Tensor) -> Tensor:
        """Map normalised images (B, 3, H, W) to the mean of the feature map over its positions, (B, C)."""
        return self.encoder(images).mean((2, 3))

    def code(self, conv_feature: Tensor) -> Tensor:
        """Map the mean of the feature map (B, C) to codes (B, D) of length 1."""
        return F.normalize(self.head(conv_feature))


class Temporal(CodeMethod):
    """An encoder with a unit code."""

    facecycle_api = (1, 1)
    Options = TemporalOptions
    options: TemporalOptions
    view_names = {"sequence": frozenset({"following"})}
    features_from = {"code": "sequence", "conv": "sequence"}

    def __init__(self, options: TemporalOptions) -> None:
        super().__init__(options)
        self.frames = {"sequence": options.frames}

    def assemble(self, parts: Parts) -> None:
        """Create the encoder and its code."""
        self.encoder = PooledCode(parts.encoder(), parts.size, self.options.code)

    def forward(self, pairs: Pairs, cycle: str, wanted: frozenset[str], noise: torch.Generator | None) -> Views:
        """Encode the anchors, the frames after them, and those that follow: three calls of the encoder.

        The view `following` (P, 1 + K, D) has all frames but the anchor in the order of time. Its target is the
        anchor's code (P, 1, D).
        """
        assert pairs.further is not None, "a stage has the frames that the method asks for"
        anchor, sibling = self.encoder(pairs.first), self.encoder(pairs.second)
        later = self.encoder(pairs.further.flatten(0, 1)).view(len(anchor), -1, anchor.shape[1])
        following = torch.cat([sibling[:, None], later], 1)
        return Views({"following": View(following, "anchor")}, {"anchor": anchor[:, None]}, {"code": anchor})
