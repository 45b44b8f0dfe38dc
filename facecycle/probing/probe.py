"""A probe: labels as far as their images can be read, and what is scored on them under a protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from facecycle import distributed
from facecycle.api import BadFrame, Dataset, Labelled, Task, Verification
from facecycle.data.frames import FileDataset
from facecycle.data.joined import read_images
from facecycle.errors import DataError, NotOffered
from facecycle.probing.differences import between_checkpoints
from facecycle.probing.protocols import ProbeProtocol
from facecycle.probing.result import Result
from facecycle.probing.subject import Subject, facts_of
from facecycle.seeds import seeded


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

    def coverage(self) -> list[str]:
        """Say how complete the data is, and whether it tests people whom it also trains on."""
        lines: list[str] = self.labels.coverage()
        if isinstance(self.labels, Labelled):
            people, number = np.unique(self.labels.groups, return_inverse=True)
            _, folds = np.unique(self.labels.folds, return_inverse=True)
            in_folds = np.zeros((len(people), folds.max() + 1), bool)
            in_folds[number, folds] = True
            if several := int((in_folds.sum(axis=1) > 1).sum()):
                lines.append(f"warning: {several:,} of {len(people):,} people are both tested and trained on")
        return lines

    def classes(self) -> dict[str, int]:
        """Return how many samples there are of each class, where there are classes."""
        names = self.labels.classes if isinstance(self.labels, Labelled) else ()
        return {name: int((self.labels.targets == number).sum()) for number, name in enumerate(names)}

    def _read(self, size: int) -> list[BadFrame | None]:
        self._size, self._pixels = 0, torch.empty(0)
        self._pixels, problems = read_images(self.dataset, self.frames.tolist(), size)
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
        subject: the features, or the checkpoints whose pictures are measured.
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
    compared = subject.checkpoints if len(subject.checkpoints) > 1 else {}
    return Result(
        task=protocol.task,
        protocol=protocol.name,
        selection=protocol.selection,
        interval=protocol.interval,
        split="; ".join(f"{each.task}: {each.labels.note}" if several else each.labels.note for each in samples),
        counts={f"{each.task} {k}" if several else k: n for each in samples for k, n in each.counts().items()},
        classes={name: n for each in samples for name, n in each.classes().items()},
        coverage=[line for each in samples for line in each.coverage()],
        facts=facts,
        unreadable={name: reason for each in samples for name, reason in each.unreadable.items()},
        rows=rows,
        checkpoints={label: facts_of(loaded) for label, loaded in compared.items()},
        differences=between_checkpoints(protocol, rows),
    )
