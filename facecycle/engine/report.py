"""A probe's result as a table, as JSON, and as a markdown page with plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from facecycle.engine.plots import plot
from facecycle.engine.probe import ProbeResult, Row
from facecycle.engine.protocols import ANGLES
from facecycle.files import write_text


def table(result: ProbeResult) -> tuple[list[str], list[list[str]]]:
    """Return the column titles and the rows of a result, as text; percentages and degrees."""
    if result.task == "pose":
        titles = [*(f"{angle} MAE (deg)" for angle in ANGLES), "mean (deg)"]
    elif result.task == "emotion":
        titles = ["accuracy (%)", "range over folds"]
    else:
        titles = ["accuracy (%)", "AUC"]
    return ["feature", "dimensions", *titles], [_cells(result, row) for row in result.rows]


def _cells(result: ProbeResult, row: Row) -> list[str]:
    metrics = row.scores.metrics
    if result.task == "pose":
        values = [f"{metrics[angle]:.2f}" for angle in (*ANGLES, "mean")]
    elif result.task == "emotion":
        folds = [100 * fold["accuracy"] for fold in row.scores.folds.values()]
        values = [f"{100 * metrics['accuracy']:.1f}", f"{min(folds):.1f} - {max(folds):.1f}"]
    else:
        values = [
            f"{100 * metrics['accuracy']:.1f} ± {100 * metrics['deviation']:.1f}",
            f"{metrics['auc']:.3f}",
        ]
    return [row.label, str(row.dimension or "-"), *values]


def as_json(result: ProbeResult) -> dict[str, Any]:
    """Return everything but the single predictions, ready for JSON."""
    return {
        "task": result.task,
        "protocol": result.protocol,
        "selection": result.selection,
        "split": result.note,
        "counts": result.counts,
        **result.facts,
        "unreadable": result.bad_frames,
        "rows": [
            {
                "feature": row.label,
                "dimensions": row.dimension,
                "metrics": row.scores.metrics,
                "folds": row.scores.folds,
                "chosen": row.scores.chosen,
            }
            for row in result.rows
        ],
    }


def write_report(result: ProbeResult, out: Path) -> Path:
    """Write `result.json`, the plots and `report.md` into a folder; return the page's path.

    Raises:
        RunError: the folder cannot be written.
    """
    write_text(out / "result.json", json.dumps(as_json(result), indent=1) + "\n")
    picture = plot(result, out)
    page = out / "report.md"
    write_text(page, _markdown(result, picture))
    return page


def _markdown(result: ProbeResult, picture: Path) -> str:
    titles, rows = table(result)
    lines = [
        f"# Probe: {result.task}",
        "",
        "| " + " | ".join(titles) + " |",
        "|" + " --- |" * len(titles),
        *("| " + " | ".join(cells) + " |" for cells in rows),
        "",
        f"![{result.task}]({picture.name})",
        "",
        f"* protocol: `{result.protocol}`",
        f"* selection: {result.selection}",
        f"* split: {result.note}",
        "* counts: " + ", ".join(f"{count:,} {name}" for name, count in result.counts.items()),
        *(f"* {name}: {value}" for name, value in result.facts.items()),
    ]
    if result.bad_frames:
        lines += ["", f"{len(result.bad_frames)} images could not be read and were left out:", ""]
        lines += [f"* {name}: {reason}" for name, reason in result.bad_frames.items()]
    return "\n".join(lines) + "\n"
