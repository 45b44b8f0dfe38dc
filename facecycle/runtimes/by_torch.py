"""Torch's networks as a runtime: any plugin, on the GPU where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facecycle.data.images import from_uint8
from facecycle.networks import Loaded, choose_device, origin, shown_of, trained_of
from facecycle.pictures import panel_array
from facecycle.probing.extraction import CPU_BATCH, GPU_BATCH, Feature, extract, network_features
from facecycle.runtimes.base import BATCH


def panels_of(
    method: Any, pixels: Tensor, drivers: Tensor | None, noise: torch.Generator | None, names: Iterable[str]
) -> dict[str, np.ndarray]:
    """Make a method's panels of images, where its weights lie, in batches that fit.

    Args:
        method: in evaluation mode.
        pixels: uint8 RGB images (n, 3, S, S).
        drivers: as many images to swap with, or none.
        noise: source of the generator's noise; it goes on from batch to batch.
        names: of the panels; see the method's `panels_from`.

    Returns:
        Panels as `Runtime.translate` returns them.
    """
    wanted = frozenset(names)
    device = next(method.parameters()).device
    parts: dict[str, list[np.ndarray]] = {}
    for rows in torch.arange(len(pixels)).split(BATCH):
        images, others = (None if x is None else _placed(x[rows], device) for x in (pixels, drivers))
        with torch.inference_mode():
            made = method.translate(images, others, noise, wanted)
        for name, panel in made.items():
            parts.setdefault(name, []).append(panel_array(name, panel))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _placed(pixels: Tensor, device: torch.device) -> Tensor:
    """Normalise images, and lay them out as convolutions are fastest."""
    return from_uint8(pixels).to(device, memory_format=torch.channels_last)


class TorchRuntime:
    """A checkpoint's networks; see `Runtime`."""

    def __init__(self, loaded: Loaded) -> None:
        method, checkpoint = loaded.method, loaded.checkpoint
        self._method, self._device = method, choose_device()
        self.sha256 = checkpoint.sha256
        self.weights = checkpoint.path
        self.origin = origin(checkpoint)
        self.terms = checkpoint.metadata.get("licence", "")
        self.size: int = checkpoint.config.size
        self.panels, self.features = trained_of(method, checkpoint.trained)
        self.figure, self.captions, self.codes = shown_of(method, self.features)
        self.batch = GPU_BATCH if self._device.type == "cuda" else CPU_BATCH
        self._prepared: list[Feature] = []

    @cached_property
    def alone(self) -> frozenset[str]:
        """See `Runtime.alone`; found by trying, because a method leaves out what needs a driver that is not there."""
        black = np.zeros((1, 3, self.size, self.size), np.uint8)
        return frozenset(self.translate(black, None, 0, self.panels))

    def translate(
        self, pixels: np.ndarray, drivers: np.ndarray | None, seed: int, names: Iterable[str]
    ) -> dict[str, np.ndarray]:
        """See `Runtime.translate`."""
        method, wanted, parts = self._method.to(self._device, memory_format=torch.channels_last), frozenset(names), []
        for start in range(0, len(pixels), BATCH):
            rows = slice(start, start + BATCH)
            others = None if drivers is None else torch.from_numpy(drivers[rows])
            noise = torch.Generator().manual_seed(seed)
            parts.append(panels_of(method, torch.from_numpy(pixels[rows]), others, noise, wanted))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def embed(self, pixels: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """See `Runtime.embed`."""
        if [feature.name for feature in self._prepared] != list(names):
            named = [(name, "", name) for name in names]
            self._prepared = network_features(self._method, self._method.features, self.size, named)
        return [found.numpy() for found in extract(self._prepared, torch.from_numpy(pixels))]
