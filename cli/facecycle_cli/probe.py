"""`facecycle probe`: what features know, beside baselines, under a named protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facecycle.atomic import check_out
from facecycle.errors import ConfigError, did_you_mean
from facecycle.probing.protocols import PROTOCOLS, ProbeProtocol
from facecycle_cli import flags
from facecycle_cli.console import occasionally, say, show_table
from facecycle_cli.data import build, parse, parse_options

if TYPE_CHECKING:
    from facecycle.probing.subject import Subject

TASKS = {protocol.task: protocol for protocol in reversed(PROTOCOLS.values())}
"""Task to its usual protocol, which is the first of its protocols."""
SYNTHETIC_LIMIT = 800
"""Training samples drawn from the built-in faces, which have no end."""
DEFAULT_SIZE = 64
"""Side of the images that an encoder without a checkpoint reads."""


def probe(
    task: Annotated[
        str | None, typer.Option(help=f"What to measure: {', '.join(reversed(TASKS))}; neutral measures neutral faces.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Class folders, pose csv or identity folders, or KIND:PATH; synthetic when left out."),
    ] = None,
    test: Annotated[str | None, typer.Option(help="Test on this data set instead; --data is trained on.")] = None,
    protocol: Annotated[
        str | None, typer.Option(help=f"{', '.join(PROTOCOLS)}; the task's first one when left out.")
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"{flags.NAMES}; facecycle's own when left out. Repeats: compares."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Probe this encoder instead of a checkpoint: timm:resnet18, hog.")
    ] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="With --encoder: take its own weights.")] = False,
    weights: Annotated[
        Path | None,
        typer.Option(help="With --encoder: take the weights in this file, such as timm's model.safetensors."),
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(help="Feature of the checkpoint: expression, identity, conv, expression+identity. Repeats."),
    ] = None,
    size: Annotated[int | None, typer.Option(min=16, help="Side of the images in pixels; conv exists at any.")] = None,
    option: flags.DataOptions = None,
    allow_missing: flags.AllowMissing = False,
    out: Annotated[Path | None, flags.out("Folder for the report; probes/TASK when left out.")] = None,
) -> None:
    """Probe frozen features with a linear model, beside their random twins, HoG, LBP and pixels.

    Example: facecycle probe --task pose --data tracks/pose.csv
    """
    from facecycle.checkpoints.header import check

    chosen = _protocol(task, protocol)
    check(checkpoint or [])
    folder = out or Path("probes") / chosen.task
    check_out(folder, folder=True)
    from facecycle.distributed import is_main, join
    from facecycle.machine import keep_pages
    from facecycle.probing.probe import run_probe
    from facecycle.probing.result import write_result

    keep_pages()
    join()
    dataset, about = _data(chosen, data, test, parse_options(option, allow_missing))
    subject, whose = _subject(chosen, checkpoint or [], encoder, pretrained, weights, feature or [], size)
    limit = SYNTHETIC_LIMIT if about.get("trained on", about["data set"]) == "synthetic" else None
    result = run_probe(chosen, subject, dataset, {**whose, **about}, limit, occasionally())
    if not is_main():
        return
    show_table(f"{result.task}, protocol {result.protocol}, 95 % intervals", *result.table())
    if result.differences:
        show_table("differences over the same test items, 95 % paired intervals", *result.differences_table())
    say(f"split: {result.split}")
    if result.classes:
        say("classes: " + ", ".join(f"{name} {count:,}" for name, count in result.classes.items()))
    for line in result.coverage:
        say(f"data: {line}")
    for name, reason in result.unreadable.items():
        say(f"skipped {name}: {reason}")
    say(f"report: {write_result(result, folder)}")


def _protocol(task: str | None, protocol: str | None) -> ProbeProtocol:
    """Return the protocol of that name, or the task's usual one where none is given."""
    if task is not None and task not in TASKS:
        raise ConfigError(f"there is no task {task!r}", hint=did_you_mean(task, TASKS) or f"Tasks: {', '.join(TASKS)}.")
    if protocol is None:
        if task is None:
            raise ConfigError(
                "name a task or a protocol", hint=f"--task {', '.join(TASKS)}; --protocol {', '.join(PROTOCOLS)}."
            )
        return TASKS[task]
    if protocol not in PROTOCOLS:
        raise ConfigError(
            f"there is no protocol {protocol!r}",
            hint=did_you_mean(protocol, PROTOCOLS) or f"Protocols: {', '.join(PROTOCOLS)}.",
        )
    chosen = PROTOCOLS[protocol]
    if task not in {None, chosen.task}:
        raise ConfigError(f"the protocol {protocol} is for --task {chosen.task}, not {task}")
    return chosen


