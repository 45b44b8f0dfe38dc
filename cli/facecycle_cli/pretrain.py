"""`facecycle pretrain`: flags to a configuration, which is trained in a new run folder or goes on in one."""

from __future__ import annotations

import contextlib
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facecycle.config.layers import Layer, file_layer, method_of, preset_layers, resolve, set_layer
from facecycle.config.preset_files import preset_names
from facecycle.config.settings import RunConfig
from facecycle.errors import ConfigError, shown
from facecycle.pretraining.resume import continued, nearest_run, newest_run, own_layers
from facecycle_cli import flags
from facecycle_cli.console import Progress, say, say_log
from facecycle_cli.data import parse, parse_options, with_options

if TYPE_CHECKING:
    from facecycle.pretraining.run import Outcome

SHOWN = 20
"""Bad frames that are named at the end; the run folder has a list of all."""
PRESETS = ", ".join(preset_names())


def pretrain(
    encoder: Annotated[
        str | None, typer.Option(help="Backbone: resnet18, timm:vit_tiny_patch16_224, facecycle.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Folder of tracks, stills or videos, list file, or KIND:PATH. Repeats.")
    ] = None,
    cycle: Annotated[
        str | None, typer.Option(help="Train this cycle of the method alone, such as expression. All when left out.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help=f"Start from: {PRESETS}.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="A .toml file laid over the preset, or a run's config.json.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set any configuration key; beats every flag. Repeats."),
    ] = None,
    warper: Annotated[
        str | None, typer.Option(help="Implementation of the warps: auto, fused (Triton), reference.")
    ] = None,
    perceptual: Annotated[
        str | None,
        typer.Option(help="Network of the perceptual losses: a timm backbone, random, or none to drop them."),
    ] = None,
    option: flags.DataOptions = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Length of every stage, in steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="NAME", help=f"Start with these weights. {flags.NAMES}."),
    ] = None,
    out: Annotated[Path | None, flags.out("Run folder; a new one below runs/ when left out.")] = None,
    cache_gb: Annotated[
        float | None, typer.Option(min=0, help="Gigabytes of disk for decoded frames; 4 when left out, 0 for none.")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="Newest checkpoints to keep; all when left out.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out, or the newest, with its own settings.")
    ] = False,
) -> None:
    """Learn codes from unlabelled faces, such as those of expression and identity.

    Example: facecycle pretrain --encoder resnet18 --data faces/ --preset small
    """
    kept = _run_to_resume(out, start) if resume else None
    file = [file_layer(config)] if config else []
    below = _below(preset, data, file) if kept is None else own_layers(kept, preset)
    plain = {"cycle": cycle, "steps": steps, "perceptual": perceptual, "seed": seed, "keep": keep}
    given: dict[str, Any] = {key: value for key, value in plain.items() if value is not None}
    given |= {key: {"name": name} for key, name in (("encoder", encoder), ("warper", warper)) if name is not None}
    if data:
        given["data"] = with_options([parse(text, "tracks") for text in data], parse_options(option, False))
    elif option:
        raise ConfigError("--option belongs to the data of --data, and there is none", hint="Add --data FOLDER.")
    settings = set_layer(assignments or [])
    if "preset" in settings[1]:
        raise ConfigError("--set preset: a name set last starts from no preset", hint="Use --preset NAME.")
    resolved = resolve([*below, *file, ("flags", given), settings])
    from facecycle.checkpoints.header import check

    check([start])
    from facecycle.data.frame_cache import limit
    from facecycle.distributed import join
    from facecycle.machine import keep_pages

    keep_pages()
    join()
    with contextlib.nullcontext() if cache_gb is None else limit(cache_gb):
        _train(resolved, kept, start, out)


