"""What every runtime offers: arrays of aligned faces to arrays of panels and features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

BATCH = 64
"""Faces that are computed at a time on a processor; larger batches leave its caches."""


class Runtime(Protocol):
    """Weights that are ready to compute.

    Attributes:
        weights: the file of the weights.
        origin: where they come from, for people, with their terms where they came with the package.
        terms: under which they may be used; empty where none are stated.
        size: side of the square images that the networks read, in pixels.
        panels: names of the panels whose cycle was trained.
        features: names of the features whose cycle was trained.
        captions: of panels by name, a title and a few words on what it shows; a panel may have none.
        figure: names of the panels that are shown of a face, in that order, whether their cycle was trained or not.
        codes: names of the features that are computed when none is named; their cycle was trained.
        batch: images that `embed` had best be given at a time.
    """

    weights: Path
    origin: str
    terms: str
    size: int
    panels: tuple[str, ...]
    features: tuple[str, ...]
    captions: Mapping[str, tuple[str, str]]
    figure: tuple[str, ...]
    codes: tuple[str, ...]
    batch: int

    @property
    def alone(self) -> frozenset[str]:
        """Names of those among `panels` that need no second face."""
        ...

    def sha256(self) -> str:
        """Return the digest of the weights' file."""
        ...

    def translate(
        self, pixels: np.ndarray, drivers: np.ndarray | None, seed: int, names: Iterable[str]
    ) -> dict[str, np.ndarray]:
        """Make panels of aligned faces.

        Args:
            pixels: RGB uint8 (n, 3, size, size).
            drivers: as many faces to swap with. Without them, swaps are left out.
            seed: of the generator's noise. Every face gets the same noise, whatever is beside it.
            names: those of `panels` that are made.

        Returns:
            Panel to RGB uint8 (n, 3, size, size), or for `flow` float32 (n, 2, h, w): the facial motion in grid
            units, channel 0 = x, 1 = y, [-1, 1] spans the image.
        """
        ...

    def embed(self, pixels: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """Compute features of aligned faces.

        Args:
            pixels: RGB uint8 (n, 3, size, size).
            names: those of `features` that are computed.

        Returns:
            Each feature, float32 (n, D), in the order of the names.
        """
        ...
