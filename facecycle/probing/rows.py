"""Which features a probe looks at: a checkpoint's, any encoder's, their random twins, and the baselines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facecycle import registry
from facecycle.api import Method
from facecycle.errors import ConfigError, did_you_mean
from facecycle.networks import Loaded, build_method
from facecycle.probing.features import FeatureRow, feature_row
from facecycle.probing.protocols import Protocol

# Encoder, options, side of its images in pixels: whatever the probed features read, these read the same.
BASELINES: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("hog", {}, 64),
    ("lbp", {"method": "uniform"}, 64),
    ("lbp", {"method": "nri_uniform"}, 64),
    ("pixels", {}, 32),
)


def checkpoint_rows(loaded: Loaded, protocol: Protocol, names: Sequence[str], size: int) -> list[FeatureRow]:
    """Return the checkpoint's features, each followed by its random twin.

    The twin is the same architecture with freshly initialised weights. Without names, the protocol's usual
    features are taken as far as the checkpoint trained them, or where it trained none of these all others, as far as
    they exist at this size.

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
        usual = [n for n in protocol.features if known.get(n) in checkpoint.trained]
        names = usual or [n for n, cycle in known.items() if cycle in checkpoint.trained]
        # A code is read by a head that was made for one size.
        names = [n for n in names if size == checkpoint.config.size or n.endswith("conv")]
        if not names:
            raise ConfigError(f"{checkpoint.path} trained no feature that exists at {size} px")
    seed = checkpoint.config.seed + 1
    random = checkpoint.config.model_copy(update={"seed": seed})
    twin = build_method(random, weights_follow=True)
    origin = registry.find("encoder", checkpoint.config.encoder.name).origin
    sha256, twin_digest = checkpoint.sha256(), _digest(twin)
    rows = []
    for name in names:
        rows.append(feature_row(name, f"{sha256}:{name}", method, _extractor(method, name), size))
        key = f"random:{origin}:{twin_digest}:{name}"
        rows.append(feature_row(f"{name}, random twin", key, twin, _extractor(twin, name), size))
    return rows


def _extractor(method: Method, name: str) -> Callable[[Tensor], Tensor]:
    parts = name.split("+")
    return lambda images: torch.cat([method.features(images, part) for part in parts], dim=1)


def encoder_rows(name: str, pretrained: bool, size: int) -> list[FeatureRow]:
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
    if pretrained:
        return [
            _encoder_row(name, {**options, "pretrained": True}, size, f"{name}, pretrained"),
            _encoder_row(name, options, size, f"{name}, random twin"),
        ]
    return [_encoder_row(name, options, size, f"{name}, untrained" if "pretrained" in fields else name)]


def baseline_rows() -> list[FeatureRow]:
    """Return the handcrafted features that every probe is compared with."""
    return [
        _encoder_row(name, options, size, f"{name} {' '.join(map(str, options.values()))}".strip())
        for name, options, size in BASELINES
    ]


def _encoder_row(name: str, options: dict[str, Any], size: int, label: str) -> FeatureRow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = registry.build("encoder", name, options)
    origin = registry.find("encoder", name).origin
    key = f"{origin}:{name}:{json.dumps(options)}:{_digest(encoder)}"
    return feature_row(label, key, encoder, encoder, size)


def _digest(network: nn.Module) -> str:
    """Return a digest of a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().numpy()).data)
    return digest.hexdigest()
