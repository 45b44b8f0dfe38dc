"""A look at a checkpoint: what it says of itself, and whether every byte of it can be relied on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from safetensors import safe_open

from facecycle import registry
from facecycle.api import Kind
from facecycle.checkpoints import header
from facecycle.checkpoints.folders import SUMS, damage
from facecycle.checkpoints.model_file import (
    CONTENT,
    Checkpoint,
    check_padding,
    content_sha256,
    read_tensors,
    refuse_non_finite,
)
from facecycle.checkpoints.places import Name
from facecycle.errors import CheckpointError, PluginError
from facecycle.networks import load

RUNNING = ("running_mean", "running_var", "num_batches_tracked")
"""Last parts of the names of what batch norm measures; no parameters, nor is an encoder's `input`."""


def describe(name: Name) -> dict[str, Any]:
    """Return what a checkpoint says of itself, ready for JSON; no tensor is loaded.

    Raises:
        CheckpointError: it cannot be read.
    """
    found = header.read(name)
    config = found.config
    networks, frozen, kinds = _networks(found)
    return {
        "file": str(found.path),
        "format": found.metadata["format"],
        "bytes": found.path.stat().st_size,
        "sha256": found.sha256(),
        "content": found.metadata.get(CONTENT, ""),
        "trained": sorted(found.trained),
        "steps": found.metadata.get("step", ""),
        "preset": config.preset or "",
        "method": config.method.name,
        "encoder": config.encoder.name,
        "warper": config.warper.name,
        "data": [component.name for component in config.data],
        "parameters": networks,
        "frozen": frozen,
        "numbers": ", ".join(sorted(kinds)),
        "components": found.components(),
        "environment": found.table("environment"),
        "parent": found.metadata.get("parent", ""),
        "source": found.table("source"),
        "licence": found.metadata.get("licence", ""),
        "config": config.model_dump(mode="json"),
    }


def _networks(found: Checkpoint) -> tuple[dict[str, int], dict[str, int], set[str]]:
    """Return the parameters of each network, those of them in a frozen stem, and the types of numbers.

    A network is the first part of a tensor's name. A method with an option `stem` other than `trained`
    freezes what lies below that name.
    """
    stem_is_frozen = found.config.method.options.get("stem", "trained") != "trained"
    networks: dict[str, int] = {}
    frozen: dict[str, int] = {}
    kinds = set()
    with safe_open(found.path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a dict
            tensor = file.get_slice(name)
            kinds.add(str(tensor.get_dtype()))
            network, *parts = name.split(".")
            if parts and (parts[-1] in RUNNING or parts[-2:-1] == ["input"]):
                continue
            count = math.prod(tensor.get_shape())
            networks[network] = networks.get(network, 0) + count
            if stem_is_frozen and parts and parts[0] == "stem":
                frozen[network] = frozen.get(network, 0) + count
    return networks, frozen, kinds


def verify(name: Name, say: Callable[[str], None]) -> None:
    """Read every byte of a model file, a checkpoint folder or a run folder, and build its networks.

    `say` is told what held, a line each.

    Raises:
        CheckpointError: names what is wrong.
    """
    found = header.read(name)
    check_padding(found)
    say(f"header      format {found.metadata['format']}, trained {', '.join(sorted(found.trained)) or 'nothing'}")
    tensors = read_tensors(found)
    digest = content_sha256(found.metadata, tensors)
    if found.metadata.get(CONTENT) != digest:
        raise CheckpointError(
            f"{found.path} is not what was written: its content does not have the digest in its header",
            hint="A byte changed on the disk or on the way. Take another copy, or an earlier checkpoint of the run.",
        )
    say(f"content     {len(tensors)} tensors, sha256 {digest}")
    folder = found.path.parent
    if (folder / SUMS).exists():  # the file still lies in the checkpoint folder it was written to
        problems = damage(folder)
        if problems:
            raise CheckpointError(
                f"{folder} is damaged: {', '.join(problems)}",
                hint="`facecycle pretrain --resume` continues the run from its newest checkpoint that is whole.",
            )
        say(f"folder      every file has the sha256 in {SUMS}")
    refuse_non_finite(found.path, tensors)
    say("numbers     all finite")
    load(found.path)
    say("networks    built, and the tensors fit")
    for component, origin in found.components().items():
        say(f"component   {component}: {_installed(component, origin)}")


def _installed(component: str, origin: dict[str, str]) -> str:
    """Say whether a component is installed as the checkpoint was made with it.

    The networks are built by now, so what is missing is a data set or a loss, needed only to train on.
    """
    made_with = f"{origin.get('distribution')} {origin.get('version')}"
    kind, _, name = component.partition(":")
    try:
        here = registry.find(cast(Kind, kind), name)
    except (KeyError, PluginError):
        return f"{made_with}; not installed here, needed only to train on"
    installed = f"{here.distribution} {here.version}"
    return made_with if installed == made_with else f"{made_with}; {installed} is installed here"
