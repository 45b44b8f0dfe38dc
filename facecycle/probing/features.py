"""Features: a checkpoint's, any encoder's, their random twins and the baselines; extracted once, and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facecycle import distributed, registry
from facecycle.api import Method
from facecycle.cache import cache_home
from facecycle.checkpoints.model_file import save_tensors
from facecycle.data.images import from_uint8
from facecycle.errors import ConfigError, RunError, did_you_mean
from facecycle.networks import Loaded, build_method, choose_device

CPU_BATCH = 64
"""Larger batches leave a processor's caches, and are no faster."""
GPU_BATCH = 1024
"""Halved until it fits."""
VERSION = 2
"""Raise it when the same inputs give other features, so that cached ones are not used again."""
# Encoder, options, side of its images in pixels: whatever the probed features read, these read the same.
BASELINES: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("hog", {}, 64),
    ("lbp", {"method": "uniform"}, 64),
    ("lbp", {"method": "nri_uniform"}, 64),
    ("pixels", {}, 32),
)


@dataclass(frozen=True)
class Feature:
    """A feature that a probe looks at.

    Attributes:
        label: what the result calls it.
        key: identifies weights and feature, for the cache: `<checkpoint sha256>:<feature>`.
        extract: maps normalised images (B, 3, H, W), of any device, to features (B, D) on the CPU.
        size: side of the images it reads, in pixels.
        batch: images that it reads at a time.
    """

    label: str
    key: str
    extract: Callable[[Tensor], Tensor]
    size: int
    batch: int = CPU_BATCH


def network_feature(
    label: str, key: str, network: nn.Module, compute: Callable[[Tensor], Tensor], size: int
) -> Feature:
    """Return a network's feature; the network is frozen and moved to the GPU, where there is one.

    Args:
        label, key, size: as in `Feature`.
        network: what computes; channels-last convolutions are faster on CPUs and GPUs alike.
        compute: maps normalised images to features (B, ...) with that network.

    Raises:
        ConfigError: the network does not read images of that size.
    """
    device = choose_device()
    network.requires_grad_(False).eval().to(device).to(memory_format=torch.channels_last)

    def extract(images: Tensor) -> Tensor:
        return compute(images.to(device, memory_format=torch.channels_last)).flatten(1).float().cpu()

    feature = Feature(label, key, extract, size, GPU_BATCH if device.type == "cuda" else CPU_BATCH)
    try:
        dimensions(feature)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"{label} does not read images of {size} x {size} pixels: {error}", hint="Choose another --size."
        ) from error
    return feature


def dimensions(feature: Feature) -> int:
    """Return how many numbers a feature has, by extracting it from a black image."""
    with torch.inference_mode():
        return feature.extract(torch.zeros(1, 3, feature.size, feature.size)).shape[1]


# --- whose features -----------------------------------------------------------------------------


def checkpoint_features(loaded: Loaded, usual: Sequence[str], names: Sequence[str], size: int) -> list[Feature]:
    """Return the checkpoint's features, each followed by its random twin.

    The twin is the same architecture with freshly initialised weights.

    Args:
        loaded: networks and their checkpoint.
        usual: taken without names, as far as the checkpoint trained them and they exist at this size. Where it
            trained none of these, all others are taken.
        names: `expression`, `conv`, or several joined by `+`.
        size: side of the images in pixels.

    Raises:
        ConfigError: a name that the method does not have, that the checkpoint did not train, or that does not
            exist at this size; or no feature is left.
    """
    method, checkpoint = loaded.method, loaded.checkpoint
    known = method.features_from
    for name in (part for joined in names for part in joined.split("+")):
        if name not in known:
            raise ConfigError(
                f"there is no feature {name!r}",
                hint=did_you_mean(name, known) or f"Features: {', '.join(known)}.",
            )
        if known[name] not in checkpoint.trained:
            raise ConfigError(
                f"the feature {name!r} needs the {known[name]} cycle, which {checkpoint.path} did not train"
            )
    if not names:
        trained = [name for name, cycle in known.items() if cycle in checkpoint.trained]
        names = [name for name in usual if name in trained] or trained
        # A code is read by a head that was made for one size.
        names = [name for name in names if size == checkpoint.config.size or name.endswith("conv")]
        if not names:
            raise ConfigError(f"{checkpoint.path} trained no feature that exists at {size} px")
    twin = build_method(checkpoint.config.model_copy(update={"seed": checkpoint.config.seed + 1}), weights_follow=True)
    origin = registry.find("encoder", checkpoint.config.encoder.name).origin
    sha256, twin_digest = checkpoint.sha256(), _digest(twin)
    found = []
    for name in names:
        found.append(network_feature(name, f"{sha256}:{name}", method, _extractor(method, name), size))
        key = f"random:{origin}:{twin_digest}:{name}"
        found.append(network_feature(f"{name}, random twin", key, twin, _extractor(twin, name), size))
    return found