def _below(preset: str | None, data: list[str] | None, file: list[Layer]) -> list[Layer]:
    """Return what a configuration file is laid over: the preset that was asked for, by flag or in the file.

    Where none was asked for, a file of another method than the usual preset's stands alone.
    """
    for origin, values in file:
        if origin.endswith(".json"):
            if preset is not None:
                raise ConfigError(f"--preset {preset}: {origin} is complete, and laid over no preset")
            return []
        named = values.get("preset", preset)
        if preset not in {None, named}:
            raise ConfigError(f"--preset {preset}, but {origin} starts from the preset {shown(named)}")
        preset = named if named is None else str(named)
    if preset is not None:
        return preset_layers(preset)
    below = preset_layers("demo" if data is None and not file else "small")
    return below if method_of(file) in {None, method_of(below)} else [("no preset", {"preset": None})]


def _run_to_resume(out: Path | None, start: str | None) -> Path:
    from facecycle.networks import RUNS

    if start is not None:
        raise ConfigError("--resume and --from exclude each other: a resumed run has its own weights")
    path = out or newest_run(RUNS)
    if path is None:
        hint = f"Name the run folder with --out. {nearest_run(RUNS)}".strip()
        raise ConfigError(f"--resume: there is no run below {RUNS}/", hint=hint)
    return path


def _train(asked: RunConfig, kept: Path | None, start: str | None, out: Path | None) -> None:
    """Train in a new folder, or go on in the one that is kept."""
    from facecycle.checkpoints.folders import all_folders
    from facecycle.distributed import broadcast, is_main
    from facecycle.networks import RUNS, laid_out
    from facecycle.pretraining.run import Pretraining
    from facecycle.pretraining.run_folder import RunFolder

    path = kept or broadcast(lambda: out or _new_folder(RUNS, asked))
    folder = RunFolder(path, writes=is_main())
    try:
        if kept is None:
            folder.refuse_taken()  # before data are indexed and networks made
        config = laid_out(asked) if kept is None else continued(folder.config(), asked, path)
        if kept is not None:
            say(f"Continuing the run {path}")
        if all(d.name == "synthetic" for d in config.data):
            say(f"Training on the built-in synthetic faces, schedule {config.preset!r}; --data FOLDER takes your own.")
        say_log()
        follow = start is not None if kept is None else bool(all_folders(path))
        with Progress() as progress:
            run = Pretraining(config, folder, progress, weights_follow=follow)
            if kept is not None:
                run.resume()
                folder.write_config(config)
            else:
                if start is not None:
                    run.start_from(start)
                folder.create(config)
            outcome = run.run()
    finally:
        if out is None:
            with contextlib.suppress(OSError):  # a run that never began leaves no empty folders
                path.rmdir()
                path.parent.rmdir()
    _conclude(outcome, path)


def _conclude(outcome: Outcome, run: Path) -> None:
    from facecycle.pretraining.run_folder import BAD_FRAMES

    for name, reason in list(outcome.bad_frames.items())[:SHOWN]:
        say(f"skipped {name}: {reason}")
    if outcome.bad_frames:
        say(f"{len(outcome.bad_frames)} images could not be read and were skipped; {run / BAD_FRAMES} lists them.")
    if outcome.skipped_steps:
        say(f"{outcome.skipped_steps} steps were skipped because their loss was not finite.")
    say(f"checkpoint: {outcome.model}")
    if (run / "samples").is_dir():  # a method may have nothing to show
        say(f"samples: {run / 'samples'}")
    if outcome.stopped_by is not None:
        raise typer.Exit(128 + outcome.stopped_by)


def _new_folder(runs: Path, config: RunConfig) -> Path:
    """Create the first unused `<preset>-<encoder>-NNN` below `runs`, before another command does."""
    from facecycle.atomic import explained

    stem = f"{config.preset or 'own'}-{config.encoder.name}".replace(":", "-").replace("/", "-")
    with explained(runs):
        runs.mkdir(parents=True, exist_ok=True)
        for folder in (runs / f"{stem}-{number:03d}" for number in count(1)):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                break
    return folder
