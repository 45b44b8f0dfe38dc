"""A probe: what is probed on which images, and its result, as JSON that can be read back and as a page."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from facecycle import distributed
from facecycle.api import BadFrame, Dataset, Labelled, Task, Verification
from facecycle.atomic import write_atomically, write_text
from facecycle.data.frames import FileDataset
from facecycle.errors import DataError, NotOffered
from facecycle.networks import Loaded
from facecycle.pages import fill
from facecycle.probing.features import Feature
from facecycle.probing.protocols import PROTOCOLS, ProbeProtocol
from facecycle.seeds import seeded

RESULT = "result.json"
PAGE = "report.md"


@dataclass(frozen=True)
class Subject:
    """What is probed: features, and the checkpoint they or the pictures are of.

    Attributes:
        size: side of the images it reads, in pixels; a baseline may read others.
        features: what is scored; empty where a protocol looks at pictures.
        loaded: networks and their checkpoint, where it is one.
    """

    size: int
    features: Sequence[Feature] = ()
    loaded: Loaded | None = None


class Samples:
    """Labels of a data set as far as their images can be read, and these images.

    Attributes:
        task: whose labels they are.
        labels: those that are left.
        frames: (n,) their frames; of pairs, each frame once, in rising order.
        mark: identifies the images, for what is computed from them and kept.
        unreadable: names of the images that could not be read, with the reason.
    """

    def __init__(self, dataset: Dataset, task: Task, size: int, limit: int | None = None) -> None:
        labels: Any = dataset.labelled(task)  # of either kind, as the protocol that asks for this task expects
        self.labels: Any = _limited(labels, limit) if isinstance(labels, Labelled) else labels
        self.dataset, self.task, self.frames = dataset, task, _frames(self.labels)
        self.unreadable: dict[str, str] = {}
        self._size, self._pixels = 0, torch.empty(0)
        usable = distributed.broadcast(lambda: self._usable(size))
        if len(usable) < len(self.labels.folds):
            self.labels = self.labels.take(usable)
            left = np.isin(self.frames, _frames(self.labels))
            self.frames, self._pixels = self.frames[left], self._pixels[left] if self._size else self._pixels
        digest = hashlib.sha256(self.frames.astype(np.int64).tobytes()).hexdigest()
        self.mark = f"{dataset.fingerprint()}:{digest}"

    def pixels(self, size: int) -> torch.Tensor:
        """Return the images as uint8 (n, 3, size, size). One size is kept, because they are large."""
        if size != self._size:
            self._read(size)
        return self._pixels

    def name(self, place: int) -> str:
        """Return the name of one of the frames, by its place among them."""
        frame = int(self.frames[place])
        return self.dataset.name(frame) if isinstance(self.dataset, FileDataset) else f"image {frame}"

    def counts(self) -> dict[str, int]:
        """Return how many samples there are, of which kinds."""
        if isinstance(self.labels, Verification):
            same = self.labels.same
            return {"pairs": len(same), "same": int(same.sum()), "images": len(self.frames)}
        tested = int((self.labels.folds >= 0).sum())
        return {"samples": len(self.frames), "tested": tested, "training only": len(self.frames) - tested}

    def classes(self) -> dict[str, int]:
        """Return how many samples there are of each class, where there are classes."""
        names = self.labels.classes if isinstance(self.labels, Labelled) else ()
        return {name: int((self.labels.targets == number).sum()) for number, name in enumerate(names)}

    def _read(self, size: int) -> list[BadFrame | None]:
        self._size, self._pixels = 0, torch.empty(0)
        self._pixels, problems = self.dataset.images(self.frames.tolist(), size)
        self._size = size
        self.unreadable |= {problem.name: problem.reason for problem in problems if problem is not None}
        return problems

    def _usable(self, size: int) -> np.ndarray:
        """Return the places of the labels whose images can be read."""
        gone = self.frames[[problem is not None for problem in self._read(size)]]
        labels = self.labels
        images = [labels.frames] if isinstance(labels, Labelled) else [labels.first, labels.second]
        places = np.flatnonzero(~np.isin(images, gone).any(axis=0))
        if not len(places):
            name, reason = next(iter(self.unreadable.items()))
            raise DataError(f"none of the images can be read; the first is {name}: {reason}")
        return places


def _frames(labels: Labelled | Verification) -> np.ndarray:
    return labels.frames if isinstance(labels, Labelled) else np.unique(np.r_[labels.first, labels.second])


def _limited(labels: Labelled, limit: int | None) -> Labelled:
    """Keep all tested samples and a random choice of those that are only trained on."""
    extra = np.flatnonzero(labels.folds < 0)
    if limit is None or len(extra) <= limit:
        return labels
    order = torch.randperm(len(extra), generator=seeded("limit", 0)).numpy()[:limit]
    kept = np.sort(np.concatenate([extra[order], np.flatnonzero(labels.folds >= 0)]))
    note = f"{labels.note}; {limit} of {len(extra)} training samples"
    return replace(labels.take(kept), note=note)


def run_probe(
    protocol: ProbeProtocol,
    subject: Subject,
    dataset: Dataset,
    facts: dict[str, str],
    limit: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Score what is probed under a protocol.

    Several processes share the extraction of features; only the first has rows.

    Args:
        protocol: one of `PROTOCOLS`.
        subject: the features, or the checkpoint whose pictures are measured.
        dataset: holds the labels.
        facts: what identifies the subject and the data, for the report.
        limit: use at most so many training-only samples, drawn by seed 0.
        say: told how a long protocol comes along.

    Raises:
        DataError: there are no labels that the protocol reads, or nothing can be read.
    """
    samples: list[Samples] = []
    for task in protocol.labels:
        try:
            samples.append(Samples(dataset, task, subject.size, limit))
        except NotOffered:
            if task == protocol.labels[-1] and not samples:
                raise
    rows = protocol.score(subject, samples, say)
    several = len(protocol.labels) > 1
    return Result(
        task=protocol.task,
        protocol=protocol.name,
        selection=protocol.selection,
        interval=protocol.interval,
        split="; ".join(f"{each.task}: {each.labels.note}" if several else each.labels.note for each in samples),
        counts={f"{each.task} {k}" if several else k: n for each in samples for k, n in each.counts().items()},
        classes={name: n for each in samples for name, n in each.classes().items()},
        coverage=[line for each in samples for line in each.labels.coverage()],
        facts=facts,
        unreadable={name: reason for each in samples for name, reason in each.unreadable.items()},
        rows=rows,
    )


