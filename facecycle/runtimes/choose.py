"""Which runtime computes: onnxruntime where it can, because it starts at once, and torch everywhere else."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from facecycle.checkpoints.graph_file import graph_of
from facecycle.checkpoints.header import check
from facecycle.checkpoints.places import SHIPPED, Name, find
from facecycle.errors import CheckpointError, ConfigError
from facecycle.machine import has_gpu
from facecycle.runtimes.base import Runtime

LIBRARIES = ("onnx", "onnxruntime")


def choose(name: Name | None, asked: str | None = None) -> tuple[Runtime, str]:
    """Make a runtime for weights, and say which one it is and why.

    Args:
        name: of weights, see `checkpoints/places.py`; None takes the weights that come with the package.
        asked: `torch` or `onnx`, which has to be taken; None takes onnxruntime where it can be, else torch.

    Raises:
        CheckpointError: there are no weights, they cannot be read, or have no graph where onnx is asked for.
        ConfigError: onnx is asked for, and onnxruntime is not installed.
    """
    weights = SHIPPED if name is None else find(name)
    missing = [library for library in LIBRARIES if find_spec(library) is None]
    why_not = f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not installed" if missing else ""
    if asked == "onnx" and missing:
        raise ConfigError(f"--runtime onnx: {why_not}", hint="pip install 'facecycle[onnx]'")
    if asked is None:
        why_not = why_not or _why_torch(weights)
    if asked == "torch" or (asked is None and why_not):
        return _by_torch(weights), f"torch, because {why_not or 'it was asked for'}"
    from facecycle.runtimes.by_onnx import OnnxRuntime

    try:
        return OnnxRuntime(weights), f"onnx, because {'it was asked for' if asked else 'it starts at once on a CPU'}"
    except CheckpointError as error:
        if asked:
            raise
        return _by_torch(weights), f"torch, because {error.message}"


def _why_torch(weights: Path) -> str:
    """Say what speaks for torch where both could compute; '' is nothing."""
    if not graph_of(weights).exists():
        return f"there is no graph {graph_of(weights)}"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return "several processes share the work"
    return "there is a GPU" if has_gpu() else ""


def _by_torch(weights: Path) -> Runtime:
    check([weights])
    from facecycle.networks import load
    from facecycle.runtimes.by_torch import TorchRuntime

    return TorchRuntime(load(weights))