def _data(
    protocol: ProbeProtocol, data: str | None, test: str | None, given: dict[str, Any]
) -> tuple[Any, dict[str, str]]:
    """Return the data set, or two joined for training and testing, and the facts that identify it."""
    from facecycle import registry
    from facecycle.checkpoints.model_file import environment
    from facecycle.data.frames import passed_over

    components = [parse(data or "synthetic", protocol.data)]
    if test is not None:
        components.append(parse(test, protocol.data, "--test"))
    for key in given.keys() & {**protocol.data_options, **protocol.test_options}.keys():
        raise ConfigError(f"--option {key}: the protocol {protocol.name} sets it itself")
    for component in components:
        own = {*protocol.data_options, *(protocol.test_options if component is components[-1] else ())}
        known = registry.load(registry.find("dataset", component["name"])).Options.model_fields if own else {}
        if lacking := sorted(own - known.keys()):
            raise ConfigError(
                f"the protocol {protocol.name} sets the option {lacking[0]!r}, which {component['name']} does not have",
                hint=f"--task {protocol.task} without a protocol takes any data.",
            )
    components[-1]["options"] |= protocol.test_options
    dataset, *tested = build(components, {**given, **protocol.data_options})
    for line in passed_over([dataset, *tested]):
        say(line)
    if tested:
        from facecycle.data.labels.train_and_test import TrainAndTest

        dataset = TrainAndTest(dataset, tested[0])
    facts = {
        **({"trained on": components[0]["name"]} if test else {}),
        "data": data or "synthetic",
        **({"tested on": test} if test else {}),
        "data set": components[-1]["name"],
        **({"options": ", ".join(f"{key}={value}" for key, value in given.items())} if given else {}),
        **{key: value for key, value in environment().items() if key != "platform"},
    }
    return dataset, facts


def _subject(
    protocol: ProbeProtocol,
    checkpoints: list[str],
    encoder: str | None,
    pretrained: bool,
    weights: Path | None,
    names: list[str],
    size: int | None,
) -> tuple[Subject, dict[str, str]]:
    """Return what is probed, and the facts that identify it."""
    from facecycle.probing.features import encoder_features, with_baselines
    from facecycle.probing.subject import Subject

    if protocol.pictures and (encoder or pretrained or weights or names or size):
        raise ConfigError(
            f"the protocol {protocol.name} measures a checkpoint's pictures: it has no encoder, feature or size"
        )
    if size is not None and protocol.size not in {None, size}:
        raise ConfigError(f"--size {size}: this protocol reads images of {protocol.size} px")
    size = size or protocol.size
    # At the protocol's own size, a baseline of another would belong to another protocol.
    compared = not protocol.pictures and protocol.size is None
    if encoder is None:
        if pretrained or weights:
            flag = "--pretrained" if pretrained else "--weights"
            raise ConfigError(f"{flag} goes with --encoder", hint="Example: --encoder timm:resnet18 --pretrained")
        subject, facts = _checkpoints(protocol, checkpoints, names, size)
        return replace(subject, features=with_baselines(subject.features) if compared else subject.features), facts
    if checkpoints or names:
        raise ConfigError("--encoder has no checkpoint and no named features", hint="Leave one of them out.")
    size = size or DEFAULT_SIZE
    own = encoder_features(encoder, pretrained, size, weights)
    source = f"weights of {weights}" if weights else "pretrained" if pretrained else "not trained by facecycle"
    facts = {"encoder": f"{encoder}, {source}", **({"encoder's input": own[0].fed} if own[0].fed else {})}
    return Subject(size, with_baselines(own) if compared else own), {**facts, "image size": f"{size} px"}


def _checkpoints(
    protocol: ProbeProtocol, weights: list[str], names: list[str], size: int | None
) -> tuple[Subject, dict[str, str]]:
    """Return the features of checkpoints, or these alone where pictures are measured, and the facts of a single one."""
    from facecycle.probing.subject import Subject, facts_of, features_of, load_all

    loaded = load_all(weights)
    sizes = {label: size or each.checkpoint.config.size for label, each in loaded.items()}
    if protocol.pictures and len(set(sizes.values())) > 1:
        raise ConfigError(
            f"the protocol {protocol.name} compares pictures of one size, and not of several: "
            + ", ".join(f"{label} {side} px" for label, side in sizes.items()),
            hint="Probe these checkpoints one by one.",
        )
    facts = {label: facts_of(each) for label, each in loaded.items()}
    for label, about in facts.items():
        say(f"checkpoint: {about['checkpoint']}" if len(facts) == 1 else f"checkpoint {label}: {about['checkpoint']}")
    features = [] if protocol.pictures else features_of(loaded, protocol, names, size)
    first = next(iter(loaded))
    told = ", ".join(f"{side} px" for side in dict.fromkeys(sizes.values()))
    return Subject(sizes[first], features, loaded), {**(facts[first] if len(facts) == 1 else {}), "image size": told}
