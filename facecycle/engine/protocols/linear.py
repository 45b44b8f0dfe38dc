"""The protocols `linear` and `linear-pose`: linear models on frozen features, standardised on their training split."""

from __future__ import annotations

from typing import Any

import numpy as np

from facecycle.api import Task
from facecycle.engine.protocols.scores import Scores, bootstrap
from facecycle.errors import DataError

C_GRID = tuple(float(c) for c in np.logspace(-4, 0, 5))
"""Inverse regularisation of the logistic regression."""
ALPHA_GRID = tuple(float(a) for a in np.logspace(0, 5, 11))
"""Regularisation of the ridge regression."""
INNER_FOLDS = 3
SMALL = 10_000_000
"""Up to so many numbers a solver's steps are too short to share between threads."""
ANGLES = ("pitch", "yaw", "roll")


def standardise(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Scale features (n, D) to mean 0 and deviation 1 on the training samples, in float64."""
    mean = train.mean(axis=0, dtype=np.float64)
    deviation = train.std(axis=0, dtype=np.float64)
    deviation[deviation < 1e-8] = 1
    return [(x - mean) / deviation for x in (train, *others)]


def rotate(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Express features (n, D) in an orthonormal basis of the training samples' span, at most n dimensions.

    The weights of an L2-regularised linear model lie in that span, and a rotation does not change their
    norm: predictions stay the same, while D shrinks from tens of thousands to n.
    """
    if train.shape[1] <= train.shape[0]:
        return [train, *others]
    values, vectors = np.linalg.eigh(train @ train.T)
    if values[-1] <= 0:
        return [x[:, :1] for x in (train, *others)]  # features that never vary span nothing
    kept = values > values[-1] * 1e-10
    basis = train.T @ (vectors[:, kept] / np.sqrt(values[kept]))
    return [x @ basis for x in (train, *others)]


def _inner_splits(targets: np.ndarray, groups: np.ndarray, stratify: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

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
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0) if stratify else GroupKFold(count)
    return list(splitter.split(targets, targets if stratify else None, groups))


def linear(features: np.ndarray, targets: np.ndarray, folds: np.ndarray, groups: np.ndarray) -> Scores:
    """Multinomial logistic regression on standardised features (protocol `linear`).

    Args:
        features: (n, D).
        targets: (n,) class ids.
        folds: (n,) fold in which a sample is tested; -1 is training only.
        groups: (n,) never split by the cross-validation that chooses C.

    Returns:
        Accuracy over all tested samples, and per fold.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    def fit(c: float, x: np.ndarray, y: np.ndarray) -> Any:
        with warnings.catch_warnings():
            # The iterations are a budget, the same for every feature: stopping there is early stopping.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Single precision takes half the time, and moves accuracies by less than a sample in a hundred.
            return LogisticRegression(C=c, max_iter=200).fit(x.astype(np.float32), y)

    def score(model: Any, x: np.ndarray, y: np.ndarray) -> float:
        return float((model.predict(x) == y).mean())

    return _cross_validate(features, targets, folds, groups, C_GRID, fit, score, hits, stratify=True)


def linear_pose(features: np.ndarray, targets: np.ndarray, folds: np.ndarray, groups: np.ndarray) -> Scores:
    """Ridge regression to degrees on standardised features (protocol `linear-pose`).

    Args:
        features: (n, D).
        targets: (n, 3) pitch, yaw, roll in degrees.
        folds: (n,) fold in which a sample is tested; -1 is training only.
        groups: (n,) never split by the cross-validation that chooses alpha.

    Returns:
        Mean absolute error per angle and their mean, over all tested samples, and per fold.
    """
    from sklearn.linear_model import Ridge

    def fit(alpha: float, x: np.ndarray, y: np.ndarray) -> Any:
        return Ridge(alpha).fit(x, y)

    def score(model: Any, x: np.ndarray, y: np.ndarray) -> float:
        return -float(np.abs(model.predict(x) - y).mean())

    return _cross_validate(features, targets, folds, groups, ALPHA_GRID, fit, score, angle_errors, stratify=False)


def constant(task: Task, targets: np.ndarray, folds: np.ndarray, groups: np.ndarray) -> Scores:
    """Predict the commonest class, or the mean pose, of the training split, whatever the image shows."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    def fit(unused: float, x: np.ndarray, y: np.ndarray) -> Any:
        return (DummyRegressor() if task == "pose" else DummyClassifier()).fit(x, y)

    measure = angle_errors if task == "pose" else hits
    nothing = np.zeros((len(targets), 1))
    return _cross_validate(nothing, targets, folds, groups, (0.0,), fit, None, measure, stratify=False)


def hits(predicted: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Return, per sample, whether its class was found."""
    return {"accuracy": (predicted == targets).astype(float)}


def angle_errors(predicted: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Return, per sample, the absolute error of each angle and their mean, in degrees."""
    errors = np.abs(predicted - targets)
    named = {angle: errors[:, column] for column, angle in enumerate(ANGLES)}
    return {**named, "mean": errors.mean(axis=1)}


def _cross_validate(
    features: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    groups: np.ndarray,
    grid: tuple[float, ...],
    fit: Any,
    score: Any,
    measure: Any,
    *,
    stratify: bool,
) -> Scores:
    """Test every fold with a model whose regularisation was chosen inside its own training part.

    Raises:
        DataError: no sample is tested, or a fold leaves fewer than two groups to train on.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    per_fold: dict[int, dict[str, float]] = {}
    chosen: dict[int, float] = {}
    tested, predictions = [], []
    for fold in sorted(set(folds[folds >= 0].tolist())):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        # Where there is nothing to choose from, nothing needs to be split.
        splits = _inner_splits(targets[train], groups[train], stratify) if len(grid) > 1 else []
        x, x_test = rotate(*standardise(features[train], features[test]))
        y = targets[train]
        with threadpool_limits(1 if x.size <= SMALL else None):
            results = [sum(score(fit(value, x[a], y[a]), x[b], y[b]) for a, b in splits) for value in grid]
            chosen[fold] = grid[int(np.argmax(results))]
            predicted = fit(chosen[fold], x, y).predict(x_test)
        per_fold[fold] = {k: float(v.mean()) for k, v in measure(predicted, targets[test]).items()}
        tested.append(test)
        predictions.append(predicted)
    if not tested:
        raise DataError(
            "every sample is for training only: no fold is tested",
            hint="Name the data to test on with --test, or give some samples a fold, from 0.",
        )
    order = np.concatenate(tested)
    joined = np.concatenate(predictions)
    values = measure(joined, targets[order])
    metrics = {name: float(value.mean()) for name, value in values.items()}
    intervals = {name: bootstrap(value, groups[order]) for name, value in values.items()}
    return Scores(metrics, per_fold, chosen, intervals, order, joined)
