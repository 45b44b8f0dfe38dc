"""VICReg as the method `vicreg`: projections of a pair are near, and differ between pairs in every dimension.

There is no negative, no second network and no gradient that is stopped. The term `variance` says whether the code has
collapsed. Widths of the networks are assumed [A].
Source: Bardes, Ponce, LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
ICLR 2022, arXiv 2105.04906.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from facecycle.api import Options, Pairs, Parts, View, Views
from facecycle.heads import LinearCode
from facecycle_plugins.methods import CodeMethod


class VicRegOptions(Options):
    """Widths of the code and of what projects it."""

    code: int = Field(512, ge=1, le=65536)
    """Numbers of the code."""
    hidden: int = Field(1024, ge=1, le=65536)
    """Units of both layers between the code and its projection."""
    projection: int = Field(512, ge=2, le=65536)
    """Numbers of the projection that is compared; it is not kept as a feature."""


class VicReg(CodeMethod):
    """An encoder with a linear code, and a projector of three layers behind it."""

    facecycle_api = (1, 1)
    Options = VicRegOptions
    options: VicRegOptions
    view_names = {"pairs": frozenset({"first", "second"})}
    features_from = {"code": "pairs", "conv": "pairs"}

    def assemble(self, parts: Parts) -> None:
        """Create the encoder, its code, and the projector."""
        options = self.options
        self.encoder = LinearCode(parts.encoder(), parts.size, options.code)
        self.projector = nn.Sequential(
            nn.Linear(options.code, options.hidden),
            nn.BatchNorm1d(options.hidden),
            nn.ReLU(),
            nn.Linear(options.hidden, options.hidden),
            nn.BatchNorm1d(options.hidden),
            nn.ReLU(),
            nn.Linear(options.hidden, options.projection),
        )

    def forward(self, pairs: Pairs, cycle: str, wanted: frozenset[str], noise: torch.Generator | None) -> Views:
        """Project both images of each pair, in one call of the networks.

        The views `first` and `second`, (P, D), are projections. Each is the other's target.
        """
        code = self.encoder(torch.cat([pairs.first, pairs.second]))
        first, second = self.projector(code).chunk(2)
        found = {"first": View(first, "second"), "second": View(second, "first")}
        views = {name: view for name, view in found.items() if name in wanted}
        return Views(views, {"first": first, "second": second}, {"code": code})
