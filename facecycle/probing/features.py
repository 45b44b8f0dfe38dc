"""Frames to features: extracted once, without gradients, and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facecycle import distributed
from facecycle.cache import cache_home
from facecycle.checkpoints.model_file import save_tensors
from facecycle.data.images import from_uint8
from facecycle.errors import ConfigError, RunError
from facecycle.networks import choose_device

CPU_BATCH = 64
"""Larger batches leave a processor's caches, and are no faster."""
GPU_BATCH = 1024
"""Halved until it fits."""
VERSION = 2
"""Raise it when the same inputs give other features, so that cached ones are not used again."""


@dataclass(frozen=True)
class FeatureRow:
    """A feature that a probe looks at.

    Attributes:
        label: what the report calls it.
        key: identifies weights and feature, for the cache: `<checkpoint sha256>:<feature>`.
        extract: maps normalised images (B, 3, H, W), of any device, to features (B, D) on the CPU.
        size: side of the images it reads, in pixels.
        accelerated: whether `extract` computes on a GPU.
    """

    label: str
    key: str
    extract: Callable[[Tensor], Tensor]
    size: int
    accelerated: bool = False


def feature_row(label: str, key: str, network: nn.Module, compute: Callable[[Tensor], Tensor], size: int) -> FeatureRow:
    """Return the row of a network's feature; the network is frozen and moved to the GPU, where there is one.

    Args:
        label, key, size: as in `FeatureRow`.
        network: what computes; channels-last convolutions are faster on CPUs and GPUs alike.
        compute: maps normalised images to features (B, ...) with that network.

    Raises:
        ConfigError: the network does not read images of that size.
    """
    device = choose_device()
    network.requires_grad_(False).eval().to(device).to(memory_format=torch.channels_last)

    def extract(images: Tensor) -> Tensor:
        return compute(images.to(device, memory_format=torch.channels_last)).flatten(1).float().cpu()

    try:
        with torch.inference_mode():
            extract(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"{label} does not read images of {size} x {size} pixels: {error}", hint="Choose another --size."
        ) from error
    return FeatureRow(label, key, extract, size, device.type == "cuda")


def features(row: FeatureRow, pixels: Tensor, fingerprint: str) -> np.ndarray:
    """Return the features (n, D), float32, of uint8 images (n, 3, S, S).

    Of several processes each computes a part of them, and every one gets them all.

    Args:
        row: which feature.
        pixels: the images.
        fingerprint: of the data set and the frames chosen from it; part of the cache's key.
    """
    text = f"{VERSION}|{row.key}|{fingerprint}|{tuple(pixels.shape)}"
    path = cache_home() / "features" / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"
    kept = distributed.broadcast(lambda: _kept(path))
    if kept is not None:
        return kept.numpy()
    mine = pixels[distributed.share(len(pixels))]
    parts = distributed.all_gather(extract_all(row, mine) if len(mine) else None)
    found = torch.cat([part for part in parts if part is not None])
    # A full disk costs the cache, not the result.
    with contextlib.suppress(RunError):
        if distributed.is_main():
            save_tensors(path, {"features": found})
    return found.numpy()


def _kept(path: Path) -> Tensor | None:
    with contextlib.suppress(OSError, SafetensorError, KeyError):
        return load_file(path)["features"]
    return None


def extract_all(row: FeatureRow, pixels: Tensor) -> Tensor:
    """Return the features (n, D) of uint8 images (n, 3, S, S), in the largest batches that fit."""
    batch = GPU_BATCH if row.accelerated else CPU_BATCH
    parts: list[Tensor] = []
    done = 0
    with torch.inference_mode():
        while done < len(pixels):
            try:
                parts.append(row.extract(from_uint8(pixels[done : done + batch])))
                done += batch
            except torch.OutOfMemoryError:
                if batch == 1:
                    raise
                batch //= 2
    return torch.cat(parts).contiguous()
