"""Probing: a data set and a list of features to scores, under a named protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from facecycle import registry
from facecycle.api import BadFrame, Dataset, Labelled, Method, Task, Verification
from facecycle.data.pairs import seeded
from facecycle.engine import protocols
from facecycle.engine.build import build_method
from facecycle.engine.features import FeatureRow, features, read_frames
from facecycle.engine.load import Loaded
from facecycle.engine.protocols import Scores
from facecycle.errors import ConfigError, DataError, did_you_mean

PROTOCOLS: dict[Task, str] = {"emotion": "linear", "pose": "linear-pose", "verify": "cosine-10fold"}
SELECTION: dict[Task, str] = {
    "emotion": f"C from {list(protocols.C_GRID)} by {protocols.INNER_FOLDS}-fold cross-validation inside each "
    "training split, groups kept together",
    "pose": f"alpha from {[round(a, 2) for a in protocols.ALPHA_GRID]} by {protocols.INNER_FOLDS}-fold "
    "cross-validation inside each training split, groups kept together",
    "verify": "one threshold per fold, chosen on the other folds; features centred by the other folds' mean",
}
BASELINES = ("hog", "lbp", "pixels")
DEFAULT_FEATURES: dict[Task, tuple[str, ...]] = {
    "emotion": ("code", "conv"),
    "pose": ("code", "conv"),
    "verify": ("identity", "identity_conv", "conv"),
}


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
        counts: samples, and how many are tested and trained on.
        facts: checkpoint, sha256, data, size, seed.
        bad_frames: frames that could not be read and were left out.
        targets: of all samples: class ids, angles, or whether a pair is one person.
    """

    task: Task
    protocol: str
    selection: str
    note: str
    counts: dict[str, int]
    facts: dict[str, str]
    bad_frames: dict[str, str]
    rows: list[Row]
    targets: np.ndarray = field(repr=False)
    classes: tuple[str, ...] = ()


def checkpoint_rows(loaded: Loaded, task: Task, names: Sequence[str] = ()) -> list[FeatureRow]:
    """Return the checkpoint's features, each followed by its random twin.

    The twin is the same architecture with freshly initialised weights. Without names, the task's usual
    features are taken as far as the checkpoint trained them.

    Raises:
        ConfigError: a name that the method does not have, or that the checkpoint did not train.
    """
    method, checkpoint = loaded.method, loaded.checkpoint
    known = method.features_from
    for name in (part for names_ in names for part in names_.split("+")):
        if name not in known:
            raise ConfigError(
                f"there is no feature {name!r}",
                hint=did_you_mean(name, known) or f"Features: {', '.join(known)}.",
            )
        if known[name] not in checkpoint.trained:
            raise ConfigError(
                f"the feature {name!r} needs the {known[name]} cycle, which {checkpoint.path} did not train"
            )
    if not names:
        names = [n for n in DEFAULT_FEATURES[task] if known.get(n) in checkpoint.trained] or [
            n for n, cycle in known.items() if cycle in checkpoint.trained
        ]
    seed = checkpoint.config.seed + 1
    random = checkpoint.config.model_copy(update={"seed": seed})
    twin = build_method(random, weights_follow=True).requires_grad_(False).eval()
    rows = []
    for name in names:
        rows.append(FeatureRow(name, f"{checkpoint.sha256()}:{name}", _extractor(method, name)))
        digest = hashlib.sha256(checkpoint.config.digest_source().encode()).hexdigest()
        rows.append(FeatureRow(f"{name}, random twin", f"random:{digest}:{seed}:{name}", _extractor(twin, name)))
    return rows


def _extractor(method: Method, name: str) -> Callable[[Tensor], Tensor]:
    parts = name.split("+")
    return lambda images: torch.cat([method.features(images, part) for part in parts], dim=1)


def encoder_row(name: str) -> FeatureRow:
    """Return the row of a registered encoder's flattened map, such as `hog`."""
    encoder = registry.build("encoder", name).eval()
    component = registry.find("encoder", name)
    return FeatureRow(name, f"{component.origin}:{name}", lambda images: encoder(images).flatten(1))


