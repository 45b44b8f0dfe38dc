"""The authors' released checkpoint to one of ours: the paper's networks with the published weights."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facecycle import checkpoint
from facecycle.checkpoint import misfits
from facecycle.config import RunConfig, preset_layers, resolve
from facecycle.engine.build import build_method, provenance
from facecycle.errors import CheckpointError
from facecycle.files import file_sha256
from facecycle.method.released import released_name

NETWORKS = {
    "expression": ("codegeneration", "exptoflow", "Swap_Generator"),
    "identity": ("idcodegen", "Swap_Norm"),
}
"""Cycle to the networks that it trains, by their released names."""
LICENCE = (
    "weights released by the authors of FaceCycle (https://github.com/JiaRenChang/FaceCycle), trained on VoxCeleb; "
    "the project's code is MIT, no terms come with the weights: ask the authors before any use but research"
)
SHOWN = 12


def import_released(source: Path, out: Path) -> list[str]:
    """Write a released `.tar` as a checkpoint of our format; returns the cycles it was trained for.

    The file is a pickle: it is read with `weights_only=True`, which refuses everything but tensors.
    A file of stage 1 holds three of the five networks; the identity networks then stay untrained, but for
    the frozen stem, which both cycles share.

    Raises:
        CheckpointError: the file is refused, cannot be read, or does not hold exactly the released tensors.
        RunError: the checkpoint cannot be written.
    """
    if out.exists():
        raise CheckpointError(f"{out} exists already", hint="Name another file with --out.")
    released = _read(source)
    trained = _cycles(source, released)
    config = _config()
    method = build_method(config, weights_follow=True)
    names = {released_name(name): name for name in method.state_dict()}
    wanted = {
        theirs: tuple(method.state_dict()[ours].shape)
        for theirs, ours in names.items()
        if any(theirs.startswith(f"{network}.") for cycle in trained for network in NETWORKS[cycle])
    }
    tensors = {f"{network}.{key}": value for network, values in released.items() for key, value in values.items()}
    problems = misfits(tensors, wanted)
    problems += [f"{name} is not finite" for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if problems:
        raise CheckpointError(
            f"{source} does not hold the released networks: {_some(problems)}", hint=_hint(list(tensors))
        )
    method.load_state_dict({names[name]: value.float() for name, value in tensors.items()}, strict=False)
    if "identity" not in trained:
        method.renormalizer.stem.load_state_dict(method.generator.stem.state_dict())
    metadata = {
        "config": config.model_dump_json(),
        "trained": json.dumps(trained),
        "components": json.dumps(provenance(config)),
        "environment": json.dumps(checkpoint.environment()),
        "parent": "",
        "step": "0",
        "licence": LICENCE,
        "source": json.dumps({"file": source.name, "sha256": file_sha256(source)}),
    }
    checkpoint.save_model(out, method, metadata)
    return trained


def _config() -> RunConfig:
    """Return the paper's configuration; the data it names is the paper's."""
    data = ("the released checkpoint", {"data": [{"name": "voxceleb", "options": {"path": "voxceleb"}}]})
    return resolve([*preset_layers("paper"), data])


def _read(source: Path) -> dict[str, dict[str, Tensor]]:
    """Read the state dicts by network; nothing in the file is run."""
    if not source.is_file():
        raise CheckpointError(f"there is no file {source}", hint="Expected the authors' checkpoint, such as model.tar.")
    try:
        content: Any = torch.load(source, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{source} is refused: beside tensors it holds something that would have to be run, or it is no "
            "checkpoint at all",
            hint="The released file holds tensors alone. Get it again from the authors; do not load this one.",
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{source} is damaged, cut short, or no checkpoint of torch.save: {str(error).splitlines()[0]}"
            if str(error)
            else f"{source} is damaged, cut short, or no checkpoint of torch.save",
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{source} holds a {type(content).__name__}, not the released networks by name")
    for network, values in content.items():
        if not isinstance(values, Mapping):
            raise CheckpointError(
                f"{source}: {network!r} is a {type(values).__name__}, not a network's tensors by name"
            )
        wrong = [f"{network}.{k}" for k, v in values.items() if not (isinstance(v, Tensor) and v.is_floating_point())]
        if wrong:
            raise CheckpointError(f"{source}: not tensors of floating point: {_some(wrong)}")
    return {str(network): dict(values) for network, values in content.items()}


def _cycles(source: Path, released: Mapping[str, object]) -> list[str]:
    """Return the cycles whose networks a file holds, all of them or none."""
    known = [network for networks in NETWORKS.values() for network in networks]
    unknown = [network for network in released if network not in known]
    stages = [list(NETWORKS["expression"]), known]
    if unknown or sorted(released) not in [sorted(stage) for stage in stages]:
        missing = [network for network in known if network not in released]
        raise CheckpointError(
            f"{source} holds {', '.join(released) or 'nothing'}; missing: {', '.join(missing) or 'none'}; "
            f"unknown: {', '.join(unknown) or 'none'}",
            hint=f"A released file holds {', '.join(known)}, or of stage 1 the first three.",
        )
    return sorted(cycle for cycle, networks in NETWORKS.items() if set(networks) <= set(released))


def _some(problems: list[str]) -> str:
    more = f" (+{len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
    return "; ".join(problems[:SHOWN]) + more


def _hint(names: list[str]) -> str:
    if names and all(".module." in name for name in names):
        return "Every name starts with `module.`: it was saved from DataParallel and is not the released file."
    return "Nothing was written. Is it the file of the authors, whole, and of this method?"
