"""Frames to features: extracted once, without gradients, and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from facecycle.api import BadFrame, Dataset
from facecycle.data.normalise import from_uint8
from facecycle.errors import RunError
from facecycle.files import write_atomically

BATCH = 64
VERSION = 1
"""Raise it when the same inputs give other features, so that cached ones are not used again."""


@dataclass(frozen=True)
class FeatureRow:
    """A feature that a probe looks at.

    Attributes:
        label: what the report calls it.
        key: identifies weights and feature, for the cache: `<checkpoint sha256>:<feature>`.
        extract: maps normalised images (B, 3, H, W) to features (B, D).
    """

    label: str
    key: str
    extract: Callable[[Tensor], Tensor]


def cache_folder() -> Path:
    """Return the folder that features are kept in."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "facecycle" / "features"


def read_frames(dataset: Dataset, frames: Sequence[int], size: int) -> tuple[Tensor, dict[int, BadFrame]]:
    """Read frames as uint8 (n, 3, size, size), and the bad ones by their row."""
    pixels, problems = dataset.images(frames, size)
    return pixels, {row: bad for row, bad in enumerate(problems) if bad is not None}


def features(row: FeatureRow, pixels: Tensor, fingerprint: str) -> np.ndarray:
    """Return the features (n, D), float32, of uint8 images (n, 3, S, S).

    Args:
        row: which feature.
        pixels: the images.
        fingerprint: of the data set and the frames chosen from it; part of the cache's key.
    """
    text = f"{VERSION}|{row.key}|{fingerprint}|{tuple(pixels.shape)}"
    path = cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"
    with contextlib.suppress(OSError, SafetensorError, KeyError):
        return load_file(path)["features"].numpy()
    with torch.inference_mode():
        parts = [row.extract(from_uint8(batch)).float().flatten(1) for batch in pixels.split(BATCH)]
    found = torch.cat(parts).contiguous()
    # A full disk costs the cache, not the result.
    with contextlib.suppress(RunError):
        write_atomically(path, lambda temporary: save_file({"features": found}, temporary))
    return found.numpy()
