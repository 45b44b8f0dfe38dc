"""The protocols `linear` and `linear-pose`: linear models on frozen features, standardised on their training split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from facecycle.api import Task
from facecycle.errors import DataError
from facecycle.probing.protocols.scores import Scores, bootstrap

C_GRID = tuple(float(c) for c in np.logspace(-4, 0, 5))
"""Inverse regularisation of the logistic regression."""
ALPHA_GRID = tuple(float(a) for a in np.logspace(0, 5, 11))
"""Regularisation of the ridge regression."""
INNER_FOLDS = 3
SMALL = 10_000_000
"""Up to so many numbers a solver's steps are too short to share between threads."""
CHUNK = 8192
"""Samples that are worked on in double precision at a time."""
ANGLES = ("pitch", "yaw", "roll")

Splits = list[tuple[np.ndarray, np.ndarray]]
Model = Callable[[np.ndarray], np.ndarray]
"""Maps standardised features (n, D) to predictions."""
Train = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, Model]]
"""Maps a training split's features, targets and groups to what was chosen on it, and the model."""


def standardise(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Scale features (n, D) to mean 0 and deviation 1 on the training samples, in float32."""
    mean = train.mean(axis=0, dtype=np.float64)
    deviation = train.std(axis=0, dtype=np.float64)
    deviation[deviation < 1e-8] = 1
    mean, scale = mean.astype(np.float32), (1 / deviation).astype(np.float32)
    scaled = []
    for x in (train, *others):
        x = x.astype(np.float32)  # one copy, worked on in place: it may be most of the memory there is
        x -= mean
        x *= scale
        scaled.append(x)
    return scaled


def rotate(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Express features (n, D) in an orthonormal basis of the training samples' span, at most n dimensions.

    The weights of an L2-regularised linear model lie in that span, and a rotation does not change their
    norm: predictions stay the same, while D shrinks from tens of thousands to n.
    """
    if train.shape[1] <= train.shape[0]:
        return [train, *others]
    exact = train.astype(np.float64)
    values, vectors = np.linalg.eigh(exact @ exact.T)
    if values[-1] <= 0:
        return [x[:, :1] for x in (train, *others)]  # features that never vary span nothing
    kept = values > values[-1] * 1e-10
    basis = exact.T @ (vectors[:, kept] / np.sqrt(values[kept]))
    return [x @ basis for x in (train, *others)]


def inner_splits(targets: np.ndarray, groups: np.ndarray, stratify: bool) -> Splits:
    """Split a training part for the choice of a regularisation, groups kept together.

    Raises:
        DataError: too few people, or too few images of a class.
    """
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

    Raises:
        DataError: a split that cannot be used; see `inner_splits`.
    """
    return _over_folds(features, targets, folds, groups, _train_classifier, hits)


def _train_classifier(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[float, Model]:
    """Choose C by accuracy on the inner splits that hold two classes or more, and fit everything with it."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    def fit(c: float, x: np.ndarray, y: np.ndarray) -> Any:
        with warnings.catch_warnings():
            # The iterations are a budget, the same for every feature: stopping there is early stopping.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Single precision takes half the time, and moves accuracies by less than a sample in a hundred.
            return LogisticRegression(C=c, max_iter=200).fit(x.astype(np.float32, copy=False), y)

    splits = [(a, b) for a, b in inner_splits(y, groups, stratify=True) if len(set(y[a].tolist())) > 1]
    if not splits:
        raise DataError(
            "a training split, or every part of it, shows a single class, so nothing can be learned from it",
            hint="Each class needs images of several people.",
        )
    accuracies = [np.mean([(fit(c, x[a], y[a]).predict(x[b]) == y[b]).mean() for a, b in splits]) for c in C_GRID]
    chosen = C_GRID[int(np.argmax(accuracies))]
    return chosen, fit(chosen, x, y).predict


def linear_pose(features: np.ndarray, targets: np.ndarray, folds: np.ndarray, groups: np.ndarray) -> Scores:
    """Ridge regression to degrees on standardised features (protocol `linear-pose`).

    Args:
        features: (n, D).
        targets: (n, 3) pitch, yaw, roll in degrees.
        folds: (n,) fold in which a sample is tested; -1 is training only.
        groups: (n,) never split by the cross-validation that chooses alpha.

    Returns:
        Mean absolute error per angle and their mean, over all tested samples, and per fold.

    Raises:
        DataError: a split that cannot be used; see `inner_splits`.
    """
    return _over_folds(features, targets, folds, groups, _train_regression, angle_errors)


def _train_regression(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[float, Model]:
    """Choose alpha by mean absolute error on the inner splits, and fit everything with it.

    One eigendecomposition serves every alpha, and the moments of a split are the whole's less those of the
    part left out: the features are read once, not once for every alpha and split.
    """
    splits = inner_splits(y, groups, stratify=False)
    parts = [_moments(x[b], y[b]) for _, b in splits]
    whole = [sum(moment) for moment in zip(*parts, strict=True)]
    errors = np.zeros(len(ALPHA_GRID))
    for (_, b), part in zip(splits, parts, strict=True):
        rest = [total - left_out for total, left_out in zip(whole, part, strict=True)]
        models = _ridge(rest, ALPHA_GRID)
        errors += [np.abs(predict(x[b]) - y[b]).mean() for predict in models]
    chosen = ALPHA_GRID[int(np.argmin(errors))]
    return chosen, _ridge(whole, (chosen,))[0]


def _moments(x: np.ndarray, y: np.ndarray) -> tuple[Any, ...]:
    """Return count, sums of x and y, and the sums of xᵀx and xᵀy, in double precision."""
    width = x.shape[1]
    square, product, sum_x = np.zeros((width, width)), np.zeros((width, y.shape[1])), np.zeros(width)
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK].astype(np.float64)
        square += part.T @ part
        product += part.T @ y[start : start + CHUNK]
        sum_x += part.sum(axis=0)
    return len(x), sum_x, y.sum(axis=0), square, product


def _ridge(moments: list[Any], alphas: tuple[float, ...]) -> list[Model]:
    """Return the ridge regression with intercept for each alpha, from the moments of its training data."""
    count, sum_x, sum_y, square, product = moments
    mean_x, mean_y = sum_x / count, sum_y / count
    values, vectors = np.linalg.eigh(square - count * np.outer(mean_x, mean_x))
    projected = vectors.T @ (product - count * np.outer(mean_x, mean_y))
    weights = [vectors @ (projected / (values.clip(0) + alpha)[:, None]) for alpha in alphas]
    return [lambda x, w=w: x @ w + (mean_y - mean_x @ w) for w in weights]  # type: ignore[misc]


def constant(task: Task, targets: np.ndarray, folds: np.ndarray, groups: np.ndarray) -> Scores:
    """Predict the commonest class, or the mean pose, of the training split, whatever the image shows."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    def train(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[float, Model]:
        return 0.0, (DummyRegressor() if task == "pose" else DummyClassifier()).fit(x, y).predict

    measure = angle_errors if task == "pose" else hits
    return _over_folds(np.zeros((len(targets), 1)), targets, folds, groups, train, measure)


def hits(predicted: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Return, per sample, whether its class was found."""
    return {"accuracy": (predicted == targets).astype(float)}


def angle_errors(predicted: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """Return, per sample, the absolute error of each angle and their mean, in degrees."""
    errors = np.abs(predicted - targets)
    named = {angle: errors[:, column] for column, angle in enumerate(ANGLES)}
    return {**named, "mean": errors.mean(axis=1)}


def _over_folds(
    features: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
    groups: np.ndarray,
    train: Train,
    measure: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]],
) -> Scores:
    """Test every fold with a model that was chosen and trained on the other samples alone.

    Raises:
        DataError: no sample is tested, or a fold leaves nothing to train on.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    per_fold: dict[int, dict[str, float]] = {}
    chosen: dict[int, float] = {}
    tested, predictions = [], []
    for fold in sorted(set(folds[folds >= 0].tolist())):
        inside, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if not len(inside):
            raise DataError(
                "every sample is tested: there is nothing to train on",
                hint="Name the data to train on with --data, and this data with --test.",
            )
        x, x_test = rotate(*standardise(features[inside], features[test]))
        with threadpool_limits(1 if x.size <= SMALL else None):
            chosen[fold], predict = train(x, targets[inside], groups[inside])
            predicted = predict(x_test)
        per_fold[fold] = {name: float(value.mean()) for name, value in measure(predicted, targets[test]).items()}
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
    bounds = {name: bootstrap(value, groups[order]) for name, value in values.items()}
    intervals = {name: each for name, each in bounds.items() if each is not None}
    return Scores(metrics, per_fold, chosen, intervals, order, joined)
