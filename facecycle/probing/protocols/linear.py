"""The protocol `linear`: multinomial logistic regression on frozen features, and its confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facecycle.errors import DataError
from facecycle.probing.protocols.base import CHOSEN_INSIDE, Metric, ProbeProtocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from facecycle.api import Labelled
    from facecycle.probing.folds import Model
    from facecycle.probing.result import Result, Row

C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation of the logistic regression."""


class Linear(ProbeProtocol):
    """Accuracy of a logistic regression over all tested samples, and per fold."""

    name = "linear"
    task = "emotion"
    labels = ("emotion",)
    data = "class-folders"
    selection = f"C from {list(C_GRID)} {CHOSEN_INSIDE}"
    interval = "bootstrap over test subjects"
    metrics = {"accuracy": Metric("accuracy (%)", 1, percent=True)}
    headline = "accuracy"

    def blind(self, labels: Labelled) -> list[Row]:
        """Predict the commonest class of the training split."""
        from sklearn.dummy import DummyClassifier

        from facecycle.probing.folds import constant

        return [constant("majority class", DummyClassifier(), labels, hits)]

    def fit(self, features: np.ndarray, labels: Labelled) -> Row:
        """Test a logistic regression fold by fold."""
        from facecycle.probing.folds import over_folds

        return over_folds(features, labels, _train, hits)

    def draw(self, result: Result, file: Path) -> None:
        """Draw how often each class was taken for each other, in percent of the true class."""
        import numpy as np
        from matplotlib.figure import Figure  # pyplot would look for a display, and keep every figure alive

        from facecycle.pages import drawable

        row = result.first_feature
        count = len(result.classes)
        matrix = np.zeros((count, count))
        np.add.at(matrix, (row.true, row.predicted), 1)
        percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        figure = Figure(figsize=(5.5, 5), layout="constrained")
        axes = figure.subplots()
        axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        classes = [drawable(name) for name in result.classes]
        axes.set_xticks(range(count), classes, rotation=45, ha="right")
        axes.set_yticks(range(count), classes)
        for (y, x), value in np.ndenumerate(percent):
            axes.text(x, y, f"{value:.0f}", ha="center", va="center", color="white" if value > 50 else "black")
        axes.set(xlabel="predicted", ylabel="true", title=drawable(f"{row.feature}: % of the true class"))
        figure.savefig(file, format="png", dpi=100)


def _train(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[float, Model]:
    """Choose C by accuracy on the inner splits that hold two classes or more; everything is fitted with it, too."""
    import numpy as np
    import torch

    from facecycle.probing.folds import inner_splits
    from facecycle.probing.logistic import fit_all

    splits = [(a, b) for a, b in inner_splits(y, groups, stratify=True) if len(set(y[a].tolist())) > 1]
    if not splits:
        raise DataError(
            "a training split, or every part of it, shows a single class, so nothing can be learned from it",
            hint="Each class needs images of several people.",
        )
    names, targets = np.unique(y, return_inverse=True)
    used = np.ones((len(splits) + 1, len(y)), bool)  # the last problem is trained on everything
    for number, (_, b) in enumerate(splits):
        used[number, b] = False
    c, problems = torch.tensor(C_GRID), torch.from_numpy(np.tile(used, (len(C_GRID), 1)))
    samples = torch.from_numpy(x.astype("float32", copy=False))
    found = fit_all(samples, torch.from_numpy(targets), problems, c.repeat_interleave(len(used)), len(names))
    weights = found.view(len(c), len(used), *found.shape[1:])

    def predict(x: np.ndarray, weights: Tensor) -> np.ndarray:
        scores = torch.from_numpy(x.astype("float32", copy=False)) @ weights[:-1] + weights[-1]
        return names[scores.argmax(1).numpy()]

    def accuracy(of_one_c: Tensor) -> float:
        parts = zip(of_one_c, splits, strict=False)
        return sum(float((predict(x[b], w) == y[b]).mean()) for w, (_, b) in parts) / len(splits)

    best = int(np.argmax([accuracy(each) for each in weights]))  # the first of equally good ones
    return C_GRID[best], lambda x: predict(x, weights[best, -1])


def hits(predicted: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """Return, per sample, whether its class was found."""
    return {"accuracy": (predicted == true).astype(float)}