def _extractor(method: Method, name: str) -> Callable[[Tensor], Tensor]:
    parts = name.split("+")
    return lambda images: torch.cat([method.features(images, part) for part in parts], dim=1)


def encoder_features(name: str, pretrained: bool, size: int) -> list[Feature]:
    """Return the flattened map of a registered encoder that no run has trained.

    Args:
        name: `timm:resnet18`, `hog`.
        pretrained: take the weights its library offers, and show its random twin beside it.
        size: side of the images in pixels.

    Raises:
        PluginError, ConfigError: there is no such encoder, or it has no pretrained weights.
    """
    fields = registry.load(registry.find("encoder", name)).Options.model_fields
    # Transformers lay out their positions for one size.
    options: dict[str, Any] = {"img_size": size} if "img_size" in fields else {}
    if not pretrained:
        return [_encoder_feature(name, options, size, f"{name}, untrained" if "pretrained" in fields else name)]
    own = _encoder_feature(name, {**options, "pretrained": True}, size, f"{name}, pretrained")
    return [own, _encoder_feature(name, options, size, f"{name}, random twin")]


def baseline_features() -> list[Feature]:
    """Return the handcrafted features that every probe is compared with; HoG comes first."""
    return [
        _encoder_feature(name, options, size, f"{name} {' '.join(map(str, options.values()))}".strip())
        for name, options, size in BASELINES
    ]


def _encoder_feature(name: str, options: dict[str, Any], size: int, label: str) -> Feature:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = registry.build("encoder", name, options)
    origin = registry.find("encoder", name).origin
    key = f"{origin}:{name}:{json.dumps(options)}:{_digest(encoder)}"
    return network_feature(label, key, encoder, encoder, size)


def _digest(network: nn.Module) -> str:
    """Return a digest of a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().numpy()).data)
    return digest.hexdigest()


# --- extraction ---------------------------------------------------------------------------------


def extract(feature: Feature, pixels: Tensor) -> Tensor:
    """Return the features (n, D) of uint8 images (n, 3, S, S), in the largest batches that fit."""
    batch, done = feature.batch, 0
    parts: list[Tensor] = []
    with torch.inference_mode():
        while done < len(pixels):
            try:
                parts.append(feature.extract(from_uint8(pixels[done : done + batch])))
                done += batch
            except torch.OutOfMemoryError:
                if batch == 1:
                    raise
                batch //= 2
    return torch.cat(parts).contiguous()


def extract_once(feature: Feature, pixels: Tensor, mark: str) -> np.ndarray:
    """Return the features (n, D), float32, of uint8 images (n, 3, S, S); what was extracted before is read from disk.

    Of several processes each computes a part of them, and every one gets them all.

    Args:
        feature: which feature.
        pixels: the images.
        mark: identifies the images, for the cache.
    """
    text = f"{VERSION}|{feature.key}|{mark}|{tuple(pixels.shape)}"
    path = cache_home() / "features" / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"

    def read() -> Tensor | None:
        with contextlib.suppress(OSError, SafetensorError, KeyError):
            return load_file(path)["features"]
        return None

    kept = distributed.broadcast(read)
    if kept is not None:
        return kept.numpy()
    mine = pixels[distributed.share(len(pixels))]
    parts = distributed.all_gather(extract(feature, mine) if len(mine) else None)
    found = torch.cat([part for part in parts if part is not None])
    # A full disk costs the cache, not the result.
    with contextlib.suppress(RunError):
        if distributed.is_main():
            save_tensors(path, {"features": found})
    return found.numpy()
