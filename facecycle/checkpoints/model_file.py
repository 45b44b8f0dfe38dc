"""The files of a checkpoint, written atomically and read: weights with their configuration, and what resuming needs.

`model.safetensors` stands alone. Beside it lie `optimizer.safetensors` and `state.json`, which only resuming needs,
and `SHA256SUMS` with the digests of the three.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facecycle.atomic import remove_leftovers, write_atomically, write_folder
from facecycle.checkpoints import folders
from facecycle.checkpoints.folders import MODEL, OPTIMIZER, STATE
from facecycle.checkpoints.header import FORMAT, Checkpoint
from facecycle.checkpoints.tensor_file import write_tensors
from facecycle.errors import CheckpointError

CONTENT = "content_sha256"
"""Header entry with the digest of all other entries and all tensors; see `content_sha256`."""
SINCE_0_2 = {"encoder.input.gain": 1.0, "encoder.input.offset": 0.0}
"""Ends of the names of tensors that came later: the normalisation that pretrained weights expect."""


def environment() -> dict[str, str]:
    """Return the versions a checkpoint was made with."""
    return {"python": platform.python_version(), "torch": torch.__version__, "platform": platform.platform()}


# --- writing ------------------------------------------------------------------------------------


def save(
    folder: Path,
    method: nn.Module,
    optimizer: Mapping[str, Tensor],
    state: Mapping[str, Any],
    metadata: Mapping[str, str],
    keep: int | None = None,
) -> Path:
    """Write the checkpoint folder `folder`, point `latest` beside it to it, and only then remove old ones.

    Args:
        folder: `<run>/checkpoints/step-<number>`; another name is found while `latest` names this one.
        method: its state dict is what `model.safetensors` holds.
        optimizer: tensors that only resuming needs.
        state: counters, as JSON.
        metadata: entries of the model file's header beside the format.
        keep: how many checkpoints may stay, this one included; None keeps all.

    Returns:
        The path of the model file.

    Raises:
        RunError: it cannot be written; earlier checkpoints are untouched.
    """

    def write(temporary: Path) -> None:
        _write_model(temporary / MODEL, method, metadata)
        write_tensors(optimizer, temporary / OPTIMIZER)
        (temporary / STATE).write_text(json.dumps(dict(state), indent=1))
        folders.write_sums(temporary)

    folder = folders.free_folder(folder)
    remove_leftovers(folder.parent)
    write_folder(folder, write)
    folders.point_latest(folder)
    if keep is not None:
        folders.prune(folder.parent.parent, keep)
    return folder / MODEL


def save_model(path: Path, method: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write a model file alone, atomically; `metadata` is as in `save`.

    Raises:
        RunError: it cannot be written.
    """
    write_atomically(path, lambda temporary: _write_model(temporary, method, metadata))


def _write_model(path: Path, method: nn.Module, metadata: Mapping[str, str]) -> None:
    weights = {k: v.detach().cpu().contiguous() for k, v in method.state_dict().items()}
    header = {"format": FORMAT, **metadata}
    write_tensors(weights, path, {**header, CONTENT: content_sha256(header, weights)})


def content_sha256(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Return the digest of a header's entries, but `content_sha256` itself, and of tensors by name."""
    entries = {key: value for key, value in header.items() if key != CONTENT}
    digest = hashlib.sha256(json.dumps(entries, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(np.ascontiguousarray(tensor.contiguous().view(-1).view(torch.uint8).numpy()).data)
    return digest.hexdigest()


# --- reading ------------------------------------------------------------------------------------


def check_padding(checkpoint: Checkpoint) -> None:
    """Check those bytes of a header that its digest says nothing about: the spaces after it.

    Raises:
        CheckpointError: one of them was changed.
    """
    with checkpoint.path.open("rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    if not header.rstrip(b" ").endswith(b"}"):
        raise CheckpointError(f"the header of {checkpoint.path} is damaged: it ends in something else than spaces")


def read_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        return load_file(checkpoint.path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{checkpoint.path} cannot be read: {error}") from error


def load_weights(method: nn.Module, checkpoint: Checkpoint, *, assign: bool = False) -> None:
    """Load a checkpoint's tensors into networks of the same shape.

    With `assign` they take the place of the networks' own, mapped from the file instead of copied. Numbers of every
    width become single precision, which every processor computes in.

    Raises:
        CheckpointError: lists the tensors that are missing, too many, of another shape or kind, or not finite.
    """
    own = method.state_dict()
    found = {**_before_they_were(own), **read_tensors(checkpoint)}
    problems = misfits(found, {name: tuple(tensor.shape) for name, tensor in own.items()})
    problems += [
        f"{name} is {_kind(found[name])}, the network has {_kind(tensor)}"
        for name, tensor in own.items()
        if name in found and found[name].is_floating_point() != tensor.is_floating_point()
    ]
    if problems:
        more = f" (+{len(problems) - 5} more)" if len(problems) > 5 else ""
        raise CheckpointError(
            f"{checkpoint.path} does not fit these networks: {'; '.join(problems[:5])}{more}",
            hint="Use the configuration it was trained with (it is in its header).",
        )
    whole = {name: tensor.to(own[name].dtype) for name, tensor in found.items()}
    refuse_non_finite(checkpoint.path, whole)
    method.load_state_dict(whole, assign=assign)


def _before_they_were(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that checkpoints of 0.2.0 do not have, with the values that mean the same."""
    return {
        name: torch.full(tensor.shape, value, dtype=tensor.dtype, device="cpu")
        for name, tensor in own.items()
        for ending, value in SINCE_0_2.items()
        if name.endswith(ending)
    }


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def refuse_non_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that no network can compute with.

    Raises:
        CheckpointError: names those that hold NaN or infinity.
    """
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        more = f" (+{len(bad) - 5} more)" if len(bad) > 5 else ""
        raise CheckpointError(
            f"{path} holds numbers that are not finite: {', '.join(bad[:5])}{more}",
            hint="Take another checkpoint of the run. Half precision holds no number above 65,504.",
        )


def misfits(found: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return what is wrong with tensors that should have the given names and shapes."""
    problems = [f"missing {name}" for name in wanted if name not in found]
    problems += [f"unknown {name}" for name in found if name not in wanted]
    problems += [
        f"{name} is {tuple(found[name].shape)}, the network has {shape}"
        for name, shape in wanted.items()
        if name in found and tuple(found[name].shape) != shape
    ]
    return problems


def read_resume(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the optimizer tensors and the state that stand beside a checkpoint's model.

    Raises:
        CheckpointError: one of them is missing or damaged.
    """
    try:
        tensors, state = load_file(folder / OPTIMIZER), json.loads((folder / STATE).read_text())
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder} cannot be resumed from: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{folder} cannot be resumed from: {STATE} holds a {type(state).__name__}, not a table")
    return tensors, state
