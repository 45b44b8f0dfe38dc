"""The authors' released checkpoint to one of ours: the paper's networks with the published weights."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facecycle.atomic import file_sha256
from facecycle.checkpoints import model_file
from facecycle.checkpoints.model_file import misfits
from facecycle.config.layers import preset_layers, resolve
from facecycle.errors import CheckpointError
from facecycle.networks import build_method, provenance
from facecycle.pickles import UNREADABLE, check_pickles

NETWORKS = {
    "expression": ("codegeneration", "exptoflow", "Swap_Generator"),
    "identity": ("idcodegen", "Swap_Norm"),
}
"""Cycle to the networks that it trains, by their released names."""
PREFIXES = (
    ("expression.encoder.", "codegeneration."),
    ("expression.head.", "codegeneration.expresscode."),
    ("motion.", "exptoflow."),
    ("generator.stem.", "Swap_Generator."),
    ("generator.", "Swap_Generator."),
    ("identity.encoder.", "idcodegen."),
    ("identity.head.", "idcodegen.expresscode."),
    ("renormalizer.stem.", "Swap_Norm."),
    ("renormalizer.", "Swap_Norm."),
)
"""Our prefixes of tensor names to theirs, longest first: the paper's code networks hold encoder and head in one."""
LICENCE = (
    "weights released by the authors of FaceCycle (https://github.com/JiaRenChang/FaceCycle), trained on VoxCeleb; "
    "the project's code is MIT, no terms come with the weights: ask the authors before any use but research"
)
SHOWN = 10
"""Faults named in a message; the others are counted."""


def released_name(name: str) -> str:
    """Map a tensor name of `FaceCycle.state_dict()` to `<network>.<key>` of the released checkpoint.

    Raises:
        KeyError: a name of no network of the paper.
    """
    for ours, theirs in PREFIXES:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise KeyError(name)


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
    _refuse_prefix(source, released)
    trained = [c for c, networks in NETWORKS.items() if c == "expression" or any(n in released for n in networks)]
    # The file names no data: the paper's stands in the configuration.
    data = ("the released checkpoint", {"data": [{"name": "voxceleb", "options": {"path": "voxceleb"}}]})
    config = resolve([*preset_layers("paper"), data])
    method = build_method(config, weights_follow=True)
    state = method.state_dict()
    names = {released_name(name): name for name in state}
    networks = [network for cycle in trained for network in NETWORKS[cycle]]
    wanted = {n: tuple(state[ours].shape) for n, ours in names.items() if n.partition(".")[0] in networks}
    tensors = {f"{network}.{key}": value for network, values in released.items() for key, value in values.items()}
    problems = _problems(released, tensors, wanted, networks)
    if problems:
        more = f" (+{len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
        raise CheckpointError(
            f"{source} does not hold the released networks: {'; '.join(problems[:SHOWN])}{more}",
            hint="Nothing was written. Is it the file of the authors, whole, and of this method?",
        )
    method.load_state_dict({names[name]: value for name, value in tensors.items()}, strict=False)
    if "identity" not in trained:
        method.renormalizer.stem.load_state_dict(method.generator.stem.state_dict())
    metadata = {
        "config": config.model_dump_json(),
        "trained": json.dumps(trained),
        "components": json.dumps(provenance(config)),
        "environment": json.dumps(model_file.environment()),
        "parent": "",
        "step": "",  # the file does not say how long it was trained
        "licence": LICENCE,
        "source": json.dumps({"file": source.name, "sha256": file_sha256(source)}),
    }
    model_file.save_model(out, method, metadata)
    return trained


def _read(source: Path) -> dict[str, dict[str, Any]]:
    """Read the tables of a file by network; nothing in the file is run."""
    if not source.is_file():
        what = f"{source} is a folder" if source.is_dir() else f"there is no file {source}"
        raise CheckpointError(what, hint="Expected the authors' checkpoint, such as finalmodel.tar.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on what it refuses is to trust the file
            check_pickles(source)
            content = torch.load(source, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{source} is refused: it holds something other than tensors, which would have to be run, or it was "
            "cut short; nothing in it was run",
            hint="The released file holds tensors alone. Get it again from the authors; do not load this one.",
        ) from error
    except UNREADABLE as error:
        # What torch says here is left out: on some files it recommends to read them without protection.
        raise CheckpointError(
            f"{source} is damaged, cut short, or no checkpoint of torch.save; nothing in it was run",
            hint="Get the file again from the authors.",
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{source} holds a {type(content).__name__}, not the released networks by name")
    for network, values in content.items():
        if not isinstance(values, Mapping):
            raise CheckpointError(
                f"{source}: {network!r} is a {type(values).__name__}, not a network's tensors by name"
            )
    return {str(network): dict(values) for network, values in content.items()}


def _refuse_prefix(source: Path, released: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse networks whose every key carries DataParallel's prefix; it is not guessed away."""
    prefixed = [n for n, values in released.items() if values and all(str(k).startswith("module.") for k in values)]
    if prefixed:
        raise CheckpointError(
            f"{source}: every key of {', '.join(prefixed)} starts with `module.`",
            hint="It was saved from DataParallel, and is not the released file.",
        )


def _problems(
    released: Mapping[str, object],
    tensors: Mapping[str, Any],
    wanted: Mapping[str, tuple[int, ...]],
    networks: Sequence[str],
) -> list[str]:
    """Return everything that keeps a file's tensors from being the released ones."""
    problems = [f"missing network {network}" for network in networks if network not in released]
    problems += [f"unknown entry {network}" for network in released if network not in networks]
    faults = {name: fault for name, value in tensors.items() if (fault := _fault(value))}
    problems += [f"{name} {fault}" for name, fault in faults.items()]
    # What was named above is not named again as missing or unknown.
    present = {n: shape for n, shape in wanted.items() if n not in faults and n.partition(".")[0] in released}
    plain = {n: value for n, value in tensors.items() if n not in faults and n.partition(".")[0] in networks}
    problems += misfits(plain, present)
    fitting = [name for name, shape in present.items() if name in plain and plain[name].shape == shape]
    return problems + [f"{name} is not finite" for name in fitting if not bool(torch.isfinite(plain[name]).all())]


def _fault(value: Any) -> str:
    """Say why a value cannot be a released weight, or return ''."""
    if not isinstance(value, Tensor):
        return f"is a {type(value).__name__}, not a tensor"
    if value.dtype != torch.float32 or value.layout != torch.strided or value.device.type != "cpu":
        kind = [str(value.dtype), str(value.layout), value.device.type]
        return f"is {', '.join(kind)}; expected torch.float32, torch.strided, cpu"
    return ""
