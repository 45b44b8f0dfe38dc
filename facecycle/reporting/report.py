"""One report of many results: the paper's tables with our rows in them, loss curves, samples and environment."""

from __future__ import annotations

import base64
import io
import json
import tomllib
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from facecycle.atomic import write_text
from facecycle.checkpoints import model_file
from facecycle.config.settings import RunConfig
from facecycle.errors import DataError
from facecycle.pages import drawable, fill
from facecycle.pretraining.run_folder import CONFIG, METRICS, RunFolder
from facecycle.probing.result import RESULT, Result, read_result
from facecycle.reporting.tables import Part, notes, paper_tables, table

LARGEST_PICTURE = 4 * 1024**2
"""Bytes; a larger picture is named in the report, not carried in it."""
PAIRED = "best marks the best feature of each checkpoint, chosen by the same table, which flatters it"
LAST_STEP = 2**53
"""No run takes so many steps, and no plot tells larger numbers apart."""
MOST = 32
"""Stages of a run that are drawn, and curves of a stage."""


def write_report(folders: Sequence[Path], out: Path) -> tuple[Path, Path]:
    """Write `report.html`, which carries its pictures, and `report.md` into a folder; return both paths.

    Args:
        folders: runs, probes, translations, or folders that hold them.
        out: folder to write to.

    Raises:
        DataError: a folder does not exist, none holds anything to report, or a result is malformed.
        RunError: the report cannot be written.
    """
    results, runs, sheets = _find(folders)
    published = tomllib.loads((resources.files("facecycle.reporting") / "published.toml").read_text("utf-8"))
    values = {
        "source": published["source"],
        "tables": [*paper_tables(published, [result for _, result in results]), *_own_tables(results)],
        "runs": [_run(folder) for folder in runs],
        "samples": [picture for sheet in sheets for picture in _pictures(sheet)],
        "environment": list(model_file.environment().items()),
    }
    pages = out / "report.html", out / "report.md"
    for page in pages:
        write_text(page, fill(f"{page.name}.jinja", **values))
    return pages


def _find(folders: Sequence[Path]) -> tuple[list[tuple[Path, Result]], list[Path], list[Path]]:
    """Return the results, runs and contact sheets below the folders; none of them is what a report wrote itself."""
    results, runs, sheets = [], [], []
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}", hint="Name folders of runs, probes or translations.")
        # Files alone: to open a pipe would be to wait for whoever writes to it.
        results += [(path, read_result(path)) for path in sorted(folder.rglob(RESULT)) if path.is_file()]
        metrics = [path for path in sorted(folder.rglob(METRICS)) if path.is_file()]
        runs += [path.parent for path in metrics if (path.parent / CONFIG).is_file()]
        sheets += sorted(folder.rglob("contact_sheet.png"))
    if not (results or runs or sheets):
        raise DataError(
            f"nothing to report in {', '.join(map(str, folders))}",
            hint="Expected folders that pretrain, probe or translate wrote.",
        )
    return results, runs, sheets


# --- tables -------------------------------------------------------------------------------------


def _own_tables(results: list[tuple[Path, Result]]) -> Iterator[Part]:
    """Yield each result as a table of its own, with its picture."""
    for path, result in results:
        columns, rows = result.table()
        title = f"{result.task}: {result.protocol} on {result.facts.get('tested on') or result.facts.get('data', '?')}"
        pictures = _pictures(path.with_name(f"{result.task}.png"))
        yield table(title, columns, [{"cells": cells, "ours": True} for cells in rows], notes(result), pictures)
        if result.differences:
            columns, lines = result.differences_table()
            cells = [{"cells": line, "ours": True} for line in lines]
            yield table(f"{title}: differences", columns, cells, [f"paired over the same test items; {PAIRED}"])


# --- runs and pictures --------------------------------------------------------------------------


def _run(folder: Path) -> Part:
    """Gather a training run's facts, loss curves and last samples."""
    config = RunFolder(folder).config()
    facts = [
        ("preset", config.preset or "none"),
        ("encoder", config.encoder.name),
        ("method", config.method.name),
        ("data", ", ".join(f"{c.name} {c.options.get('path', '')}".strip() for c in config.data)),
        ("seed", str(config.seed)),
    ]
    lines = _metrics(folder / METRICS)
    pictures = [_picture("losses", loss_curves(lines, config))] if lines else []
    for path in sorted((folder / "samples").glob("*.png"))[-1:]:
        pictures += _pictures(path)
    return {"name": folder.name, "facts": facts, "pictures": pictures}


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


def loss_curves(lines: list[dict[str, Any]], config: RunConfig) -> bytes:
    """Draw the losses of a run against its steps, one panel per stage; returns a PNG."""
    from matplotlib.figure import Figure

    stages = list(dict.fromkeys(str(line.get("stage")) for line in lines))[:MOST]
    losses = {"total", *(label for stage in config.stages.values() for label in stage.losses)}
    figure = Figure(figsize=(4.5 * len(stages), 3.5), layout="constrained")
    for axes, stage in zip(figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True):
        mine = [line for line in lines if str(line.get("stage")) == stage]
        for name in sorted({k for line in mine for k in line} & losses)[:MOST]:
            points = [(line["step"], line[name]) for line in mine if isinstance(line.get(name), float)]
            if points:
                axes.plot(*zip(*points, strict=True), label=drawable(name), linewidth=1)
        axes.set(xlabel="step", title=drawable(stage))
        if axes.lines:
            axes.legend(fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _pictures(path: Path) -> list[Part]:
    """Return a PNG as a picture that the page carries; nothing where there is none, or too large a one."""
    if not path.is_file() or path.stat().st_size > LARGEST_PICTURE:
        return []
    return [_picture(f"{path.parent.name}/{path.name}", path.read_bytes())]


def _picture(name: str, png: bytes) -> Part:
    return {"name": name, "data": f"data:image/png;base64,{base64.b64encode(png).decode()}"}
