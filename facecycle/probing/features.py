"""Features: a checkpoint's, any encoder's, their random twins and the baselines; extracted once, and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facecycle import distributed, registry
from facecycle.api import Method
from facecycle.cache import cache_home
from facecycle.checkpoints.tensor_file import save_tensors
from facecycle.data.images import from_uint8
from facecycle.errors import ConfigError, DataError, RunError, did_you_mean
from facecycle.folding import fold_batch_norms
from facecycle.networks import LAYOUT, Loaded, build_method, choose_device

CPU_BATCH = 64
"""Larger batches leave a processor's caches, and are no faster."""
GPU_BATCH = 1024
"""Halved until it fits."""
VERSION = 3
"""Raise it when the same inputs give other features, so that cached ones are not used again."""
TWIN = ", random twin"
"""Ends the label of a feature of the same network with fresh weights."""
# Encoder, options, side of its images in pixels: whatever the probed features read, these read the same.
BASELINES: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("hog", {}, 64),
    ("lbp", {"method": "uniform"}, 64),
    ("lbp", {"method": "nri_uniform"}, 64),
    ("pixels", {}, 32),
)


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


# --- whose features -----------------------------------------------------------------------------


def checkpoint_features(loaded: Loaded, names: Sequence[str], size: int, whose: str = "") -> list[Feature]:
    """Return the checkpoint's features, each followed by its random twin.

    The twin is the same architecture with freshly initialised weights.

    Args:
        loaded: networks and their checkpoint.
        names: of features, or of several joined by `+`.
        size: side of the images in pixels.
        whose: label of the checkpoint, where there are several.

    Raises:
        ConfigError: a name that the method does not have, that the checkpoint did not train, or that does not
            exist at this size.
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
    twin = build_method(checkpoint.config.model_copy(update={"seed": checkpoint.config.seed + 1}), weights_follow=True)
    origin = registry.find("encoder", checkpoint.config.encoder.name).origin
    sha256, twin_digest = checkpoint.sha256(), _digest(twin)
    before = f"{whose}: " if whose else ""
    own = [(f"{before}{name}", f"{sha256}:{name}", name) for name in names]
    others = [(f"{before}{name}{TWIN}", f"random:{origin}:{twin_digest}:{name}", name) for name in names]
    learned, random = (network_features(m, _joined(m), size, named) for m, named in ((method, own), (twin, others)))
    learned = [replace(feature, checkpoint=whose) for feature in learned]
    return [feature for pair in zip(learned, random, strict=True) for feature in pair]


def _joined(method: Method) -> Callable[[Tensor, frozenset[str]], dict[str, Tensor]]:
    """Let a method's features be joined: `expression+identity`."""

    def compute(images: Tensor, names: frozenset[str]) -> dict[str, Tensor]:
        found = method.features(images, frozenset(part for name in names for part in name.split("+")))
        return {name: torch.cat([found[part] for part in name.split("+")], dim=1) for name in names}

    return compute


def encoder_features(name: str, pretrained: bool, size: int, weights: Path | None = None) -> list[Feature]:
    """Return the flattened map of a registered encoder that no run has trained.

    Args:
        name: `timm:resnet18`, `hog`.
        pretrained: take the weights its library offers, and show its random twin beside it.
        size: side of the images in pixels.
        weights: take the weights in this file instead.

    Raises:
        PluginError, ConfigError: there is no such encoder, or it has no pretrained weights.
        CheckpointError: the file holds no weights of this encoder.
    """
    fields = registry.load(registry.find("encoder", name)).Options.model_fields
    # Transformers lay out their positions for one size.
    options: dict[str, Any] = {LAYOUT: size} if LAYOUT in fields else {}
    if not (pretrained or weights):
        return [_encoder_feature(name, options, size, f"{name}, untrained" if "pretrained" in fields else name)]
    source = {**({"pretrained": True} if pretrained else {}), **({"weights": str(weights)} if weights else {})}
    own = _encoder_feature(name, {**options, **source}, size, f"{name}, {weights.name if weights else 'pretrained'}")
    return [own, _encoder_feature(name, options, size, f"{name}{TWIN}")]


def baseline_features() -> list[Feature]:
    """Return the handcrafted features that every probe is compared with; HoG comes first."""
    labels = zip(BASELINES, baseline_names(), strict=True)
    return [_encoder_feature(name, options, size, label) for (name, options, size), label in labels]


def with_baselines(features: Sequence[Feature]) -> list[Feature]:
    """Return features, and the handcrafted ones that they are compared with.

    Where a handcrafted one is probed itself, it stands there once at its own size. At another, its label says which.
    """
    probed = {(feature.key, feature.size) for feature in features}
    others = [each for each in baseline_features() if (each.key, each.size) not in probed]
    taken = {each.label for each in others}
    own = [replace(each, label=f"{each.label}, {each.size} px") if each.label in taken else each for each in features]
    return [*own, *others]


def baseline_names() -> list[str]:
    """Return what results call the handcrafted features."""
    return [f"{name} {' '.join(map(str, options.values()))}".strip() for name, options, _ in BASELINES]


def _encoder_feature(name: str, options: dict[str, Any], size: int, label: str) -> Feature:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = registry.build("encoder", name, options)
    origin = registry.find("encoder", name).origin
    key = f"{origin}:{name}:{json.dumps(options)}:{_digest(encoder)}"
    (feature,) = network_features(encoder, lambda images, _: {"map": encoder(images)}, size, [(label, key, "map")])
    return replace(feature, fed=getattr(encoder, "reads", ""))


def _digest(network: nn.Module) -> str:
    """Return a digest of a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().numpy()).data)
    return digest.hexdigest()


# --- extraction ---------------------------------------------------------------------------------


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
