"""One report of many runs: the paper's tables with our rows in them, plots, samples and environment."""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from facecycle.atomic import write_text
from facecycle.checkpoints import model_file
from facecycle.errors import DataError
from facecycle.pages import fill
from facecycle.pretraining.run_folder import CONFIG, METRICS, RunFolder
from facecycle.probing.report import RESULT, SavedResult, cell, read_result, table
from facecycle.reporting.loss_curves import loss_curves

LARGEST_PICTURE = 4 * 1024**2
"""Bytes; a larger picture is named in the report, not carried in it."""
LAST_STEP = 2**53
"""No run takes so many steps, and no plot tells larger numbers apart."""


@dataclass
class Picture:
    """A picture that travels inside the page."""

    name: str
    data: str


@dataclass
class TableRow:
    """A row as text; `ours` was measured here."""

    cells: list[str]
    ours: bool = False


@dataclass
class Table:
    """A table, what its numbers mean, and the plots that belong to it."""

    title: str
    columns: list[str]
    rows: list[TableRow]
    notes: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


@dataclass
class Run:
    """A training run: facts by name, loss curves and its last samples."""

    name: str
    facts: list[tuple[str, str]]
    pictures: list[Picture]


@dataclass
class Found:
    """What lies below the folders a report is made of."""

    results: list[tuple[Path, SavedResult]] = field(default_factory=list)
    runs: list[Path] = field(default_factory=list)
    sheets: list[Path] = field(default_factory=list)


def write_report(folders: Sequence[Path], out: Path) -> tuple[Path, Path]:
    """Write `report.html`, which carries its pictures, and `report.md` into a folder; return both paths.

    Args:
        folders: runs, probes, translations, or folders that hold them.
        out: folder to write to.

    Raises:
        DataError: a folder does not exist, none holds anything to report, or a result is malformed.
        RunError: the report cannot be written.
    """
    found = _find(folders)
    published = tomllib.loads((resources.files("facecycle.reporting") / "published.toml").read_text("utf-8"))
    values = {
        "source": published["source"],
        "tables": [*_paper_tables(published["tables"], found.results), *_own_tables(found.results)],
        "runs": [_run(folder) for folder in found.runs],
        "samples": [picture for sheet in found.sheets for picture in _pictures(sheet)],
        "environment": list(model_file.environment().items()),
    }
    pages = out / "report.html", out / "report.md"
    for page in pages:
        write_text(page, fill(f"{page.name}.jinja", **values))
    return pages


def _find(folders: Sequence[Path]) -> Found:
    """Walk the folders; what a report wrote itself is never taken for a result."""
    found = Found()
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}", hint="Name folders of runs, probes or translations.")
        # Files alone: to open a pipe would be to wait for whoever writes to it.
        found.results += [(path, read_result(path)) for path in sorted(folder.rglob(RESULT)) if path.is_file()]
        metrics = [path for path in sorted(folder.rglob(METRICS)) if path.is_file()]
        found.runs += [path.parent for path in metrics if (path.parent / CONFIG).is_file()]
        found.sheets += sorted(folder.rglob("contact_sheet.png"))
    if not (found.results or found.runs or found.sheets):
        raise DataError(
            f"nothing to report in {', '.join(map(str, folders))}",
            hint="Expected folders that pretrain, probe or translate wrote.",
        )
    return found


# --- tables -------------------------------------------------------------------------------------


def _paper_tables(published: list[dict[str, Any]], results: list[tuple[Path, SavedResult]]) -> Iterator[Table]:
    """Yield the paper's tables; a feature's numbers on several data sets share a row."""
    for given in published:
        columns = given["columns"]
        rows = [TableRow([r["name"], *_padded(r["values"], len(columns))]) for r in given["rows"]]
        notes = [given["note"]]
        ours: dict[tuple[str, str], list[list[str]]] = {}
        for _, result in results:
            places = [place for place, c in enumerate(columns) if c["data"] == result.facts.get("data set")]
            if result.task != given["task"] or not places:
                continue
            for row in result.rows:
                lines = ours.setdefault((_procedure(result), row.feature), [])
                # A second result on the same data, such as another of its test sets, has a row of its own.
                if not lines or any(lines[-1][place] != "-" for place in places):
                    lines.append(["-"] * len(columns))
                for place in places:
                    lines[-1][place] = cell(row, columns[place]["metric"])
            notes += _notes(result)
        rows += [TableRow([f"{feature} ({how})", *c], True) for (how, feature), lines in ours.items() for c in lines]
        yield Table(given["title"], ["method", *(c["title"] for c in columns)], rows, notes)


def _padded(values: list[float], count: int) -> list[str]:
    return [f"{value:.2f}" for value in values] + ["-"] * (count - len(values))


def _procedure(result: SavedResult) -> str:
    """Name what a row's numbers come from; rows that differ in it must not be merged."""
    facts = result.facts
    parts = [
        facts.get("sha256", "")[:12] or facts.get("encoder", "no checkpoint"),
        result.protocol,
        facts.get("image size", ""),
        f"trained on {facts['trained on']}" if "trained on" in facts else "",
    ]
    return ", ".join(part for part in parts if part)


def _own_tables(results: list[tuple[Path, SavedResult]]) -> Iterator[Table]:
    """Yield each result as a table of its own, with its plot."""
    for path, result in results:
        columns, rows = table(result)
        title = f"{result.task}: {result.protocol} on {result.facts.get('tested on') or result.facts.get('data', '?')}"
        pictures = _pictures(path.with_name(f"{result.task}.png"))
        yield Table(title, columns, [TableRow(cells, True) for cells in rows], _notes(result), pictures)


def _notes(result: SavedResult) -> list[str]:
    facts = ", ".join(f"{name} {value}" for name, value in result.facts.items())
    counts = ", ".join(f"{count:,} {name}" for name, count in result.counts.items())
    notes = [
        f"protocol {result.protocol}: {result.selection}; intervals: {result.interval}",
        f"split: {result.split}; {counts}",
        facts,
        *(f"data: {line}" for line in result.coverage),
    ]
    if result.unreadable:
        notes.append(f"{len(result.unreadable)} images could not be read and were left out")
    return notes


# --- runs and pictures --------------------------------------------------------------------------


def _run(folder: Path) -> Run:
    """Gather a training run's facts, loss curves and last samples."""
    config = RunFolder(folder).config()
    facts = [
        ("preset", config.preset),
        ("encoder", config.encoder.name),
        ("method", config.method.name),
        ("data", ", ".join(f"{c.name} {c.options.get('path', '')}".strip() for c in config.data)),
        ("seed", str(config.seed)),
    ]
    lines = _metrics(folder / METRICS)
    pictures = [Picture("losses", _embedded(loss_curves(lines, config)))] if lines else []
    samples = sorted((folder / "samples").glob("*.png"))
    return Run(folder.name, facts, [*pictures, *(p for path in samples[-1:] for p in _pictures(path))])


def _metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics; one that was cut short by a kill, or is no line of ours, is left out."""
    lines = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("stage"), str) and isinstance(record.get("step"), int):
            lines += [record] if abs(record["step"]) < LAST_STEP else []
    return lines


def _pictures(path: Path) -> list[Picture]:
    """Return a PNG as a picture that the page carries; nothing where there is none, or too large a one."""
    if not path.is_file() or path.stat().st_size > LARGEST_PICTURE:
        return []
    return [Picture(f"{path.parent.name}/{path.name}", _embedded(path.read_bytes()))]


def _embedded(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
