"""Models tested fold by fold: what is trained, chosen and measured on which samples, and bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from facecycle.api import Labelled
from facecycle.errors import DataError
from facecycle.probing.protocols.base import INNER_FOLDS
from facecycle.probing.result import Row

SMALL = 10_000_000
"""Up to so many numbers a solver's steps are too short to share between threads."""
RESAMPLES = 2000
COLUMNS = 256
"""Features whose deviation is computed at a time."""
ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""Relative deviation of a constant that float32 rounded in several ways, as batches of several sizes do."""

Model = Callable[[np.ndarray], np.ndarray]
"""Maps standardised features (n, D) to predictions."""
Train = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, Model]]
"""Maps a training split's features, targets and groups to what was chosen on it, and the model."""
Measure = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]
"""Maps predictions and targets to the values of each metric, one per sample."""


def over_folds(features: np.ndarray, labels: Labelled, train: Train, measure: Measure) -> Row:
    """Test every fold of features (n, D) with a model that was chosen and trained on the other samples alone.

    Raises:
        DataError: no sample is tested, or a fold leaves nothing to train on.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    targets, folds, groups = labels.targets, labels.folds, labels.groups
    row = Row(feature="", dimensions=features.shape[1])
    tested, predictions = [], []
    for fold in sorted(set(folds[folds >= 0].tolist())):
        inside, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if not len(inside):
            raise DataError(
                "every sample is tested: there is nothing to train on",
                hint="Name the data to train on with --data, and this data with --test.",
            )
        x, x_test = standardise(features[inside], features[test])
        with threadpool_limits(1 if x.size <= SMALL else None):
            row.chosen[fold], predict = train(x, targets[inside], groups[inside])
            predictions.append(predict(x_test))
        tested.append(test)
        row.folds[fold] = {k: float(v.mean()) for k, v in measure(predictions[-1], targets[test]).items()}
    if not tested:
        raise DataError(
            "every sample is for training only: no fold is tested",
            hint="Name the data to test on with --test, or give some samples a fold, from 0.",
        )
    return measured(row, np.concatenate(tested), np.concatenate(predictions), labels, measure)


def measured(row: Row, tested: np.ndarray, predicted: np.ndarray, labels: Labelled, measure: Measure) -> Row:
    """Complete a row: the metrics of all tested samples, given by their places, and bootstrap intervals."""
    row.tested, row.true, row.predicted = tested, labels.targets[tested], predicted
    for name, values in measure(predicted, row.true).items():
        items = values, labels.groups[tested]
        row.add(name, values.mean(), bootstrap(*items), items)
    return row


def constant(name: str, model: Any, labels: Labelled, measure: Measure) -> Row:
    """Test one of scikit-learn's dummies, which predict the same whatever the image shows."""
    train: Train = lambda x, y, groups: (0.0, model.fit(x, y).predict)  # noqa: E731
    row = over_folds(np.zeros((len(labels.folds), 1)), labels, train, measure)
    row.feature, row.dimensions = name, 0
    return row


def standardise(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Scale features (n, D) to mean 0 and deviation 1 on the training samples, in float32; float32 is scaled in place.

    A feature is constant, and becomes 0 everywhere, where it varies by no more than float32 rounds at its magnitude.
    How small it is says nothing: an untrained network may compute with numbers of 1e-12.
    """
    mean = train.mean(axis=0, dtype=np.float64)
    # Some columns at a time, because a difference in double precision takes twice the room of the features.
    columns = [slice(start, start + COLUMNS) for start in range(0, train.shape[1], COLUMNS)]
    deviation = np.concatenate([train[:, each].std(axis=0, dtype=np.float64) for each in columns])
    magnitude = np.maximum(train.max(axis=0), -train.min(axis=0)).astype(np.float64)
    varies = deviation > np.maximum(ROUNDING * magnitude, np.finfo(np.float32).tiny)
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=varies).astype(np.float32)
    mean = mean.astype(np.float32)
    scaled = []
    for x in (train, *others):
        x = x.astype(np.float32, copy=False)
        x -= mean
        x *= scale
        scaled.append(x)
    return scaled


def inner_splits(targets: np.ndarray, groups: np.ndarray, stratify: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split a training part for the choice of a regularisation, groups kept together.

    Raises:
        DataError: too few people, or too few images of a class.
    """
    count = min(INNER_FOLDS, len(set(groups.tolist())))
    if count < 2:
        raise DataError(
            "a training split shows fewer than two people, so nothing can be chosen on it",
            hint="Use folds that each leave two people or more to train on.",
        )
    if stratify and np.unique(targets, return_counts=True)[1].max() < count:
        raise DataError(
            f"a training split has no class of {count} images, so nothing can be chosen on it",
            hint="This protocol needs more images to train on.",
        )
    numbers = np.unique(targets if stratify else groups, return_inverse=True)[1]
    people = np.unique(groups, return_inverse=True)[1]
    return _splits(count, stratify, numbers.astype(np.int64).tobytes(), people.astype(np.int64).tobytes())


@lru_cache(maxsize=16)
def _splits(count: int, stratify: bool, targets: bytes, groups: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split samples, given by the int64 ids of their classes and people; every feature of a probe asks for the same."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0) if stratify else GroupKFold(count)
    classes, people = (np.frombuffer(ids, np.int64) for ids in (targets, groups))
    return list(splitter.split(classes, classes, people))


def bootstrap(values: np.ndarray, groups: np.ndarray) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the mean of values (n,), resampling whole groups.

    Samples of one person are alike, so people are drawn, not samples. Where each sample is a group of its
    own, this is the usual bootstrap over test items. Source: Davison and Hinkley 1997, section 3.8.

    Args:
        values: one per tested sample.
        groups: (n,) whom each sample shows. Where all show one, the interval is None, because how much people differ
            is not known.
    """
    _, group = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(group, weights=values), np.bincount(group)
    count = len(sizes)
    if count < 2:
        return None
    rng = np.random.default_rng(0)
    means = []
    # In parts, so that memory stays small however many samples there are.
    for _ in range(0, RESAMPLES, 100):
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=100)
        means.append(drawn @ sums / (drawn @ sizes))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)
