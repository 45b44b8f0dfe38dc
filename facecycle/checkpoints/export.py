"""A run to one file that can be given away: smaller, and silent about where its data lay."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from facecycle.atomic import check_out
from facecycle.checkpoints import header, model_file
from facecycle.checkpoints.places import Name
from facecycle.config.settings import Choice, LossConfig, RunConfig
from facecycle.errors import CheckpointError
from facecycle.networks import load

Settings = TypeVar("Settings", Choice, LossConfig)
LARGEST_ROUNDING = 1e-3
"""Half precision keeps 11 bits: what it moves further lies outside its range."""


def export(source: Name, out: Path, *, half: bool, licence: str | None) -> None:
    """Write the weights of a checkpoint and its configuration, which says no more where its data and first weights lay.

    Args:
        source: a name of weights; see `places`.
        out: the file to write.
        half: keep numbers in half precision, in half the room; they are computed with in single precision.
        licence: the terms it is given under; None keeps what the data sets state.

    Raises:
        CheckpointError: the source cannot be read, has numbers that half precision cannot hold, or `out` exists.
        ConfigError: `out` lies below a file.
        RunError: it cannot be written.
    """
    if out.exists():
        raise CheckpointError(f"{out} exists already", hint="Name another file.")
    check_out(out, folder=False)
    found = header.read(source)
    method = load(source).method
    if half:
        for name, tensor in method.state_dict().items():
            lost = (tensor.half().float() - tensor.float()).abs()
            allowed = LARGEST_ROUNDING * tensor.abs().clamp(min=LARGEST_ROUNDING)
            if tensor.is_floating_point() and not bool((lost <= allowed).all()):
                raise CheckpointError(
                    f"{found.path}: {name} holds numbers that half precision cannot", hint="Export it without --half."
                )
        method.half()
    config = without_paths(found.config)
    changed = {"config": config.model_dump_json(), "parent": found.sha256()}
    if licence is not None:
        changed["licence"] = licence
    own = {key: value for key, value in found.metadata.items() if key not in {"format", model_file.CONTENT}}
    model_file.save_model(out, method, {**own, **changed})


def without_paths(config: RunConfig) -> RunConfig:
    """Return a configuration that says no more where a machine keeps what; whoever trains again names their own."""
    stages = {
        name: stage.model_copy(update={"losses": {key: _without_path(loss) for key, loss in stage.losses.items()}})
        for name, stage in config.stages.items()
    }
    data = [Choice(name=data.name) for data in config.data]
    return config.model_copy(update={"data": data, "encoder": _without_path(config.encoder), "stages": stages})


def _without_path(choice: Settings) -> Settings:
    """Leave of a file of weights its name."""
    if not (first := choice.options.get("weights")):
        return choice
    return choice.model_copy(update={"options": {**choice.options, "weights": Path(str(first)).name}})