def run_probe(
    task: Task,
    dataset: Dataset,
    rows: Sequence[FeatureRow],
    size: int,
    facts: dict[str, str],
    limit: int | None = None,
) -> ProbeResult:
    """Score features on a task; a baseline that ignores the images comes first.

    Args:
        task: what is probed.
        dataset: holds labels for the task.
        rows: the features.
        size: side of the images in pixels.
        facts: what identifies the checkpoint and the data, for the report.
        limit: use at most so many training-only samples, drawn by seed 0.

    Raises:
        DataError: no labels for the task, or nothing that can be read.
    """
    labels = dataset.labelled(task)
    if isinstance(labels, Verification):
        return _verification(task, dataset, labels, rows, size, facts)
    labels = _limited(labels, limit)
    pixels, bad = read_frames(dataset, labels.frames.tolist(), size)
    good = np.array([row for row in range(len(labels.frames)) if row not in bad], dtype=int)
    _require(len(good), bad)
    targets, folds, groups = labels.targets[good], labels.folds[good], labels.groups[good]
    protocol = protocols.linear if task == "emotion" else protocols.linear_pose
    constant = protocol(np.zeros((len(good), 1)), targets, folds, groups)
    scored = [Row("majority class" if task == "emotion" else "mean pose", 0, constant)]
    pixels, mark = pixels[good], _mark(dataset, labels.frames[good])
    for row in rows:
        found = features(row, pixels, mark)
        scored.append(Row(row.label, found.shape[1], protocol(found, targets, folds, groups)))
    counts = {
        "samples": len(good),
        "tested": int((folds >= 0).sum()),
        "training only": int((folds < 0).sum()),
    }
    problems = {problem.name: problem.reason for problem in bad.values()}
    return ProbeResult(
        task,
        PROTOCOLS[task],
        SELECTION[task],
        labels.note,
        counts,
        facts,
        problems,
        scored,
        targets,
        labels.classes,
    )


def _limited(labels: Labelled, limit: int | None) -> Labelled:
    """Keep all tested samples and a random choice of those that are only trained on."""
    extra = np.flatnonzero(labels.folds < 0)
    if limit is None or len(extra) <= limit:
        return labels
    order = torch.randperm(len(extra), generator=seeded("limit", 0)).numpy()[:limit]
    kept = np.sort(np.concatenate([extra[order], np.flatnonzero(labels.folds >= 0)]))
    note = f"{labels.note}; {limit} of {len(extra)} training samples"
    return Labelled(
        labels.frames[kept],
        labels.targets[kept],
        labels.folds[kept],
        labels.groups[kept],
        labels.classes,
        note,
    )


def _verification(
    task: Task,
    dataset: Dataset,
    pairs: Verification,
    rows: Sequence[FeatureRow],
    size: int,
    facts: dict[str, str],
) -> ProbeResult:
    """Score pairs; each image's features are computed once, however many pairs it is in."""
    frames, places = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    first, second = places[: len(pairs.first)], places[len(pairs.first) :]
    pixels, bad = read_frames(dataset, frames.tolist(), size)
    unreadable = np.isin(np.arange(len(frames)), list(bad))
    kept = ~(unreadable[first] | unreadable[second])
    _require(int(kept.sum()), bad)
    first, second, same, folds = first[kept], second[kept], pairs.same[kept], pairs.folds[kept]
    scored = []
    for row in rows:
        found = features(row, pixels, _mark(dataset, frames))
        scores = protocols.cosine_folds(found[first], found[second], same, folds)
        scored.append(Row(row.label, found.shape[1], scores))
    counts = {"pairs": len(same), "same": int(same.sum()), "images": len(frames)}
    problems = {problem.name: problem.reason for problem in bad.values()}
    return ProbeResult(
        task, PROTOCOLS[task], SELECTION[task], pairs.note, counts, facts, problems, scored, same.astype(int)
    )


def _mark(dataset: Dataset, frames: np.ndarray) -> str:
    return f"{dataset.fingerprint()}:{hashlib.sha256(frames.astype(np.int64).tobytes()).hexdigest()}"


def _require(count: int, bad: dict[int, BadFrame]) -> None:
    if count == 0:
        first = next(iter(bad.values()))
        raise DataError(f"none of the images can be read; the first is {first.name}: {first.reason}")
