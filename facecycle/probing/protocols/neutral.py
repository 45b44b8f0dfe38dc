"""Translation as an evaluation: is a neutral face neutral, frontal, and still the same person?

Emotion, identity and pose are read from HoG features of the pictures, an instrument that no checkpoint made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from facecycle.api import Dataset, KnowsNeutral, Labelled, Task, Verification
from facecycle.data.images import from_uint8, to_uint8
from facecycle.errors import ConfigError, DataError, NotOffered
from facecycle.networks import Loaded
from facecycle.probing.features import extract_all
from facecycle.probing.probe import ProbeResult, Row, limited, none_readable
from facecycle.probing.protocols.cosine import cosine_folds
from facecycle.probing.protocols.linear import ALPHA_GRID, linear, standardise
from facecycle.probing.protocols.scores import Scores, bootstrap
from facecycle.probing.rows import baseline_rows
from facecycle.seeds import seeded
from facecycle.translation.files import panels_of

PANELS = ("input", "frontal", "neutral")
BATCH = 64
SHOWN = 8
METRICS = {
    "l1": "L1 to truth",
    "ssim": "SSIM to truth",
    "emotion": "emotion (%)",
    "verification": "verification (%)",
    "yaw": "yaw spread (deg)",
}
"""Metric to the title of its column."""


def evaluate_neutral(
    loaded: Loaded, dataset: Dataset, facts: dict[str, str], limit: int | None = None
) -> tuple[ProbeResult, dict[str, Tensor]]:
    """Measure the checkpoint's neutral faces as far as the data set knows the truth.

    L1 and SSIM against the true neutral face, pixels in [0, 1], where the data set renders it
    (`neutral_images`); emotion and verification accuracy of the pictures, of which the first should fall to
    chance and the second should stay; and the deviation over the faces of the yaw that a ridge regression
    trained on the inputs finds, which should shrink.

    Args:
        loaded: networks and their checkpoint.
        dataset: the faces.
        facts: what identifies the checkpoint and the data, for the report.
        limit: use at most so many training-only samples, drawn by seed 0.

    Returns:
        The table, one row a panel, and some panels to look at: name to uint8 (n, 3, S, S).

    Raises:
        ConfigError: the checkpoint did not train the panels.
        DataError: the data set has no labels of any kind, or nothing can be read.
    """
    cycles = {loaded.method.panels_from[panel] for panel in PANELS if panel != "input"}
    if cycles - loaded.checkpoint.trained:
        raise ConfigError(f"{loaded.checkpoint.path} did not train the cycle that makes neutral faces")
    hog = baseline_rows()[0]
    metrics: dict[str, dict[str, float]] = {panel: {} for panel in PANELS}
    intervals: dict[str, dict[str, tuple[float, float]]] = {panel: {} for panel in PANELS}
    notes: list[str] = []
    counts: dict[str, int] = {}
    bad: dict[str, str] = {}
    shown: dict[str, Tensor] = {}
    for task in ("pose", "emotion", "verify"):
        labels = _labels(dataset, task, limit)
        if labels is None:
            continue
        labels, frames, pixels = _read(dataset, labels, loaded.checkpoint.config.size, bad)
        panels = {"input": pixels, **translated(loaded, pixels, None, ["frontal", "neutral"])}
        counts[f"{task} images"] = len(frames)
        notes.append(f"{task}: {labels.note}")
        # The pictures are looked at by the instrument at its own size, 64 px.
        found = {panel: extract_all(hog, _at(images, hog.size)).numpy() for panel, images in panels.items()}
        measured = _score(task, labels, frames, found)
        if not shown:
            tested = np.flatnonzero(labels.folds >= 0) if isinstance(labels, Labelled) else np.arange(len(frames))
            panels = {panel: images[tested] for panel, images in panels.items()}
            if isinstance(dataset, KnowsNeutral):
                truth = dataset.neutral_images(frames[tested].tolist(), loaded.checkpoint.config.size)
                measured += _against_truth(panels, truth, _subjects(labels, tested))
                panels["truth"] = truth
            shown = {panel: images[:SHOWN] for panel, images in panels.items()}
        for panel, metric, value, interval in measured:
            metrics[panel][metric] = value
            if interval is not None:
                intervals[panel][metric] = interval
    if not shown:
        raise DataError("the data set has no labels of any kind, so there is nothing to measure")
    rows = [Row(panel, 0, Scores(metrics[panel], intervals=intervals[panel])) for panel in PANELS]
    return _result(rows, "; ".join(notes), counts, facts, bad), shown


def _result(
    rows: list[Row], note: str, counts: dict[str, int], facts: dict[str, str], bad: dict[str, str]
) -> ProbeResult:
    """Gather the table, and say how it was made."""
    return ProbeResult(
        task="neutral",
        protocol="neutral",
        selection="HoG features at 64 px of each panel; emotion by the protocol linear, verification by cosine-10fold, "
        "yaw by a ridge regression trained on the inputs",
        interval="bootstrap over subjects; verification: Student interval over folds",
        note=note,
        counts=counts,
        coverage=[],
        facts=facts,
        bad_frames=bad,
        rows=rows,
        targets=np.zeros(0),
    )


def _labels(dataset: Dataset, task: Task, limit: int | None) -> Labelled | Verification | None:
    try:
        labels = dataset.labelled(task)
    except NotOffered:
        return None
    return labels if isinstance(labels, Verification) else limited(labels, limit)


def _subjects(labels: Labelled | Verification, places: np.ndarray) -> np.ndarray:
    return labels.groups[places] if isinstance(labels, Labelled) else places


def _read(
    dataset: Dataset, labels: Labelled | Verification, size: int, bad: dict[str, str]
) -> tuple[Labelled | Verification, np.ndarray, Tensor]:
    """Read what labels name: those that are left, their frames in rising order for pairs, uint8 (n, 3, S, S).

    Frames that cannot be read are left out and noted in `bad`.

    Raises:
        DataError: none can be read.
    """
    frames = labels.frames if isinstance(labels, Labelled) else np.unique(np.r_[labels.first, labels.second])
    pixels, found = dataset.images(frames.tolist(), size)
    problems = [problem for problem in found if problem is not None]
    if not problems:
        return labels, frames, pixels
    if len(problems) == len(found):
        raise none_readable(problems[0])
    bad.update({problem.name: problem.reason for problem in problems})
    good = np.flatnonzero([problem is None for problem in found])
    if isinstance(labels, Labelled):
        left: Labelled | Verification = labels.take(good)
    else:
        seen = np.isin([labels.first, labels.second], frames[good]).all(axis=0)
        left = labels.take(np.flatnonzero(seen))
    return left, frames[good], pixels[good]


def translated(loaded: Loaded, pixels: Tensor, drivers: Tensor | None, panels: Sequence[str]) -> dict[str, Tensor]:
    """Translate uint8 images (n, 3, S, S), with as many drivers or none, to the named panels of the same kind."""
    parts: dict[str, list[Tensor]] = {panel: [] for panel in panels}
    noise = seeded("neutral", 0)
    for rows in torch.arange(len(pixels)).split(BATCH):
        others = None if drivers is None else from_uint8(drivers[rows])
        made = panels_of(loaded, from_uint8(pixels[rows]), others, noise, panels)
        for panel in panels:
            parts[panel].append(to_uint8(made[panel]))
    return {panel: torch.cat(images) for panel, images in parts.items()}


def _at(pixels: Tensor, size: int) -> Tensor:
    from torchvision.transforms.v2.functional import resize

    return pixels if pixels.shape[-1] == size else resize(pixels, [size, size], antialias=True)


Interval = tuple[float, float] | None
Measured = tuple[str, str, float, Interval]
"""A panel, a metric, its value and its interval."""


def _score(
    task: Task, labels: Labelled | Verification, frames: np.ndarray, found: dict[str, np.ndarray]
) -> list[Measured]:
    """Read the task's labels from every panel's features."""
    if isinstance(labels, Verification):
        first, second = np.searchsorted(frames, labels.first), np.searchsorted(frames, labels.second)
        scored = {p: cosine_folds(f[first], f[second], labels.same, labels.folds) for p, f in found.items()}
        return [(p, "verification", s.metrics["accuracy"], s.intervals.get("accuracy")) for p, s in scored.items()]
    if task == "emotion":
        scored = {p: linear(f, labels.targets, labels.folds, labels.groups) for p, f in found.items()}
        return [(p, "emotion", s.metrics["accuracy"], s.intervals.get("accuracy")) for p, s in scored.items()]
    return [(p, "yaw", *_spread(values, labels)) for p, values in _yaw(labels, found).items()]


def _against_truth(panels: dict[str, Tensor], truth: Tensor, subjects: np.ndarray) -> list[Measured]:
    """Compare every panel's pictures with the true neutral faces."""
    return [
        (panel, metric, float(values.mean()), bootstrap(values, subjects))
        for panel, images in panels.items()
        for metric, values in _distances(images, truth).items()
    ]


