"""A checkpoint to networks ready for use."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facecycle import checkpoint
from facecycle.checkpoint import Checkpoint
from facecycle.config import Component, RunConfig
from facecycle.engine.build import build_method
from facecycle.errors import CheckpointError, PluginError

RUNS = Path("runs")
SHIPPED = Path(__file__).parent.parent / "weights" / "default.safetensors"
"""The weights that come with the package; `README.md` beside them is their model card."""


@dataclass(frozen=True)
class Loaded:
    """Networks in evaluation mode, without gradients, and the checkpoint they came from.

    The checkpoint's configuration is the one the networks were built with here.
    """

    method: Any
    checkpoint: Checkpoint


def origin(found: Checkpoint) -> str:
    """Say where weights come from, and under which terms where they came with the package."""
    if found.path != SHIPPED:
        return str(found.path)
    return f"the one that comes with facecycle ({found.metadata.get('licence', 'no terms stated')})"


def load(path: Path | None) -> Loaded:
    """Load a checkpoint; None takes the one that comes with the package.

    Raises:
        CheckpointError: it cannot be read, does not fit, or needs a plugin that is not installed.
    """
    found = checkpoint.read(path or SHIPPED)
    config = found.config
    if config.warper.name == "fused":
        # Trained where Triton runs, used anywhere: the demand for it belongs to that run, not to its weights.
        config = config.model_copy(update={"warper": Component(name="auto")})
    try:
        method = _with_weights(config, found)
    except PluginError as error:
        raise CheckpointError(
            f"{found.path} needs a plugin that cannot be used here. {error.message}",
            hint=_needs(found) or error.hint,
        ) from error
    return Loaded(method.requires_grad_(False).eval(), replace(found, config=config))


def _with_weights(config: RunConfig, found: Checkpoint) -> Any:
    """Build networks without numbers and assign the checkpoint's; drawing numbers to replace them takes longer."""
    try:
        method = build_method(config, weights_follow=True, device="meta")
    except (NotImplementedError, RuntimeError):
        method = None  # a plugin that computes with its tensors while it is built
    if method is not None:
        checkpoint.load_weights(method, found, assign=True)
    if method is None or any(t.is_meta for t in [*method.parameters(), *method.buffers()]):
        # Buffers that no checkpoint holds have to be made as their network makes them.
        method = build_method(config, weights_follow=True)
        checkpoint.load_weights(method, found)
    return method


def _needs(found: Checkpoint) -> str:
    """Name the distributions beside our own that a checkpoint was made with."""
    try:
        components = json.loads(found.metadata.get("components", "{}"))
        needed = sorted({f"{c['distribution']} {c['version']}" for c in components.values()})
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
    return f"It was made with {', '.join(needed)}; install what is missing."
