"""The protocol `linear-pose`: ridge regression from frozen features to degrees, and a plot of the angles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from facecycle.probing.protocols.base import CHOSEN_INSIDE, Metric, ProbeProtocol

if TYPE_CHECKING:
    import numpy as np

    from facecycle.api import Labelled
    from facecycle.probing.folds import Model
    from facecycle.probing.result import Result, Row

ALPHA_GRID = tuple(10 ** (half / 2) for half in range(11))
"""Regularisation of the ridge regression."""
CHUNK = 8192
"""Samples that are worked on in double precision at a time."""
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
    """Choose alpha by mean absolute error on the inner splits, and fit everything with it.

    One eigendecomposition serves every alpha, and the moments of a split are the whole's less those of the
    part left out: the features are read once, not once for every alpha and split.
    """
    from facecycle.probing.folds import inner_splits, span

    basis = span(x)
    x = x if basis is None else x @ basis
    splits = inner_splits(y, groups, stratify=False)
    parts = [_moments(x[b], y[b]) for _, b in splits]
    whole = [sum(moment) for moment in zip(*parts, strict=True)]
    errors = dict.fromkeys(ALPHA_GRID, 0.0)
    for (_, b), part in zip(splits, parts, strict=True):
        rest = [total - left_out for total, left_out in zip(whole, part, strict=True)]
        for alpha, predict in zip(ALPHA_GRID, _ridge(rest, ALPHA_GRID), strict=True):
            errors[alpha] += float(abs(predict(x[b]) - y[b]).mean())
    chosen = min(errors, key=errors.__getitem__)  # the first of equally good ones
    (predict,) = _ridge(whole, (chosen,))
    return chosen, predict if basis is None else lambda x: predict(x @ basis)


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


def _ridge(moments: list[Any], alphas: tuple[float, ...]) -> list[Model]:
    """Return the ridge regression with intercept for each alpha, from the moments of its training data."""
    import numpy as np

    count, sum_x, sum_y, square, product = moments
    mean_x, mean_y = sum_x / count, sum_y / count
    values, vectors = np.linalg.eigh(square - count * np.outer(mean_x, mean_x))
    projected = vectors.T @ (product - count * np.outer(mean_x, mean_y))
    weights = [vectors @ (projected / (values.clip(0) + alpha)[:, None]) for alpha in alphas]
    return [lambda x, w=w: x @ w + (mean_y - mean_x @ w) for w in weights]  # type: ignore[misc]


def angle_errors(predicted: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """Return, per sample, the absolute error of each angle and their mean, in degrees."""
    errors = abs(predicted - true)
    return {**dict(zip(ANGLES, errors.T, strict=True)), "mean": errors.mean(axis=1)}
