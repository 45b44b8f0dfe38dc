"""Whose features a probe looks at: a checkpoint's, any encoder's, their untrained twins', and the baselines'."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facecycle import registry
from facecycle.api import Method
from facecycle.config.settings import RunConfig
from facecycle.errors import ConfigError, FacecycleError, did_you_mean
from facecycle.networks import LAYOUT, Loaded, build_method
from facecycle.probing.extraction import Feature, network_features

TWIN = ", random twin"
"""Ends the label of a feature of the same network with fresh weights."""
PRETRAINED_TWIN = ", pretrained twin"
"""The same, with the pretrained weights that the run began with."""
TWINS = (TWIN, PRETRAINED_TWIN)
# Encoder, options, side of its images in pixels: whatever the probed features read, these read the same.
BASELINES: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("hog", {}, 64),
    ("lbp", {"method": "uniform"}, 64),
    ("lbp", {"method": "nri_uniform"}, 64),
    ("pixels", {}, 32),
)


def checkpoint_features(loaded: Loaded, names: Sequence[str], size: int, whose: str = "") -> list[Feature]:
    """Return the checkpoint's features, each followed by its twin: the same networks as they were before the run.

    They are freshly initialised, but for an encoder that began with pretrained weights. Where those cannot be had the
    twin is random, and called so.

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
    twin, suffix = _twin(checkpoint.config.model_copy(update={"seed": checkpoint.config.seed + 1}))
    origin = registry.find("encoder", checkpoint.config.encoder.name).origin
    sha256, twin_digest = checkpoint.sha256(), _digest(twin)
    before = f"{whose}: " if whose else ""
    own = [(f"{before}{name}", f"{sha256}:{name}", name) for name in names]
    others = [(f"{before}{name}{suffix}", f"random:{origin}:{twin_digest}:{name}", name) for name in names]
    learned, random = (network_features(m, _joined(m), size, named) for m, named in ((method, own), (twin, others)))
    learned = [replace(feature, checkpoint=whose) for feature in learned]
    return [feature for pair in zip(learned, random, strict=True) for feature in pair]


def _twin(config: RunConfig) -> tuple[Any, str]:
    """Return the networks of a run before its first step, and how their features' labels end."""
    if config.pretrained:
        with contextlib.suppress(FacecycleError):
            return build_method(config), PRETRAINED_TWIN
    return build_method(config, weights_follow=True), TWIN


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
