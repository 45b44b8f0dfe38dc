"""A probe's result as a table, as JSON that can be read back, and as a markdown page with its plot."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from facecycle.atomic import write_text
from facecycle.errors import DataError
from facecycle.pages import fill
from facecycle.probing.plots import plot
from facecycle.probing.probe import ProbeResult, Row
from facecycle.probing.protocols.linear import ANGLES
from facecycle.probing.protocols.neutral import METRICS

RESULT = "result.json"
PAGE = "report.md"


class SavedRow(BaseModel):
    """A row of a saved table."""

    model_config = ConfigDict(extra="forbid")

    feature: str
    dimensions: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    folds: dict[int, dict[str, float]]
    chosen: dict[int, float]


class SavedResult(BaseModel):
    """What `result.json` holds: everything but the single predictions."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["facecycle-probe/1"]
    task: Literal["emotion", "pose", "verify", "neutral"]
    protocol: str
    selection: str
    interval: str
    split: str
    counts: dict[str, int]
    coverage: list[str]
    facts: dict[str, str]
    unreadable: dict[str, str]
    rows: list[SavedRow]


def saved(result: ProbeResult) -> SavedResult:
    """Return what is kept of a result."""
    return SavedResult(
        format="facecycle-probe/1",
        task=result.task,
        protocol=result.protocol,
        selection=result.selection,
        interval=result.interval,
        split=result.note,
        counts=result.counts,
        coverage=result.coverage,
        facts=result.facts,
        unreadable=result.bad_frames,
        rows=[_saved_row(row) for row in result.rows],
    )


def _saved_row(row: Row) -> SavedRow:
    scores = row.scores
    return SavedRow(
        feature=row.label,
        dimensions=row.dimension,
        metrics=scores.metrics,
        intervals=scores.intervals,
        folds=scores.folds,
        chosen=scores.chosen,
    )


def read_result(path: Path) -> SavedResult:
    """Read a `result.json`.

    Raises:
        DataError: it cannot be read, or is not what a probe writes.
    """
    try:
        return SavedResult.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path} is not the result of a probe: {where}: {first['msg']}") from error


# --- tables -------------------------------------------------------------------------------------

PERCENTAGES = frozenset({"accuracy", "emotion", "verification"})
DECIMALS = {"auc": 3, "l1": 4, "ssim": 3, "accuracy": 1, "emotion": 1, "verification": 1}
COLUMNS: dict[str, dict[str, str]] = {
    "pose": {**{angle: f"{angle} MAE (deg)" for angle in ANGLES}, "mean": "mean (deg)"},
    "emotion": {"accuracy": "accuracy (%)"},
    "verify": {"accuracy": "accuracy (%)", "deviation": "± over folds", "auc": "AUC"},
    "neutral": METRICS,
}
"""Task to its metrics and the titles of their columns."""


def table(result: SavedResult) -> tuple[list[str], list[list[str]]]:
    """Return the column titles and the rows of a result as text; brackets hold 95 % confidence intervals."""
    columns = {k: title for k, title in COLUMNS[result.task].items() if any(k in row.metrics for row in result.rows)}
    rows = [
        [row.feature, str(row.dimensions or "-"), *(cell(row, metric) for metric in columns)] for row in result.rows
    ]
    return ["feature", "dimensions", *columns.values()], rows


def cell(row: SavedRow, metric: str) -> str:
    """Return a metric as text, with its interval where there is one; a percentage or degrees."""
    if metric not in row.metrics:
        return "-"
    scale = 100 if metric in PERCENTAGES or metric == "deviation" else 1
    decimals = DECIMALS.get(metric, 1 if metric == "deviation" else 2)
    text = f"{scale * row.metrics[metric]:.{decimals}f}"
    if metric in row.intervals:
        low, high = (f"{scale * bound:.{decimals}f}" for bound in row.intervals[metric])
        text += f" [{low}, {high}]"
    return text


# --- files --------------------------------------------------------------------------------------


def write_report(result: ProbeResult, out: Path) -> Path:
    """Write `result.json`, the plot and `report.md` into a folder; return the page's path.

    Raises:
        RunError: the folder cannot be written.
    """
    kept = saved(result)
    write_text(out / RESULT, kept.model_dump_json(indent=1) + "\n")
    picture = plot(result, out) if result.task != "neutral" else out / "neutral.png"
    page = out / PAGE
    titles, rows = table(kept)
    write_text(page, fill("probe.md.jinja", result=kept, titles=titles, rows=rows, picture=picture.name))
    return page
