"""The result of a probe: its rows and the differences between them, as JSON that can be read back and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from facecycle.atomic import write_atomically, write_text
from facecycle.errors import DataError
from facecycle.pages import fill
from facecycle.probing.protocols import PROTOCOLS

RESULT = "result.json"
PAGE = "report.md"
OF_SEVERAL: Any = {"checkpoints": True, "differences": True, "rows": {"__all__": {"checkpoint"}}}
"""What is written only where several checkpoints were probed."""


class Row(BaseModel):
    """The scores of one feature, or of one kind of picture. What is drawn from is not written.

    Attributes:
        feature: what was scored; of several checkpoints, `<label>: <feature>`.
        checkpoint: label of the checkpoint that learned it, where there are several; twins and baselines have none.
        dimensions: of the feature; 0 where the row looks at none.
        metrics: over all tested samples, or the mean over folds; see the protocol.
        intervals: metric to the bounds of its 95 % confidence interval.
        folds: fold number to the metrics of that fold.
        chosen: fold number to the value selected for it on its training part.
        tested: places of the tested samples among all, an array.
        true, predicted: per tested sample a class id or three angles; of a pair, whether it shows one person, and a
            similarity.
        pictures: title to uint8 pictures (n, 3, S, S), in the first row, where pictures are measured.
        items: metric to the values (n,) whose mean it is, and whom each shows (n,); None where they are of folds.
    """

    model_config = ConfigDict(extra="forbid")

    feature: str
    checkpoint: str = ""
    dimensions: int
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    folds: dict[int, dict[str, float]] = {}
    chosen: dict[int, float] = {}
    tested: Any = Field(None, exclude=True, repr=False)
    true: Any = Field(None, exclude=True, repr=False)
    predicted: Any = Field(None, exclude=True, repr=False)
    pictures: dict[str, Any] = Field({}, exclude=True, repr=False)
    items: dict[str, Any] = Field({}, exclude=True, repr=False)

    @property
    def kind(self) -> str:
        """The feature without the label of its checkpoint."""
        return self.feature.removeprefix(f"{self.checkpoint}: ")

    def add(
        self, metric: str, value: float, interval: tuple[float, float] | None = None, items: Any | None = None
    ) -> None:
        """Note a metric, with its interval and what that is drawn from, where there is one."""
        self.metrics[metric] = float(value)
        if interval is not None:
            self.intervals[metric] = interval
        if items is not None:
            self.items[metric] = items


class Difference(BaseModel):
    """One row less another, over the same test items.

    Attributes:
        one, other: the features of the rows.
        best: both are the best features of their checkpoints, as their own scores say.
        metrics, intervals: the difference, and the bounds of its 95 % confidence interval.
        better: the row that is better by the protocol's headline; empty where the interval holds 0.
    """

    model_config = ConfigDict(extra="forbid")

    one: str
    other: str
    best: bool
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    better: str


class Result(BaseModel):
    """A probe's table, and every fact needed to read it.

    Attributes:
        task, protocol, selection, interval: the procedure by name, what was selected how, and what the confidence
            intervals are drawn over.
        split: how the data was split.
        counts: samples, and how many are tested and trained on.
        classes: class name to its samples, where samples have classes.
        coverage: what was found of a data set, against what its authors state, and whether its folds share people.
        facts: checkpoint, sha256, data, size, versions.
        unreadable: images that could not be read and were left out, with the reason.
        checkpoints: label to what identifies a checkpoint, where several were probed.
        differences: between the features of these.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["facecycle-probe/1"] = "facecycle-probe/1"
    task: str
    protocol: str
    selection: str
    interval: str
    split: str
    counts: dict[str, int]
    classes: dict[str, int] = {}
    coverage: list[str]
    facts: dict[str, str]
    unreadable: dict[str, str]
    rows: list[Row]
    checkpoints: dict[str, dict[str, str]] = {}
    differences: list[Difference] = []

    @model_validator(mode="after")
    def _of_a_protocol(self) -> Result:
        if self.protocol not in PROTOCOLS or PROTOCOLS[self.protocol].task != self.task:
            raise ValueError(f"there is no protocol {self.protocol!r} of a task {self.task!r}")
        return self

    @property
    def first_feature(self) -> Row:
        """The row of the first feature, which is the checkpoint's own; else the first row."""
        return next((row for row in self.rows if row.dimensions), self.rows[0])

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the column titles and the rows as text; brackets hold 95 % confidence intervals."""
        metrics = PROTOCOLS[self.protocol].metrics
        found = [name for name in metrics if any(name in row.metrics for row in self.rows)]
        rows = [
            [row.feature, str(row.dimensions or "-"), *(self.cell(row, name) for name in found)] for row in self.rows
        ]
        return ["feature", "dimensions", *(metrics[name].title for name in found)], rows

    def differences_table(self) -> tuple[list[str], list[list[str]]]:
        """Return the column titles and the differences as text; brackets hold 95 % confidence intervals."""
        protocol = PROTOCOLS[self.protocol]
        found = [name for name in protocol.metrics if any(name in each.metrics for each in self.differences)]
        rows = [
            [
                f"{each.one} (best)" if each.best else each.one,
                f"{each.other} (best)" if each.best else each.other,
                *(self.cell(each, name, sign="+") for name in found),
                each.better or "not told apart",
            ]
            for each in self.differences
        ]
        titles = [f"A - B, {protocol.metrics[name].title}" for name in found]
        headline = protocol.metrics[protocol.headline].title
        return ["A", "B", *titles, f"better by {headline}"], rows

    def cell(self, row: Row | Difference, metric: str, sign: str = "") -> str:
        """Return a metric as text, with its interval where there is one, in the unit of its column."""
        if metric not in row.metrics:
            return "-"
        printed = PROTOCOLS[self.protocol].metrics[metric]
        values = [row.metrics[metric], *row.intervals.get(metric, ())]
        value, *bounds = (f"{value * (100 if printed.percent else 1):{sign}.{printed.decimals}f}" for value in values)
        return f"{value} [{', '.join(bounds)}]" if bounds else value


def read_result(path: Path) -> Result:
    """Read a `result.json`.

    Raises:
        DataError: it cannot be read, or is not what a probe writes.
    """
    try:
        return Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path} is not the result of a probe: {where}: {first['msg']}") from error


def write_result(result: Result, out: Path) -> Path:
    """Write `result.json`, the task's picture and `report.md` into a folder; return the page's path.

    Raises:
        RunError: the folder cannot be written.
    """
    left_out = None if result.checkpoints else OF_SEVERAL
    write_text(out / RESULT, result.model_dump_json(indent=1, exclude=left_out) + "\n")
    write_atomically(out / f"{result.task}.png", lambda temporary: PROTOCOLS[result.protocol].draw(result, temporary))
    titles, rows = result.table()
    differences = result.differences_table() if result.differences else None
    page = fill("probe.md.jinja", result=result, titles=titles, rows=rows, differences=differences)
    write_text(out / PAGE, page)
    return out / PAGE
