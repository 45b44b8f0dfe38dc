"""Probing: what is probed, and a data set's labels and images, to a result under a named protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from facecycle import distributed
from facecycle.api import BadFrame, Dataset, Labelled, Task, Verification
from facecycle.data.check import coverage
from facecycle.errors import DataError, NotOffered
from facecycle.networks import Loaded
from facecycle.probing.features import Feature, extract_once
from facecycle.probing.protocols import ProbeProtocol
from facecycle.probing.result import Result, Row
from facecycle.seeds import seeded


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
        labels: Any = dataset.labelled(task)  # either kind, as the protocol that asked for this task expects
        if isinstance(labels, Labelled):
            labels = _limited(labels, limit)
            self.frames = labels.frames
        else:
            self.frames = np.unique(np.r_[labels.first, labels.second])
        self.dataset, self.task = dataset, task
        self.unreadable: dict[str, str] = {}
        self._size, self._pixels = 0, torch.empty(0)
        good = distributed.broadcast(lambda: self._readable(size))
        if len(good) < len(self.frames):
            self.frames = self.frames[good]
            self._pixels = self._pixels[good] if self._size else self._pixels
            labels = labels.take(good if isinstance(labels, Labelled) else _pairs_of(labels, self.frames))
        self.labels = labels
        digest = hashlib.sha256(self.frames.astype(np.int64).tobytes()).hexdigest()
        self.mark = f"{dataset.fingerprint()}:{digest}"

    def pixels(self, size: int) -> torch.Tensor:
        """Return the images as uint8 (n, 3, size, size). One size is kept, because they are large."""
        if size != self._size:
            self._read(size)
        return self._pixels

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where the first and the second image of each pair are among the frames."""
        return np.searchsorted(self.frames, self.labels.first), np.searchsorted(self.frames, self.labels.second)

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

    def _readable(self, size: int) -> np.ndarray:
        problems = self._read(size)
        good = np.flatnonzero([problem is None for problem in problems])
        if not len(good):
            name, reason = next(iter(self.unreadable.items()))
            raise DataError(f"none of the images can be read; the first is {name}: {reason}")
        return good


def _limited(labels: Labelled, limit: int | None) -> Labelled:
    """Keep all tested samples and a random choice of those that are only trained on."""
    extra = np.flatnonzero(labels.folds < 0)
    if limit is None or len(extra) <= limit:
        return labels
    order = torch.randperm(len(extra), generator=seeded("limit", 0)).numpy()[:limit]
    kept = np.sort(np.concatenate([extra[order], np.flatnonzero(labels.folds >= 0)]))
    note = f"{labels.note}; {limit} of {len(extra)} training samples"
    return replace(labels.take(kept), note=note)


def _pairs_of(pairs: Verification, frames: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.isin(pairs.first, frames) & np.isin(pairs.second, frames))


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
    whose = {each.task: f"{each.task} " if len(protocol.labels) > 1 else "" for each in samples}
    return Result(
        task=protocol.task,
        protocol=protocol.name,
        selection=protocol.selection,
        interval=protocol.interval,
        split="; ".join(whose[each.task] + each.labels.note for each in samples),
        counts={whose[each.task] + name: n for each in samples for name, n in each.counts().items()},
        classes={name: n for each in samples for name, n in each.classes().items()},
        coverage=[line for each in samples for line in coverage(each.labels)],
        facts=facts,
        unreadable={name: reason for each in samples for name, reason in each.unreadable.items()},
        rows=rows,
    )


def score_features(subject: Subject, samples: Samples, fit: Callable[[np.ndarray, Any], Row]) -> list[Row]:
    """Extract each feature, in all processes, and score it in the first, by what maps features and labels to a row."""
    rows = []
    for feature in subject.features:
        found = extract_once(feature, samples.pixels(feature.size), samples.mark)
        if distributed.is_main():
            row = fit(found, samples.labels)
            row.feature = feature.label
            rows.append(row)
    return rows
