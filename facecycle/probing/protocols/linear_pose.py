"""The protocol `linear-pose`: ridge regression from frozen features to degrees, and a plot of the angles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facecycle.probing.protocols.base import CHOSEN_INSIDE, Metric, ProbeProtocol

if TYPE_CHECKING:
    import numpy as np

    from facecycle.api import Labelled
    from facecycle.probing.folds import Model
    from facecycle.probing.result import Result, Row

    Splits = list[tuple[np.ndarray, np.ndarray]]
    Fit = Callable[[int | None, tuple[float, ...]], Model]
    """Maps the number of an inner split, or None for all samples, and alphas to a model of all alphas."""

ALPHA_GRID = tuple(10 ** (half / 2) for half in range(11))
"""Regularisation of the ridge regression."""
CHUNK = 8192
"""Samples, or features, that are worked on in double precision at a time."""
ANGLES = ("pitch", "yaw", "roll")


class LinearPose(ProbeProtocol):
    """Mean absolute error per angle and their mean, over all tested samples, and per fold."""

    name = "linear-pose"
    task = "pose"
    labels = ("pose",)
    data = "pose-csv"
    selection = f"alpha from {[round(alpha, 2) for alpha in ALPHA_GRID]} {CHOSEN_INSIDE}"
    interval = "bootstrap over test subjects"
    metrics = {
        **{angle: Metric(f"{angle} MAE (deg)", 2, lower_is_better=True) for angle in ANGLES},
        "mean": Metric("mean (deg)", 2, lower_is_better=True),
    }
    headline = "mean"

    def blind(self, labels: Labelled) -> list[Row]:
        """Predict the mean pose of the training split."""
        from sklearn.dummy import DummyRegressor

        from facecycle.probing.folds import constant

        return [constant("mean pose", DummyRegressor(), labels, angle_errors)]

    def fit(self, features: np.ndarray, labels: Labelled) -> Row:
        """Test a ridge regression fold by fold."""
        from facecycle.probing.folds import over_folds

        return over_folds(features, labels, _train, angle_errors)

    def draw(self, result: Result, file: Path) -> None:
        """Draw predicted against true pitch, yaw and roll in degrees."""
        from matplotlib.figure import Figure  # pyplot would look for a display, and keep every figure alive

        from facecycle.pages import drawable

        row = result.first_feature
        figure = Figure(figsize=(12, 4), layout="constrained")
        for axes, angle, true, predicted in zip(
            figure.subplots(1, 3), ANGLES, row.true.T, row.predicted.T, strict=True
        ):
            limit = float(abs(true).max()) * 1.1 + 1
            axes.plot([-limit, limit], [-limit, limit], color="0.7", linewidth=1)
            axes.scatter(true, predicted, s=6, alpha=0.5)
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel=f"true {angle} (deg)", ylabel="predicted")
            axes.set_title(drawable(f"{row.feature}: MAE {row.metrics[angle]:.1f}"))
        figure.savefig(file, format="png", dpi=100)


def _train(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[float, Model]:
    """Choose alpha by mean absolute error on the inner splits, and fit everything with it."""
    from facecycle.probing.folds import inner_splits

    splits = inner_splits(y, groups, stratify=False)
    fit = (_by_features if x.shape[1] <= len(x) else _by_samples)(x, y, splits)
    errors = [abs(fit(number, ALPHA_GRID)(x[b]) - y[b, None]).mean((0, 2)) for number, (_, b) in enumerate(splits)]
    chosen = ALPHA_GRID[int(sum(errors).argmin())]  # the first of equally good ones
    final = fit(None, (chosen,))
    return chosen, lambda x: final(x)[:, 0]


def _by_features(x: np.ndarray, y: np.ndarray, splits: Splits) -> Fit:
    """Fit by the products of features, (D, D).

    Those of a split are the whole's less those of the part left out: the features are read once, not once for every
    alpha and split.
    """
    import numpy as np

    parts = [_moments(x[b], y[b]) for _, b in splits]
    whole = [sum(moment) for moment in zip(*parts, strict=True)]

    def fit(split: int | None, alphas: tuple[float, ...]) -> Model:
        rest = whole if split is None else [total - own for total, own in zip(whole, parts[split], strict=True)]
        count, sum_x, sum_y, square, product = rest
        mean_x, mean_y = sum_x / count, sum_y / count
        square = square - count * np.outer(mean_x, mean_x)
        return _model(_solved(square, product - count * np.outer(mean_x, mean_y), alphas), mean_x, mean_y)

    return fit


def _by_samples(x: np.ndarray, y: np.ndarray, splits: Splits) -> Fit:
    """Fit by the products of samples, (n, n), where they are fewer than features: weights are a sum of samples."""
    import numpy as np

    products = np.zeros((len(x), len(x)))
    for start in range(0, x.shape[1], CHUNK):
        part = x[:, start : start + CHUNK].astype(np.float64)
        products += part @ part.T

    def fit(split: int | None, alphas: tuple[float, ...]) -> Model:
        kept = np.arange(len(x)) if split is None else splits[split][0]
        square, mean_y = products[np.ix_(kept, kept)], y[kept].mean(axis=0)
        mean = square.mean(axis=0)
        shares = _solved(square - mean - mean[:, None] + mean.mean(), y[kept] - mean_y, alphas)
        # The shares of the samples sum to 0, so their mean need not be taken from each.
        return _model(x[kept].T @ shares, x[kept].mean(axis=0, dtype=np.float64), mean_y)

    return fit


def _moments(x: np.ndarray, y: np.ndarray) -> tuple[Any, ...]:
    """Return count, sums of x and y, and the sums of xᵀx and xᵀy, in double precision."""
    import numpy as np

    width = x.shape[1]
    square, product, sum_x = np.zeros((width, width)), np.zeros((width, y.shape[1])), np.zeros(width)
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK].astype(np.float64)
        square += part.T @ part
        product += part.T @ y[start : start + CHUNK]
        sum_x += part.sum(axis=0)
    return len(x), sum_x, y.sum(axis=0), square, product


def _solved(square: np.ndarray, right: np.ndarray, alphas: tuple[float, ...]) -> np.ndarray:
    """Solve (square + alpha I) w = right (m, T) for each alpha; return (m, alphas T)."""
    import numpy as np
    from scipy.linalg import cho_factor, cho_solve

    solutions = []
    for alpha in alphas:  # a Cholesky decomposition for each takes less time than the eigenvectors for all
        matrix = np.array(square, order="F")
        matrix.flat[:: len(matrix) + 1] += alpha
        solutions.append(cho_solve(cho_factor(matrix, overwrite_a=True, check_finite=False), right))
    return np.concatenate(solutions, axis=1)


def _model(weights: np.ndarray, mean_x: np.ndarray, mean_y: np.ndarray) -> Model:
    """Return what maps features (n, D) to predictions (n, alphas, T), of weights (D, alphas T)."""
    offsets = mean_x @ weights
    return lambda x: (x @ weights - offsets).reshape(len(x), -1, len(mean_y)) + mean_y


def angle_errors(predicted: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """Return, per sample, the absolute error of each angle and their mean, in degrees."""
    errors = abs(predicted - true)
    return {**dict(zip(ANGLES, errors.T, strict=True)), "mean": errors.mean(axis=1)}
