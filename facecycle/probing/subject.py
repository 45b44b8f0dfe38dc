"""What is probed: features, or the checkpoints that they or the pictures are of, each under a label."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from facecycle.checkpoints import header
from facecycle.checkpoints.places import Name, find, label_of
from facecycle.errors import ConfigError
from facecycle.networks import Loaded, load, origin
from facecycle.probing.extraction import Feature
from facecycle.probing.features import checkpoint_features
from facecycle.probing.protocols import ProbeProtocol


@dataclass(frozen=True)
class Subject:
    """What is probed.

    Attributes:
        size: side of the images that the first feature reads, in pixels; others may read others.
        features: what is scored; empty where a protocol looks at pictures.
        checkpoints: label to networks and their checkpoint, where checkpoints are probed.
    """

    size: int
    features: Sequence[Feature] = ()
    checkpoints: Mapping[str, Loaded] = field(default_factory=dict)


def load_all(names: Sequence[Name]) -> dict[str, Loaded]:
    """Load checkpoints under labels that tell them apart; without a name, the one that comes with the package.

    A label is the name of the run, file or repository, or the name as it was given where two are the same.

    Raises:
        ConfigError: a checkpoint is given twice.
        CheckpointError: one cannot be loaded.
    """
    if not names:
        return {"facecycle": load(None)}
    files = [find(name).resolve() for name in names]
    for name, file in zip(names, files, strict=True):
        if files.count(file) > 1:
            raise ConfigError(f"--checkpoint {name}: given twice", hint="Name each checkpoint once.")
    short = [label_of(name) for name in names]
    labels = [label if short.count(label) == 1 else str(name) for label, name in zip(short, names, strict=True)]
    return {label: load(name) for label, name in zip(labels, names, strict=True)}


def facts_of(loaded: Loaded) -> dict[str, str]:
    """Return what identifies a checkpoint, for a report."""
    checkpoint = loaded.checkpoint
    config = checkpoint.config
    return {
        "checkpoint": origin(checkpoint),
        "sha256": checkpoint.sha256(),
        "method": config.method.name,
        **({"begun with": header.PRETRAINED} if checkpoint.pretrained else {}),
    }


def features_of(
    checkpoints: Mapping[str, Loaded], protocol: ProbeProtocol, names: Sequence[str], size: int | None
) -> list[Feature]:
    """Return the features of checkpoints, each followed by its twin, as `checkpoint_features` does of one.

    Args:
        checkpoints: by their labels, which stand before the features of several.
        protocol: says what is looked at where no feature is named.
        names: features to take, if any. Of several checkpoints, each gives those that its method has.
        size: side of the images in pixels; None is each checkpoint's own.

    Raises:
        ConfigError: as `checkpoint_features` and `usual_features`; or no checkpoint has a feature of that name.
    """
    known = {label: loaded.method.features_from.keys() for label, loaded in checkpoints.items()}
    features = []
    for label, loaded in checkpoints.items():
        # A name that nobody has is left in, and refused with the names that there are.
        own = [name for name in names if _has(known[label], name) or not any(_has(k, name) for k in known.values())]
        whose = label if len(checkpoints) > 1 else ""
        if names and not own:
            raise ConfigError(
                f"{label} has none of the features {', '.join(names)}", hint=f"Features: {', '.join(known[label])}."
            )
        side = size or loaded.checkpoint.config.size
        features += checkpoint_features(loaded, own or usual_features(loaded, protocol, side), side, whose)
    return features


def usual_features(loaded: Loaded, protocol: ProbeProtocol, size: int) -> list[str]:
    """Return the features that a protocol looks at where none is named.

    The method says which these are for a task. Where the checkpoint trained none of them, all others are taken.

    Raises:
        ConfigError: none of them exists at this size.
    """
    method, checkpoint = loaded.method, loaded.checkpoint
    trained = [name for name, cycle in method.features_from.items() if cycle in checkpoint.trained]
    names = [name for name in getattr(method, "probed", {}).get(protocol.task, ()) if name in trained] or trained
    maps = getattr(method, "maps", None) or [name for name in trained if name.endswith("conv")]
    if protocol.maps:
        names = [name for name in names if name in maps] or names
    # A code is read by a head that was made for one size.
    names = [name for name in names if size == checkpoint.config.size or name in maps]
    if not names:
        raise ConfigError(f"{checkpoint.path} trained no feature that exists at {size} px")
    return names


def _has(known: Collection[str], name: str) -> bool:
    return all(part in known for part in name.split("+"))
