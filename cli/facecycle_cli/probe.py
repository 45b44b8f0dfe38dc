"""`facecycle probe`: what a checkpoint's features know, beside baselines."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Task(StrEnum):
    """What is probed."""

    emotion = "emotion"
    pose = "pose"
    verify = "verify"


DEFAULT_KIND = {Task.emotion: "class-folders", Task.pose: "pose-csv", Task.verify: "identity-folders"}
SYNTHETIC_LIMIT = 800
"""Training samples drawn from the built-in faces, which have no end."""


def probe(
    task: Annotated[Task, typer.Option(help="What to read out of the features.")],
    data: Annotated[
        str | None,
        typer.Option(help="Class folders, pose csv or identity folders, or KIND:PATH; synthetic when left out."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Run folder or .safetensors file; the newest run when left out.")
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option(help="Feature of the checkpoint: code, conv, code+identity. Repeats.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; probes/TASK when left out.")] = None,
) -> None:
    """Probe frozen features with a linear model, beside their random twins, HoG, LBP and pixels.

    Example: facecycle probe --task pose --data tracks/pose.csv
    """
    from facecycle import registry
    from facecycle.engine.load import load
    from facecycle.engine.probe import BASELINES, checkpoint_rows, encoder_row, run_probe
    from facecycle.engine.report import table, write_report
    from facecycle_cli.console import say, show_table
    from facecycle_cli.data import parse

    chosen = parse(data or "synthetic", DEFAULT_KIND[task])
    dataset = registry.build("dataset", chosen["name"], chosen["options"])
    loaded = load(checkpoint)
    rows = checkpoint_rows(loaded, task.value, feature or ())
    rows += [encoder_row(name) for name in BASELINES]
    size = loaded.checkpoint.config.size
    facts = {
        "checkpoint": str(loaded.checkpoint.path),
        "sha256": loaded.checkpoint.sha256(),
        "data": data or "synthetic",
        "image size": f"{size} px",
    }
    limit = SYNTHETIC_LIMIT if chosen["name"] == "synthetic" else None
    result = run_probe(task.value, dataset, rows, size, facts, limit)
    show_table(f"{task.value}: {result.protocol}", *table(result))
    say(f"split: {result.note}")
    for name, reason in result.bad_frames.items():
        say(f"skipped {name}: {reason}")
    page = write_report(result, out or Path("probes") / task.value)
    say(f"report: {page}")
