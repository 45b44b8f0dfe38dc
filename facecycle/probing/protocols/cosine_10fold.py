"""The protocol `cosine-10fold`: verification by cosine similarity, without training, and its ROC curves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from facecycle.probing.protocols.base import Metric, ProbeProtocol

if TYPE_CHECKING:
    import numpy as np

    from facecycle.api import Verification
    from facecycle.probing.result import Result, Row

CHUNK = 4_000_000
"""Numbers of features that are worked on in double precision at a time."""


class Cosine10Fold(ProbeProtocol):
    """Mean accuracy over the folds, its deviation and interval, and the ROC AUC over all pairs."""

    name = "cosine-10fold"
    task = "verify"
    labels = ("verify",)
    data = "identity-folders"
    selection = "one threshold per fold, chosen on the other folds; features centred by the other folds' mean"
    interval = "Student interval over folds"
    metrics = {
        "accuracy": Metric("accuracy (%)", 1, percent=True),
        "deviation": Metric("± over folds", 1, percent=True),
        "auc": Metric("AUC", 3),
    }
    headline = "accuracy"

    def fit(self, features: np.ndarray, labels: Verification) -> Row:
        """Compare the similarity of each pair with a threshold; features are centred by the other folds' mean.

        Raises:
            DataError: fewer than two folds, so that a threshold has no other fold to come from, or a fold with pairs
                of one kind only.
        """
        import numpy as np
        from sklearn.metrics import roc_auc_score

        from facecycle.data.labels.verification import check_folds
        from facecycle.probing.result import Row

        check_folds(labels)
        folds = np.unique(labels.folds)
        places = np.unique(np.r_[labels.first, labels.second], return_inverse=True)[1].reshape(2, -1)
        similarity = similarities(features, places, labels.folds)
        tested = similarity[np.arange(len(labels.same)), np.searchsorted(folds, labels.folds)]
        row = Row(feature="", dimensions=features.shape[1], true=labels.same.astype(int), predicted=tested)
        for number, fold in enumerate(folds.tolist()):
            train, test = labels.folds != fold, labels.folds == fold
            row.chosen[fold] = best_threshold(similarity[train, number], labels.same[train])
            right = (tested[test] >= row.chosen[fold]) == labels.same[test]
            row.folds[fold] = {"accuracy": float(right.mean())}
        accuracies = np.array([metrics["accuracy"] for metrics in row.folds.values()])
        row.add("accuracy", accuracies.mean(), interval_over_folds(accuracies), (accuracies, None))
        row.add("deviation", accuracies.std())
        row.add("auc", roc_auc_score(labels.same, tested))
        return row

    def draw(self, result: Result, file: Path) -> None:
        """Draw the ROC curve of every feature."""
        from matplotlib.figure import Figure  # pyplot would look for a display, and keep every figure alive
        from sklearn.metrics import roc_curve

        from facecycle.pages import drawable

        figure = Figure(figsize=(5.5, 5), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        for row in result.rows:
            false_positive, true_positive, _ = roc_curve(row.true, row.predicted)
            axes.plot(false_positive, true_positive, label=drawable(f"{row.feature} ({row.metrics['auc']:.3f})"))
        axes.set(xlabel="false positive rate", ylabel="true positive rate", title="verification (AUC)")
        axes.legend(loc="lower right", fontsize=8)
        figure.savefig(file, format="png", dpi=100)


def similarities(features: np.ndarray, places: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return the cosine (n, K) of each pair after the mean of all folds but one was taken off, for each of K folds.

    The mean is that of both images of every pair. (a - m)·(b - m) = a·b - a·m - b·m + m·m needs one pass over the
    pairs for all folds, and a few thousand features at a time in double precision.

    Args:
        features: (N, D), of each image once.
        places: (2, n), whose features belong to the pairs.
        folds: (n,) the fold of each pair.
    """
    import numpy as np

    numbers = np.unique(folds, return_inverse=True)[1]
    uses = np.zeros((numbers.max() + 1, len(features)))
    for side in places:
        np.add.at(uses, (numbers, side), 1)
    step = max(1, CHUNK // features.shape[1])
    images = [slice(start, start + step) for start in range(0, len(features), step)]
    centre = features.mean(axis=0, dtype=np.float64)  # taken off first, for the differences are small beside it

    def part(of: slice | np.ndarray) -> np.ndarray:
        return features[of] - centre

    sums = sum(uses[:, each] @ part(each) for each in images)
    others = uses.sum() - uses.sum(axis=1, keepdims=True)
    means = (sums.sum(axis=0) - sums) / others
    squares = np.concatenate([(x**2).sum(axis=1) for x in map(part, images)])
    along = np.concatenate([part(each) @ means.T for each in images])
    length = (means**2).sum(axis=1)
    norms = np.sqrt(np.maximum(squares[:, None] - 2 * along + length, 0))
    products = np.concatenate(
        [
            np.einsum("nd,nd->n", part(first), part(second))
            for first, second in (places[:, start : start + step] for start in range(0, places.shape[1], step))
        ]
    )
    first, second = places
    inner = products[:, None] - along[first] - along[second] + length
    # What is smaller than this is the rounding of features that do not differ.
    least = 1e-15 * float(max(features.max(), -features.min())) ** 2
    lengths = norms[first] * norms[second]
    return np.divide(inner, lengths, out=np.zeros_like(inner), where=lengths > least)


def best_threshold(similarity: np.ndarray, same: np.ndarray) -> float:
    """Return the threshold with the most correct decisions `similarity >= threshold`, half way between values."""
    from sklearn.metrics import roc_curve

    if same.all():
        return float(similarity.min())
    if not same.any():
        return float(similarity.max()) + 1
    false_positive, true_positive, cuts = roc_curve(same, similarity, drop_intermediate=False)
    # Rounded, because rates times counts are counts again: of equally good cuts the first one counts.
    correct = (true_positive * same.sum() - false_positive * (~same).sum()).round()
    best = int(correct.argmax())
    if best == 0:  # accept none
        return float(cuts[1]) + 1
    return float(cuts[best] + cuts[min(best + 1, len(cuts) - 1)]) / 2


def interval_over_folds(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % Student interval of the mean of one value per fold."""
    from scipy.stats import t

    reach = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - reach), float(values.mean() + reach)