def _yaw(labels: Labelled, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the yaw of every panel of the tested faces, read by a model trained on the other faces' inputs."""
    if not (labels.folds >= 0).any() or len(set(labels.folds.tolist())) < 2:
        raise DataError("pose needs samples to train on and samples to test", hint="Use data with folds.")
    yaw = {panel: np.zeros(len(labels.folds)) for panel in found}
    for fold in sorted(set(labels.folds[labels.folds >= 0].tolist())):
        train, test = labels.folds != fold, labels.folds == fold
        shown = (features[test] for features in found.values())
        for panel, values in zip(found, read_yaw(found["input"][train], labels.targets[train, 1], *shown), strict=True):
            yaw[panel][test] = values
    return {panel: values[labels.folds >= 0] for panel, values in yaw.items()}


def read_yaw(features: np.ndarray, yaw: np.ndarray, *shown: np.ndarray) -> list[np.ndarray]:
    """Return the yaw that a ridge regression, trained on features (n, D) of a known yaw, reads from others."""
    from sklearn.linear_model import RidgeCV

    scaled, *others = standardise(features, *shown)
    model = RidgeCV(ALPHA_GRID).fit(scaled, yaw)
    return [model.predict(other) for other in others]


def _spread(values: np.ndarray, labels: Labelled) -> tuple[float, Interval]:
    squares = (values - values.mean()) ** 2
    bounds = bootstrap(squares, labels.groups[labels.folds >= 0])
    return float(values.std()), bounds and (float(np.sqrt(bounds[0])), float(np.sqrt(bounds[1])))


def _distances(pixels: Tensor, truth: Tensor) -> dict[str, np.ndarray]:
    """Return L1 and SSIM of each image (n, 3, S, S) against its truth, on pixels in [0, 1]."""
    from skimage.metrics import structural_similarity

    a, b = (x.float().div(255) for x in (pixels, truth))
    similar = [
        structural_similarity(x.numpy(), y.numpy(), channel_axis=0, data_range=1.0) for x, y in zip(a, b, strict=True)
    ]
    return {"l1": (a - b).abs().mean(dim=(1, 2, 3)).numpy().astype(float), "ssim": np.array(similar, float)}
