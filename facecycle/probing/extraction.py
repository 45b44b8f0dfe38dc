"""A feature of a network: extracted in the largest batches that fit, in one pass for several, and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facecycle import distributed
from facecycle.cache import cache_home
from facecycle.checkpoints.tensor_file import save_tensors
from facecycle.data.images import from_uint8
from facecycle.errors import ConfigError, DataError, RunError
from facecycle.folding import fold_batch_norms
from facecycle.networks import choose_device

CPU_BATCH = 64
"""Larger batches leave a processor's caches, and are no faster."""
GPU_BATCH = 1024
"""Halved until it fits."""
VERSION = 3
"""Raise it when the same inputs give other features, so that cached ones are not used again."""

Read = Callable[[Tensor, frozenset[str]], Mapping[str, Tensor]]
"""Maps normalised images (B, 3, H, W), of any device, to features (B, D) on the CPU by name, in one pass for all."""


@dataclass(frozen=True)
class Feature:
    """A feature that a probe looks at.

    Attributes:
        label: what the result calls it.
        key: identifies weights and feature, for the cache: `<checkpoint sha256>:<feature>`.
        read: computes it; features with the same `read` are computed together.
        size: side of the images it reads, in pixels.
        name: what `read` calls it.
        batch: images that it reads at a time.
        fed: what a pretrained encoder makes of our images before it reads them, for the report; empty for others.
        checkpoint: label of the checkpoint that learned it, where several are probed; twins have none.
    """

    label: str
    key: str
    read: Read
    size: int
    name: str = "map"
    batch: int = CPU_BATCH
    fed: str = ""
    checkpoint: str = ""


def network_features(
    network: nn.Module,
    compute: Callable[[Tensor, frozenset[str]], Mapping[str, Tensor]],
    size: int,
    named: Sequence[tuple[str, str, str]],
) -> list[Feature]:
    """Return features of a network, which is frozen, folded and moved to the GPU, where there is one.

    Args:
        network: what computes; channels-last convolutions are faster on CPUs and GPUs alike.
        compute: maps normalised images to features (B, ...) by name with that network.
        size: as in `Feature`.
        named: label, key and name of each feature.

    Raises:
        ConfigError: the network does not read images of that size.
    """
    device = choose_device()
    network.requires_grad_(False).eval().to(device).to(memory_format=torch.channels_last)

    def read(images: Tensor, names: frozenset[str]) -> Mapping[str, Tensor]:
        found = compute(images.to(device, memory_format=torch.channels_last), names)
        return {name: feature.flatten(1).float().cpu() for name, feature in found.items()}

    batch = GPU_BATCH if device.type == "cuda" else CPU_BATCH
    features = [Feature(label, key, read, size, name, batch) for label, key, name in named]
    try:
        dimensions(features)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"{features[0].label} does not read images of {size} x {size} pixels: {str(error) or type(error).__name__}",
            hint="Choose another --size.",
        ) from error
    some = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).mul(255).to(torch.uint8)
    fold_batch_norms(network, lambda: extract(features, some))
    return features


def dimensions(features: Sequence[Feature]) -> list[int]:
    """Return how many numbers each feature has, by extracting them from a black image."""
    black = torch.zeros(1, 3, features[0].size, features[0].size, dtype=torch.uint8)
    return [found.shape[1] for found in extract(features, black)]


def shared_passes(features: Sequence[Feature]) -> list[list[Feature]]:
    """Put together the features that are computed in one pass."""
    groups: dict[int, list[Feature]] = {}
    for feature in features:
        groups.setdefault(id(feature.read), []).append(feature)
    return list(groups.values())


def extract(features: Sequence[Feature], pixels: Tensor) -> list[Tensor]:
    """Return features (n, D) of one pass over uint8 images (n, 3, S, S), in the largest batches that fit."""
    read, batch, done = features[0].read, features[0].batch, 0
    names = frozenset(feature.name for feature in features)
    whole: dict[str, Tensor] = {}
    with torch.inference_mode():
        while done < len(pixels):
            try:
                part = read(from_uint8(pixels[done : done + batch]), names)
            except torch.OutOfMemoryError:
                if batch == 1:
                    raise
                batch //= 2
                continue
            for name, found in part.items():
                if name not in whole:
                    whole[name] = torch.empty(len(pixels), found.shape[1])
                whole[name][done : done + batch] = found
            done += batch
    return [whole[feature.name] for feature in features]


def refuse_non_finite(
    label: str, found: Tensor | np.ndarray, name: Callable[[int], str] = lambda place: f"image {place}, counted from 0"
) -> None:
    """Refuse features (n, D) that are not finite: nothing can be computed with them.

    Raises:
        DataError: names the feature and the first image, by what `name` makes of its place.
    """
    wrong = np.flatnonzero(~np.isfinite(np.asarray(found)).all(axis=1))
    if len(wrong):
        raise DataError(
            f"the feature {label} is not finite for {len(wrong):,} of {len(found):,} images, "
            f"first for {name(int(wrong[0]))}",
            hint="Its network's numbers have outgrown single precision.",
        )


def extract_once(features: Sequence[Feature], pixels: Tensor, mark: str) -> list[np.ndarray]:
    """Return features (n, D), float32, of uint8 images (n, 3, S, S); what was extracted before is read from disk.

    Of several processes each computes a part of them, and every one gets them all.

    Args:
        features: those of one pass.
        pixels: the images.
        mark: identifies the images, for the cache.
    """
    paths = {}
    for feature in features:
        text = f"{VERSION}|{feature.key}|{mark}|{tuple(pixels.shape)}"
        paths[feature.label] = cache_home() / "features" / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"

    def read() -> dict[str, Tensor]:
        kept = {}
        for label, path in paths.items():
            with contextlib.suppress(OSError, SafetensorError, KeyError):
                kept[label] = load_file(path)["features"]
        return kept

    found = distributed.broadcast(read)
    missing = [feature for feature in features if feature.label not in found]
    if missing:
        mine = pixels[distributed.share(len(pixels))]
        parts = [part for part in distributed.all_gather(extract(missing, mine) if len(mine) else None) if part]
        for number, feature in enumerate(missing):
            found[feature.label] = parts[0][number] if len(parts) == 1 else torch.cat([part[number] for part in parts])
            # A full disk costs the cache, not the result.
            with contextlib.suppress(RunError):
                if distributed.is_main():
                    save_tensors(paths[feature.label], {"features": found[feature.label]})
    return [found[feature.label].numpy() for feature in features]