# --- results --------------------------------------------------------------------------------------


class Row(BaseModel):
    """The scores of one feature, or of one kind of picture. What is drawn from is not written.

    Attributes:
        feature: what was scored.
        dimensions: of the feature; 0 where the row looks at none.
        metrics: over all tested samples, or the mean over folds; see the protocol.
        intervals: metric to the bounds of its 95 % confidence interval.
        folds: fold number to the metrics of that fold.
        chosen: fold number to the value selected for it on its training part.
        tested: places of the tested samples among all, an array.
        true, predicted: per tested sample a class id or three angles; of a pair, whether it shows one person, and a
            similarity.
        pictures: title to uint8 pictures (n, 3, S, S), in the first row, where pictures are measured.
    """

    model_config = ConfigDict(extra="forbid")

    feature: str
    dimensions: int
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    folds: dict[int, dict[str, float]] = {}
    chosen: dict[int, float] = {}
    tested: Any = Field(None, exclude=True, repr=False)
    true: Any = Field(None, exclude=True, repr=False)
    predicted: Any = Field(None, exclude=True, repr=False)
    pictures: dict[str, Any] = Field({}, exclude=True, repr=False)

    def add(self, metric: str, value: float, interval: tuple[float, float] | None = None) -> None:
        """Note a metric, with its interval where there is one."""
        self.metrics[metric] = float(value)
        if interval is not None:
            self.intervals[metric] = interval


class Result(BaseModel):
    """A probe's table, and every fact needed to read it.

    Attributes:
        task, protocol, selection, interval: the procedure by name, what was selected how, and what the confidence
            intervals are drawn over.
        split: how the data was split.
        counts: samples, and how many are tested and trained on.
        classes: class name to its samples, where samples have classes.
        coverage: what was found of a data set, against what its authors state.
        facts: checkpoint, sha256, data, size, versions.
        unreadable: images that could not be read and were left out, with the reason.
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

    def cell(self, row: Row, metric: str) -> str:
        """Return a metric as text, with its interval where there is one, in the unit of its column."""
        if metric not in row.metrics:
            return "-"
        printed = PROTOCOLS[self.protocol].metrics[metric]
        values = [row.metrics[metric], *row.intervals.get(metric, ())]
        value, *bounds = (f"{value * (100 if printed.percent else 1):.{printed.decimals}f}" for value in values)
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
    write_text(out / RESULT, result.model_dump_json(indent=1) + "\n")
    write_atomically(out / f"{result.task}.png", lambda temporary: PROTOCOLS[result.protocol].draw(result, temporary))
    titles, rows = result.table()
    write_text(out / PAGE, fill("probe.md.jinja", result=result, titles=titles, rows=rows))
    return out / PAGE
