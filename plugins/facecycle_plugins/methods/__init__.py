"""Rival methods: each learns one code from frames of tracks, by another idea than the cycles of the core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from facecycle.heads import HeadedEncoder


class CodeMethod(nn.Module):
    """What methods of one `encoder` share: its features `code` and `conv`, and no picture.

    A code is (B, D) and needs the training size; `conv` is the flattened feature map, and exists at any size.
    """

    panels_from: Mapping[str, str] = {}
    maps = ("conv",)
    encoder: HeadedEncoder

    def __init__(self, options: Any) -> None:
        super().__init__()
        self.options = options

    def trainable(self, cycle: str) -> list[nn.Module]:
        """A cycle trains everything."""
        return [self]

    def features(self, images: Tensor, wanted: frozenset[str]) -> dict[str, Tensor]:
        """Map normalised images (B, 3, H, W) to `code` (B, D) and `conv`, (B, C·h·w), with one pass for both."""
        if "code" in wanted:
            self.encoder.check(images)
        found = {"conv": self.encoder.conv_feature(images)}
        if "code" in wanted:
            found["code"] = self.encoder.code(found["conv"])
        return {name: feature for name, feature in found.items() if name in wanted}

    def translate(
        self, images: Tensor, drivers: Tensor | None, noise: torch.Generator | None, wanted: frozenset[str]
    ) -> dict[str, Tensor]:
        """Make no picture."""
        return {}
