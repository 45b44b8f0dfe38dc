"""`facecycle probe`: what features know, beside baselines, under a named protocol."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facecycle.errors import ConfigError, did_you_mean
from facecycle_cli.data import MISSING_HELP, OPTION_HELP, build, parse, parse_options

if TYPE_CHECKING:
    from facecycle.networks import Loaded
    from facecycle.probing.features import FeatureRow
    from facecycle.probing.protocols import Protocol


class Task(StrEnum):
    """What is probed."""

    emotion = "emotion"
    pose = "pose"
    verify = "verify"
    neutral = "neutral"


DEFAULT_KIND = {
    "emotion": "class-folders",
    "pose": "pose-csv",
    "verify": "identity-folders",
    "neutral": "class-folders",
}
SYNTHETIC_LIMIT = 800
"""Training samples drawn from the built-in faces, which have no end."""
DEFAULT_SIZE = 64
"""Side of the images that an encoder without a checkpoint reads."""


def probe(
    task: Annotated[
        Task | None, typer.Option(help="What to read out of the features; neutral measures the neutral faces.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Class folders, pose csv or identity folders, or KIND:PATH; synthetic when left out."),
    ] = None,
    test: Annotated[str | None, typer.Option(help="Test on this data set instead; --data is trained on.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="linear, facecycle-raf, linear-pose, facecycle-pose, cosine-10fold.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Run folder or .safetensors file; facecycle's own weights when left out.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Probe this encoder instead of a checkpoint: timm:resnet18, hog.")
    ] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="With --encoder: take its own weights.")] = False,
    feature: Annotated[
        list[str] | None,
        typer.Option(help="Feature of the checkpoint: expression, identity, conv, expression+identity. Repeats."),
    ] = None,
    size: Annotated[int | None, typer.Option(min=16, help="Side of the images in pixels; conv exists at any.")] = None,
    option: Annotated[list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help=OPTION_HELP)] = None,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help=MISSING_HELP)] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; probes/TASK when left out.")] = None,
) -> None:
    """Probe frozen features with a linear model, beside their random twins, HoG, LBP and pixels.

    Example: facecycle probe --task pose --data tracks/pose.csv
    """
    from facecycle import distributed
    from facecycle.probing.protocols import PROTOCOLS

    name = _protocol(task, protocol)
    distributed.join()
    chosen = PROTOCOLS.get(name)
    kind = chosen.task if chosen else Task.neutral.value
    components = [parse(data or "synthetic", DEFAULT_KIND[kind])]
    if test is not None:
        components.append(parse(test, DEFAULT_KIND[kind], "--test"))
    given = parse_options(option or (), allow_missing)
    if chosen:
        for key in given.keys() & {**chosen.data_options, **chosen.test_options}.keys():
            raise ConfigError(f"--option {key}: the protocol {name} sets it itself")
        given |= chosen.data_options
        components[-1]["options"] |= chosen.test_options
    elif encoder or pretrained or feature or size:
        raise ConfigError("--task neutral measures a checkpoint's pictures: it has no encoder, feature or size")
    dataset: Any
    dataset, *others = build(components, given)
    if others:
        from facecycle.data.labels.train_and_test import TrainAndTest

        dataset = TrainAndTest(dataset, others[0])
    facts = {
        **({"trained on": components[0]["name"]} if test else {}),
        "data": data or "synthetic",
        **({"tested on": test} if test else {}),
        "data set": components[-1]["name"],
        **_versions(),
    }
    limit = SYNTHETIC_LIMIT if components[0]["name"] == "synthetic" else None
    folder = out or Path("probes") / kind
    if chosen is None:
        if distributed.is_main():
            _measure_neutral(dataset, checkpoint, facts, limit, folder)
        return
    rows, whose = _rows(chosen, checkpoint, encoder, pretrained, feature or [], size)
    _run(name, dataset, rows, {**whose, **facts}, limit, folder)


def _protocol(task: Task | None, protocol: str | None) -> str:
    """Return the protocol's name, the task's usual one where none is given; `neutral` is a procedure of its own."""
    from facecycle.probing.protocols import DEFAULTS, PROTOCOLS

    if protocol is None:
        if task is None:
            raise ConfigError(
                "name a task or a protocol",
                hint=f"--task {', '.join(Task)}; --protocol {', '.join(PROTOCOLS)}.",
            )
        return "neutral" if task is Task.neutral else DEFAULTS[task.value]  # type: ignore[index]
    if protocol not in PROTOCOLS:
        raise ConfigError(
            f"there is no protocol {protocol!r}",
            hint=did_you_mean(protocol, PROTOCOLS) or f"Protocols: {', '.join(PROTOCOLS)}.",
        )
    if task is not None and task.value != PROTOCOLS[protocol].task:
        raise ConfigError(f"the protocol {protocol} is for --task {PROTOCOLS[protocol].task}, not {task.value}")
    return protocol


def _rows(
    protocol: Protocol,
    checkpoint: Path | None,
    encoder: str | None,
    pretrained: bool,
    features: list[str],
    size: int | None,
) -> tuple[list[FeatureRow], dict[str, str]]:
    """Return the features to look at, and the facts that identify them."""
    from facecycle.networks import load, origin
    from facecycle.probing.rows import baseline_rows, checkpoint_rows, encoder_rows
    from facecycle_cli.console import say

    if size is not None and protocol.size not in {None, size}:
        raise ConfigError(f"--size {size}: this protocol reads images of {protocol.size} px")
    size = size or protocol.size
    if encoder is not None:
        if checkpoint is not None or features:
            raise ConfigError("--encoder has no checkpoint and no named features", hint="Leave one of them out.")
        size = size or DEFAULT_SIZE
        found = encoder_rows(encoder, pretrained, size)
        facts = {"encoder": f"{encoder}, {'pretrained' if pretrained else 'not trained by facecycle'}"}
    else:
        if pretrained:
            raise ConfigError("--pretrained goes with --encoder", hint="Example: --encoder timm:resnet18 --pretrained")
        loaded = load(checkpoint)
        say(f"checkpoint: {origin(loaded.checkpoint)}")
        size = size or loaded.checkpoint.config.size
        found = checkpoint_rows(loaded, protocol, features, size)
        facts = _identify(loaded)
    # At the protocol's own size, a baseline of another would belong to another protocol.
    baselines = baseline_rows() if protocol.size is None else []
    return [*found, *baselines], {**facts, "image size": f"{size} px"}


def _identify(loaded: Loaded) -> dict[str, str]:
    from facecycle.networks import origin

    return {"checkpoint": origin(loaded.checkpoint), "sha256": loaded.checkpoint.sha256()}


def _versions() -> dict[str, str]:
    from facecycle.checkpoints.model_file import environment

    return {key: value for key, value in environment().items() if key != "platform"}


def _run(
    protocol: str, dataset: Any, rows: list[FeatureRow], facts: dict[str, str], limit: int | None, out: Path
) -> None:
    from facecycle import distributed
    from facecycle.probing.probe import run_probe
    from facecycle.probing.report import saved, table, write_report
    from facecycle_cli.console import occasionally, say, show_table

    result = run_probe(protocol, dataset, rows, facts, limit, occasionally())
    if not distributed.is_main():
        return
    show_table(f"{result.task}: {result.protocol}, 95 % intervals", *table(saved(result)))
    say(f"split: {result.note}")
    for line in result.coverage:
        say(f"data: {line}")
    for name, reason in result.bad_frames.items():
        say(f"skipped {name}: {reason}")
    say(f"report: {write_report(result, out)}")


def _measure_neutral(
    dataset: Any, checkpoint: Path | None, facts: dict[str, str], limit: int | None, out: Path
) -> None:
    from facecycle.networks import load, origin
    from facecycle.pictures import contact_sheet, write_png
    from facecycle.probing.protocols.neutral import evaluate_neutral
    from facecycle.probing.report import saved, table, write_report
    from facecycle_cli.console import say, show_table

    loaded = load(checkpoint)
    say(f"checkpoint: {origin(loaded.checkpoint)}")
    result, shown = evaluate_neutral(loaded, dataset, {**_identify(loaded), **facts}, limit)
    show_table("neutral faces, 95 % intervals", *table(saved(result)))
    page = write_report(result, out)
    write_png(out / "neutral.png", contact_sheet(list(shown.items())))
    for name, reason in result.bad_frames.items():
        say(f"skipped {name}: {reason}")
    say(f"split: {result.note}\nreport: {page}")
