"""`facecycle pretrain`: flags to a configuration, then the engine."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facecycle.config.layers import Layer, file_layer, preset_layers, preset_names, resolve, set_layer
from facecycle.config.settings import RunConfig
from facecycle.errors import ConfigError, shown
from facecycle.pretraining.resume import continued, newest_run, own_layers

if TYPE_CHECKING:
    from facecycle.pretraining.run import Outcome
    from facecycle.pretraining.run_folder import RunFolder

SHOWN = 20
"""Bad frames that are named at the end; the run folder has a list of all."""


class Stage(StrEnum):
    """Which cycles a run trains."""

    expression = "expression"
    identity = "identity"
    both = "both"


def pretrain(
    encoder: Annotated[
        str | None, typer.Option(help="Backbone: resnet18, timm:vit_tiny_patch16_224, facecycle.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Folder of tracks or stills, list file, or KIND:PATH. Repeats.")
    ] = None,
    stage: Annotated[Stage, typer.Option(help="Which cycle to train.")] = Stage.both,
    preset: Annotated[str | None, typer.Option(help=f"Start from: {', '.join(preset_names())}.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="A .toml file laid over the preset, or a run's config.json.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set any configuration key. Repeats."),
    ] = None,
    warper: Annotated[
        str | None, typer.Option(help="Implementation of the warps: auto, fused (Triton), reference.")
    ] = None,
    perceptual: Annotated[
        str | None, typer.Option(help="Perceptual network: none, random, or a timm backbone.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Length of every stage, in steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Start with the weights of this run or checkpoint.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; a new one below runs/ when left out.")] = None,
    cache_gb: Annotated[
        float | None, typer.Option(min=0, help="Gigabytes of disk for decoded frames; 4 when left out, 0 for none.")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Newest checkpoints to keep; all when left out.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out, or the newest, with its own settings.")
    ] = False,
) -> None:
    """Learn expression and identity codes from unlabelled faces.

    Example: facecycle pretrain --encoder resnet18 --data faces/ --preset small
    """
    kept = _run_to_resume(out, start) if resume else None
    file = [file_layer(config)] if config else []
    below = _below(preset, data, file) if kept is None else own_layers(kept, preset)
    layers = [*below, *file, _flags(encoder, data, warper, seed, keep)]
    settings = set_layer(assignments or [])
    if "preset" in settings[1]:
        raise ConfigError("--set preset: a name set last starts from no preset", hint="Use --preset NAME.")
    changes, removals = _late_flags(resolve([*layers, settings]), stage, steps, perceptual)
    resolved = resolve([*layers, *changes, settings, *removals])
    from facecycle import distributed
    from facecycle.data.frame_cache import limit
    from facecycle.device import keep_pages

    keep_pages()
    distributed.join()
    with limit(cache_gb):
        if kept is None:
            _start(resolved, stage, start, out)
        else:
            _resume(resolved, kept)


def _below(preset: str | None, data: list[str] | None, file: list[Layer]) -> list[Layer]:
    """Return what a configuration file is laid over: the preset that was asked for, by flag or in the file."""
    for origin, values in file:
        if origin.endswith(".json"):
            if preset is not None:
                raise ConfigError(f"--preset {preset}: {origin} is complete, and laid over no preset")
            return []
        named = values.get("preset", preset)
        if preset not in {None, named}:
            raise ConfigError(f"--preset {preset}, but {origin} starts from the preset {shown(named)}")
        preset = named if named is None else str(named)
    if preset is None:
        preset = "demo" if data is None and not file else "small"
    return preset_layers(preset)


def _run_to_resume(out: Path | None, start: Path | None) -> Path:
    from facecycle.networks import RUNS

    if start is not None:
        raise ConfigError("--resume and --from exclude each other: a resumed run has its own weights")
    path = out or newest_run(RUNS)
    if path is None:
        raise ConfigError(f"--resume: there is no run below {RUNS}/", hint="Name the run folder with --out.")
    return path


def _flags(
    encoder: str | None, data: list[str] | None, warper: str | None, seed: int | None, keep: int | None
) -> Layer:
    values: dict[str, Any] = {}
    if encoder is not None:
        values["encoder"] = {"name": encoder}
    if warper is not None:
        values["warper"] = {"name": warper}
    if seed is not None:
        values["seed"] = seed
    if keep is not None:
        values["keep"] = keep
    if data:
        from facecycle_cli.data import parse

        values["data"] = [parse(text, "tracks") for text in data]
    return ("flags", values)


def _late_flags(
    config: RunConfig, stage: Stage, steps: int | None, perceptual: str | None
) -> tuple[list[Layer], list[Layer]]:
    """Turn the flags that concern every stage into changes, which --set lies over, and removals, which it does not."""
    changes: list[Layer] = []
    removals: list[Layer] = []
    if stage != Stage.both and all(each.cycle != stage.value for each in config.stages.values()):
        stages = ", ".join(f"{name} ({each.cycle})" for name, each in config.stages.items())
        raise ConfigError(f"--stage {stage.value}: no stage trains that cycle", hint=f"Stages: {stages}.")
    for name, each in config.stages.items():
        if stage != Stage.both and each.cycle != stage.value:
            removals.append((f"--stage {stage.value}", {"stages": {name: None}}))
            continue
        if steps is not None:
            changes.append((f"--steps {steps}", {"stages": {name: {"steps": steps}}}))
        labels = [label for label, loss in each.losses.items() if loss.name == "perceptual"]
        if perceptual is not None and labels:
            found = dict.fromkeys(labels, _perceptual(perceptual))
            layer = (f"--perceptual {perceptual}", {"stages": {name: {"losses": found}}})
            (removals if perceptual == "none" else changes).append(layer)
    if perceptual not in {None, "none"} and not any("--perceptual" in origin for origin, _ in changes):
        raise ConfigError(
            f"--perceptual {perceptual}: the preset {config.preset!r} has no perceptual loss",
            hint="Use --preset base, or add one: --set stages.expression.losses.perceptual.name=perceptual "
            "--set stages.expression.losses.perceptual.views.reconstruction=1",
        )
    return changes, removals


def _perceptual(network: str) -> dict[str, Any] | None:
    if network == "none":
        return None
    return {"name": "perceptual", "options": {"pretrained": False} if network == "random" else {"network": network}}


def _start(config: RunConfig, stage: Stage, start: Path | None, out: Path | None) -> None:
    from facecycle import distributed
    from facecycle.networks import RUNS
    from facecycle.pretraining.run import Pretraining
    from facecycle_cli.console import Progress

    if stage is Stage.identity and start is None:
        raise ConfigError(
            "--stage identity needs trained expression networks",
            hint="Add --from RUN, a run of the expression stage.",
        )
    folder = _open(distributed.broadcast(lambda: out or _new_folder(RUNS, config)))
    folder.refuse_taken()  # before data are indexed and networks made
    _introduce(config)
    try:
        with Progress() as progress:
            run = Pretraining(config, folder, progress, weights_follow=start is not None)
            if start is not None:
                run.start_from(start)
            folder.create(config)
            outcome = run.run()
    finally:
        if out is None:
            with contextlib.suppress(OSError):
                folder.path.rmdir()  # a run that never began leaves no empty folder
    _conclude(outcome, folder)


def _resume(asked: RunConfig, path: Path) -> None:
    from facecycle.checkpoints.folders import all_folders
    from facecycle.pretraining.run import Pretraining
    from facecycle_cli.console import Progress

    folder = _open(path)
    config = continued(folder.config(), asked, path)
    _introduce(config)
    with Progress() as progress:
        run = Pretraining(config, folder, progress, weights_follow=bool(all_folders(path)))
        run.resume()
        folder.write_config(config)
        outcome = run.run()
    _conclude(outcome, folder)


def _open(path: Path) -> RunFolder:
    """Return the folder of a run, which the first of several processes writes."""
    from facecycle import distributed
    from facecycle.pretraining.run_folder import OthersFolder, RunFolder

    return RunFolder(path) if distributed.is_main() else OthersFolder(path)


def _introduce(config: RunConfig) -> None:
    from facecycle_cli.console import say, say_log

    if all(d.name == "synthetic" for d in config.data):
        say(f"Training on the built-in synthetic faces, schedule {config.preset!r}; --data FOLDER takes your own.")
    say_log()


def _conclude(outcome: Outcome, folder: RunFolder) -> None:
    from facecycle.pretraining.run_folder import BAD_FRAMES
    from facecycle_cli.console import say

    for name, reason in list(outcome.bad_frames.items())[:SHOWN]:
        say(f"skipped {name}: {reason}")
    if outcome.bad_frames:
        listed = folder.path / BAD_FRAMES
        say(f"{len(outcome.bad_frames)} images could not be read and were skipped; {listed} lists them.")
    if outcome.skipped_steps:
        say(f"{outcome.skipped_steps} steps were skipped, for their loss was not finite.")
    say(f"checkpoint: {outcome.model}\nsamples: {folder.path / 'samples'}")
    if outcome.stopped_by is not None:
        raise typer.Exit(128 + outcome.stopped_by)


def _new_folder(runs: Path, config: RunConfig) -> Path:
    """Create the first unused `<preset>-<encoder>-NNN` below `runs`, before another command does."""
    from facecycle.atomic import explained

    stem = f"{config.preset}-{config.encoder.name}".replace(":", "-").replace("/", "-")
    number = 1
    with explained(runs):
        runs.mkdir(parents=True, exist_ok=True)
        while True:
            folder = runs / f"{stem}-{number:03d}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
