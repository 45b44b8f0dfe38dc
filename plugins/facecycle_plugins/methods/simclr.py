"""SimCLR as the method `simclr`: a projection of each image has to find its partner's among all others of the batch.

As used for faces by SSL-FER (BMVC 2022) [C], where partners are frames of one video, and by PCL (CVPR 2023) [C], where
they are two augmentations of one frame: the pairings `same-track` and `same-frame` of a stage. Their encoders are
ResNet-50 and FaceCycle's; here it is any. Widths, and the batch norm of the projector, are assumed [A].
Source: Chen, Kornblith, Norouzi, Hinton, "A Simple Framework for Contrastive Learning of Visual Representations",
ICML 2020, arXiv 2002.05709.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from facecycle.api import Options, Pairs, Parts, View, Views
from facecycle.heads import LinearCode
from facecycle_plugins.methods import CodeMethod


class SimClrOptions(Options):
    """Widths of the code and of what projects it."""

    code: int = Field(512, ge=1, le=65536)
    """Numbers of the code."""
    hidden: int = Field(1024, ge=1, le=65536)
    """Units between the code and its projection."""
    projection: int = Field(128, ge=1, le=65536)
    """Numbers of the projection that is compared; it is not kept as a feature."""


class SimClr(CodeMethod):
    """An encoder with a linear code, and a projector of two layers behind it."""

    facecycle_api = (1, 1)
    Options = SimClrOptions
    options: SimClrOptions
    view_names = {"pairs": frozenset({"second"})}
    features_from = {"code": "pairs", "conv": "pairs"}

    def assemble(self, parts: Parts) -> None:
        """Create the encoder, its code, and the projector."""
        options = self.options
        self.encoder = LinearCode(parts.encoder(), parts.size, options.code)
        self.projector = nn.Sequential(
            nn.ReLU(),
            nn.Linear(options.code, options.hidden),
            nn.BatchNorm1d(options.hidden),
            nn.ReLU(),
            nn.Linear(options.hidden, options.projection),
        )

    def forward(self, pairs: Pairs, cycle: str, wanted: frozenset[str], noise: torch.Generator | None) -> Views:
        """Project both images of each pair, in one call of the networks.

        The view `second` (P, D) is the second images' projection, and its target the first images'.
        """
        code = self.encoder(torch.cat([pairs.first, pairs.second]))
        first, second = self.projector(code).chunk(2)
        return Views({"second": View(second, "first")}, {"first": first}, {"code": code})
