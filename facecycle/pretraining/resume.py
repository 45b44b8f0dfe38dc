"""What a resumed run keeps of its own, takes from the new command or refuses, and which checkpoint it starts from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from facecycle.checkpoints.folders import (
    FOLDERS,
    STATE,
    all_folders,
    damage,
    latest_folder,
    point_latest,
    runs_below,
    set_aside,
)
from facecycle.config.layers import Layer, file_layer
from facecycle.config.settings import TAKEN_ON_RESUME, RunConfig
from facecycle.errors import CheckpointError, ConfigError
from facecycle.pretraining.run_folder import CONFIG


def own_layers(run: Path, preset: str | None) -> list[Layer]:
    """Return what the settings of a resuming command are laid over: the run's own, and the preset it names.

    The preset's settings are not laid over them: the run may have been started with changes to it.

    Raises:
        ConfigError: there is no run, or its configuration cannot be read.
    """
    if not (run / CONFIG).is_file():
        hint = f"{nearest_run(run)} Leave --resume out to start one there.".strip()
        raise ConfigError(f"--resume: there is no run in {run}", hint=hint)
    return [file_layer(run / CONFIG), *([] if preset is None else [("--preset", {"preset": preset})])]


def continued(kept: RunConfig, asked: RunConfig, run: Path) -> RunConfig:
    """Return the configuration that a run goes on with: its own, with what may be taken from the command.

    A key is taken where it leaves the mathematics alone, see `TAKEN_ON_RESUME`. Passes (`accumulate`) are taken too, as
    another number of processes is: both leave the batch what it is, but neither the noise nor batch norm. What the
    command does not mention is kept, whatever the defaults are by then.

    Raises:
        ConfigError: names each setting that may not change, its value in the run, and the one asked for.
    """
    before, after = kept.model_dump(mode="json"), asked.model_dump(mode="json")
    fields = RunConfig.model_fields.items()
    refused = [k for k, field in fields if TAKEN_ON_RESUME not in field.metadata and before[k] != after[k]]
    if refused:
        lines = [line for key in refused for line in _changes(key, before[key], after[key])]
        raise ConfigError(
            f"--resume: {run} was started with other settings:\n" + "\n".join(lines),
            hint=f"Leave them out to go on as before, or start a new run from its weights: --from {run}",
        )
    return asked


def _changes(key: str, before: Any, after: Any) -> Iterator[str]:
    """Yield a line for each value that differs between two settings."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {**before, **after}:
            yield from _changes(f"{key}.{name}", before.get(name), after.get(name))
    elif before != after:
        yield f"{key}: {_text(before)} in the run, {_text(after)} asked for"


def _text(value: Any) -> str:
    return "none" if value is None else repr(value)


def newest_whole(run: Path, say: Callable[[str], None]) -> Path | None:
    """Return the newest checkpoint folder that is as it was written; None where the run has none at all.

    A damaged one is never used. It is said, renamed and kept, and the one before it is taken: training again from
    there gives the same weights, so that nothing is lost but time, while a run that waits for somebody loses more.

    Args:
        run: the run folder.
        say: told which checkpoint is damaged, in which file, and which is taken instead.

    Raises:
        CheckpointError: not one is whole; nothing was renamed.
        RunError: a damaged one cannot be renamed.
    """
    folders = all_folders(run)
    if not folders:
        return None
    candidates = folders[: folders.index(latest_folder(run)) + 1]
    damaged: dict[Path, str] = {}
    for folder in reversed(candidates):
        problems = damage(folder)
        if not problems:
            break
        damaged[folder] = f"{folder} is damaged: {', '.join(problems)}"
    else:
        raise CheckpointError(
            "\n".join(damaged.values()),
            hint=f"{run} has no other checkpoint. A copy of the files elsewhere may be whole; or start anew.",
        )
    if damaged:
        point_latest(folder)
    for bad, problem in damaged.items():
        say(f"{problem}. Kept as {set_aside(bad).name}; continuing from {folder.name}, which is whole.")
    return folder


def newest_run(runs: Path) -> Path | None:
    """Return the run below `runs` that training wrote to last, whether it has a checkpoint or not; None if none is."""
    found = [path.parent for path in runs.glob(f"*/{CONFIG}")]
    return max(found, key=_last_trained) if found else None


def nearest_run(wrong: Path) -> str:
    """Return a sentence that names a run to resume, in a folder that is none or beside it; '' where there is none.

    It is the run of the most similar name, or else the one that training wrote to last.
    """
    runs = [run for folder in (wrong, wrong.parent) for run in runs_below(folder) if (run / CONFIG).is_file()]
    by_name = {run.name: run for run in sorted(runs, key=_last_trained)}
    alike = [*difflib.get_close_matches(wrong.name, by_name, 1), *reversed(by_name)]
    return f"Did you mean {by_name[alike[0]]}?" if alike else ""


def _last_trained(run: Path) -> float:
    # An export changes the time of a checkpoint's folder, and never that of the state in it.
    return max(path.stat().st_mtime for path in (run / CONFIG, *run.glob(f"{FOLDERS}/*/{STATE}")))
