"""Pairs of one person and of two as the method `pair-hinge`: after the row "VGG-like" of FaceCycle's tables.

The row is Datta, Sharma, Jawahar, "Unsupervised Learning of Face Representations", FG 2018, arXiv 1803.01260. No code
is public, and only the abstract was read: pairs of one person are mined along a track, and pairs of two people are two
faces in one and the same frame. Everything here is reconstructed [A], the loss is remembered [P], and so the method has
a name of its own. Our tracks do not say which of them coincide in time: pairs of two people are therefore drawn from
rows of a batch that show different people.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from facecycle.api import Options, Pairs, Parts, View, Views
from facecycle.errors import DataError
from facecycle.heads import LinearCode
from facecycle.whole_batch import gather
from facecycle_plugins.methods import CodeMethod


class PairHingeOptions(Options):
    """Width of the code."""

    code: int = Field(256, ge=1, le=65536)
    """Numbers of the code, which has length 1."""


class UnitCode(LinearCode):
    """An encoder whose code is one linear layer of its flattened map, divided by its length."""

    def code(self, conv_feature: Tensor) -> Tensor:
        """Map the flattened feature map to codes (B, D) of length 1."""
        return F.normalize(super().code(conv_feature))


class PairHinge(CodeMethod):
    """An encoder with a unit code."""

    facecycle_api = (1, 1)
    Options = PairHingeOptions
    options: PairHingeOptions
    view_names = {"pairs": frozenset({"same", "different"})}
    features_from = {"code": "pairs", "conv": "pairs"}

    def assemble(self, parts: Parts) -> None:
        """Create the encoder and its code."""
        self.encoder = UnitCode(parts.encoder(), parts.size, self.options.code)

    def forward(self, pairs: Pairs, cycle: str, wanted: frozenset[str], noise: torch.Generator | None) -> Views:
        """Encode both images of each pair.

        `same` (P, D) are the second images' codes, and their target the first images'. `different` has for each row of
        the whole batch, of all processes, the second image of the next row that shows somebody else.

        Raises:
            DataError: all pairs of the batch show one person.
        """
        code = self.encoder(torch.cat([pairs.first, pairs.second]))
        first, second = code.chunk(2)
        views, targets = {"same": View(second, "first")}, {"first": first}
        if "different" in wanted:
            assert pairs.people is not None, "batches say whom they show"
            others = somebody_else(gather(pairs.people))
            views["different"] = View(gather(second)[others], "everybody")
            targets["everybody"] = gather(first)
        return Views({name: view for name, view in views.items() if name in wanted}, targets, {"code": code})


def somebody_else(people: Tensor) -> Tensor:
    """Return for each of the people (P,) of a batch the next row, after the last the first, that shows another person.

    Raises:
        DataError: there is nobody else.
    """
    rows = torch.arange(len(people), device=people.device)
    following = (rows[:, None] + 1 + rows) % len(people)
    differs = people[following] != people[:, None]
    if not bool(differs.any()):
        raise DataError(
            "all pairs of a batch show one person, so that there are no pairs of two",
            hint="Name data of more people with --data, or set pairs higher.",
        )
    return following[rows, differs.int().argmax(1)]
