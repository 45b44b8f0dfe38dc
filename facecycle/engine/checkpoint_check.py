"""A look at a checkpoint: what it says of itself, and whether every byte of it can be relied on."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from facecycle import checkpoint
from facecycle.checkpoint import CONTENT, Checkpoint, content_sha256, read_tensors
from facecycle.engine.load import load
from facecycle.errors import CheckpointError


def describe(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself, ready for JSON; no tensor is loaded.

    Raises:
        CheckpointError: it cannot be read.
    """
    found = checkpoint.read(path)
    config = found.config
    networks, kinds = _networks(found)
    return {
        "file": str(found.path),
        "format": found.metadata["format"],
        "bytes": found.path.stat().st_size,
        "sha256": found.sha256(),
        "trained": sorted(found.trained),
        "steps": found.metadata.get("step", ""),
        "preset": config.preset,
        "method": config.method.name,
        "encoder": config.encoder.name,
        "warper": config.warper.name,
        "parameters": networks,
        "numbers": ", ".join(sorted(kinds)),
        "components": _table(found, "components"),
        "environment": _table(found, "environment"),
        "parent": found.metadata.get("parent", ""),
        "source": _table(found, "source"),
        "licence": found.metadata.get("licence", ""),
        "config": config.model_dump(mode="json"),
    }


def _networks(found: Checkpoint) -> tuple[dict[str, int], set[str]]:
    """Return the numbers held by each network, the first part of a tensor's name, and their types."""
    networks: dict[str, int] = {}
    kinds = set()
    with safe_open(found.path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a dict
            tensor = file.get_slice(name)
            network = name.partition(".")[0]
            networks[network] = networks.get(network, 0) + math.prod(tensor.get_shape())
            kinds.add(str(tensor.get_dtype()))
    return networks, kinds


def _table(found: Checkpoint, entry: str) -> dict[str, Any]:
    try:
        table = json.loads(found.metadata.get(entry, "{}"))
    except ValueError:
        return {}
    return table if isinstance(table, dict) else {}


def verify(path: Path, say: Callable[[str], None]) -> None:
    """Read every byte of a checkpoint and build its networks.

    Args:
        path: a model file, checkpoint folder or run folder.
        say: told what held, a line each.

    Raises:
        CheckpointError: names what is wrong.
    """
    found = checkpoint.read(path)
    say(f"header      format {found.metadata['format']}, trained {', '.join(sorted(found.trained)) or 'nothing'}")
    tensors = read_tensors(found)
    stated = found.metadata.get(CONTENT)
    if stated is None:
        say("content     no digest in the header: written before there was one")
    elif stated != content_sha256(found.metadata, tensors):
        raise CheckpointError(
            f"{found.path} is not what was written: its content does not have the digest in its header",
            hint="A byte changed on the disk or on the way. Take another copy, or an earlier checkpoint of the run.",
        )
    else:
        say(f"content     {len(tensors)} tensors, sha256 {stated}")
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise CheckpointError(f"{found.path} holds numbers that are not finite: {', '.join(bad[:5])}")
    say("numbers     all finite")
    load(found.path)
    say("networks    built, and the tensors fit")
    for component, origin in _table(found, "components").items():
        say(f"component   {component}: {_installed(origin)}")


def _installed(origin: Any) -> str:
    """Say whether a component is installed in the version that the checkpoint was made with."""
    distribution, version = str(origin.get("distribution")), str(origin.get("version"))
    try:
        here = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return f"{distribution} {version}, which is not installed here"
    return f"{distribution} {version}" + ("" if here == version else f"; {here} is installed here")
