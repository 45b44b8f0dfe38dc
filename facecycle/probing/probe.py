"""Probing: a data set and a list of features to scores, under a named protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from facecycle import distributed
from facecycle.api import BadFrame, Dataset, Labelled, Verification
from facecycle.data.labels.coverage import coverage
from facecycle.errors import DataError
from facecycle.probing.features import FeatureRow, features
from facecycle.probing.protocols import PROTOCOLS
from facecycle.probing.protocols.cosine import cosine_folds
from facecycle.probing.protocols.facecycle_raf import facecycle_raf
from facecycle.probing.protocols.linear import constant, linear, linear_pose
from facecycle.probing.protocols.scores import Scores
from facecycle.seeds import seeded


@dataclass
class Row:
    """One feature's scores; its dimension is 0 for a baseline that looks at no feature."""

    label: str
    dimension: int
    scores: Scores


@dataclass
class ProbeResult:
    """A probe's table, and every fact needed to read it.

    Attributes:
        task: what was probed.
        protocol, selection, interval: the procedure by name, what was selected how, and what the confidence
            intervals are drawn over.
        note: how the data was split.
        counts: samples, and how many are tested and trained on.
        coverage: what was found of a data set, against what its authors state.
        facts: checkpoint, sha256, data, size, versions.
        bad_frames: frames that could not be read and were left out.
        targets: of all samples: class ids, angles, or whether a pair is one person.
    """

    task: str
    protocol: str
    selection: str
    interval: str
    note: str
    counts: dict[str, int]
    coverage: list[str]
    facts: dict[str, str]
    bad_frames: dict[str, str]
    rows: list[Row]
    targets: np.ndarray = field(repr=False)
    classes: tuple[str, ...] = ()


def run_probe(
    protocol: str,
    dataset: Dataset,
    rows: Sequence[FeatureRow],
    facts: dict[str, str],
    limit: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> ProbeResult:
    """Score features under a protocol; a baseline that ignores the images comes first.

    Several processes share the computing of features; only the first has scores of them.

    Args:
        protocol: a name in `PROTOCOLS`.
        dataset: holds labels for the protocol's task.
        rows: the features.
        facts: what identifies the checkpoint and the data, for the report.
        limit: use at most so many training-only samples, drawn by seed 0.
        say: told how a long protocol comes along.

    Raises:
        DataError: no labels for the task, or nothing that can be read.
    """
    labels = dataset.labelled(PROTOCOLS[protocol].task)
    if isinstance(labels, Verification):
        return _verification(protocol, dataset, labels, rows, facts)
    labels = limited(labels, limit)
    images = _Images(dataset, labels.frames)
    good = distributed.broadcast(lambda: images.readable(rows[0].size))
    labels = labels.take(good)
    targets, folds, groups = labels.targets, labels.folds, labels.groups
    task = PROTOCOLS[protocol].task
    blind = constant(task, targets, folds, groups)
    scored = [Row("mean pose" if task == "pose" else "majority class", 0, blind)]
    mark = _mark(dataset, labels.frames)
    for row in rows:
        pixels = images.at(row.size)
        pixels = pixels if len(good) == len(pixels) else pixels[good]
        if protocol == "facecycle-raf":
            if not distributed.is_main():
                continue
            scores = facecycle_raf(row, pixels, mark, targets, folds, groups, say=say)
            dimension = int(np.prod(row.extract(torch.zeros(1, 3, row.size, row.size)).shape))
        else:
            found = features(row, pixels, mark)
            if not distributed.is_main():
                continue
            fit = linear_pose if task == "pose" else linear
            scores, dimension = fit(found, targets, folds, groups), found.shape[1]
        scored.append(Row(row.label, dimension, scores))
    counts = {
        "samples": len(good),
        "tested": int((folds >= 0).sum()),
        "training only": int((folds < 0).sum()),
    }
    return _result(protocol, labels, counts, facts, images.bad, scored, targets)


def _result(
    protocol: str,
    labels: Labelled | Verification,
    counts: dict[str, int],
    facts: dict[str, str],
    bad: dict[int, BadFrame],
    rows: list[Row],
    targets: np.ndarray,
) -> ProbeResult:
    """Gather a result: what the protocol says of itself, and what the data says of itself."""
    used = PROTOCOLS[protocol]
    problems = {problem.name: problem.reason for problem in bad.values()}
    classes = labels.classes if isinstance(labels, Labelled) else ()
    return ProbeResult(
        task=used.task,
        protocol=protocol,
        selection=used.selection,
        interval=used.interval,
        note=labels.note,
        counts=counts,
        coverage=coverage(labels),
        facts=facts,
        bad_frames=problems,
        rows=rows,
        targets=targets,
        classes=classes,
    )


def limited(labels: Labelled, limit: int | None) -> Labelled:
    """Keep all tested samples and a random choice of those that are only trained on."""
    extra = np.flatnonzero(labels.folds < 0)
    if limit is None or len(extra) <= limit:
        return labels
    order = torch.randperm(len(extra), generator=seeded("limit", 0)).numpy()[:limit]
    kept = np.sort(np.concatenate([extra[order], np.flatnonzero(labels.folds >= 0)]))
    note = f"{labels.note}; {limit} of {len(extra)} training samples"
    return replace(labels.take(kept), note=note)


class _Images:
    """A data set's frames at the size that a feature reads, and those that cannot be read."""

    def __init__(self, dataset: Dataset, frames: np.ndarray) -> None:
        self.dataset = dataset
        self.frames = frames.tolist()
        self.bad: dict[int, BadFrame] = {}
        self._size, self._pixels = 0, torch.empty(0)

    def at(self, size: int) -> Tensor:
        """Return all frames as uint8 (n, 3, size, size); bad ones are zero. One size is kept, for they are large."""
        if size != self._size:
            self._size, self._pixels = 0, torch.empty(0)
            self._pixels, problems = self.dataset.images(self.frames, size)
            self._size = size
            self.bad.update({place: bad for place, bad in enumerate(problems) if bad is not None})
        return self._pixels

    def readable(self, size: int) -> np.ndarray:
        """Return the places of the frames that can be read.

        Raises:
            DataError: none can.
        """
        self.at(size)
        good = np.array([place for place in range(len(self.frames)) if place not in self.bad], dtype=int)
        if not len(good):
            raise none_readable(next(iter(self.bad.values())))
        return good


def none_readable(first: BadFrame) -> DataError:
    """Return the error for data of which nothing can be read."""
    return DataError(f"none of the images can be read; the first is {first.name}: {first.reason}")


def _verification(
    protocol: str, dataset: Dataset, pairs: Verification, rows: Sequence[FeatureRow], facts: dict[str, str]
) -> ProbeResult:
    """Score pairs; each image's features are computed once, however many pairs it is in."""
    frames, places = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    first, second = places[: len(pairs.first)], places[len(pairs.first) :]
    images = _Images(dataset, frames)
    readable = np.isin(np.arange(len(frames)), distributed.broadcast(lambda: images.readable(rows[0].size)))
    kept = readable[first] & readable[second]
    first, second, same, folds = first[kept], second[kept], pairs.same[kept], pairs.folds[kept]
    mark = _mark(dataset, np.where(readable, frames, -1))  # features of what cannot be read now are no one's later
    scored = []
    for row in rows:
        found = features(row, images.at(row.size), mark)
        if not distributed.is_main():
            continue
        scored.append(Row(row.label, found.shape[1], cosine_folds(found[first], found[second], same, folds)))
    counts = {"pairs": len(same), "same": int(same.sum()), "images": len(frames)}
    return _result(protocol, pairs, counts, facts, images.bad, scored, same.astype(int))


def _mark(dataset: Dataset, frames: np.ndarray) -> str:
    return f"{dataset.fingerprint()}:{hashlib.sha256(frames.astype(np.int64).tobytes()).hexdigest()}"
