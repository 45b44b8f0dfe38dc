"""The protocol `cosine-10fold`: verification by cosine similarity, without training, and its ROC curves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from facecycle.errors import DataError
from facecycle.probing.protocols.base import Metric, ProbeProtocol

if TYPE_CHECKING:
    import numpy as np

    from facecycle.api import Verification
    from facecycle.probing.probe import Result, Row


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
    features = ("identity", "identity_conv", "conv")

    def fit(self, features: np.ndarray, labels: Verification) -> Row:
        """Compare the similarity of each pair with a threshold; features are centred by the other folds' mean.

        Raises:
            DataError: fewer than two folds, so that a threshold has no other fold to come from, or pairs of one
                kind only.
        """
        import numpy as np
        from sklearn.metrics import roc_auc_score

        from facecycle.probing.probe import Row

        same, folds = labels.same, labels.folds
        if len(set(folds.tolist())) < 2:
            raise DataError("the pairs that can be read lie in fewer than two folds, so no threshold can be chosen")
        if same.all() or not same.any():
            raise DataError("the pairs that can be read are of one kind only, same or different: nothing can be told")
        places = np.unique(np.r_[labels.first, labels.second], return_inverse=True)[1].reshape(2, -1)
        first, second = features[places]
        true, similarities = same.astype(int), np.zeros(len(same))
        row = Row(feature="", dimensions=features.shape[1], true=true, predicted=similarities)
        for fold in sorted(set(folds.tolist())):
            train, test = folds != fold, folds == fold
            mean = np.concatenate([first[train], second[train]]).mean(axis=0)
            a, b = first - mean, second - mean
            norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            similarity = (a * b).sum(axis=1) / np.maximum(norms, 1e-12)
            row.chosen[fold] = best_threshold(similarity[train], same[train])
            similarities[test] = similarity[test]
            row.folds[fold] = {"accuracy": float(((similarity[test] >= row.chosen[fold]) == same[test]).mean())}
        accuracies = np.array([metrics["accuracy"] for metrics in row.folds.values()])
        row.add("accuracy", accuracies.mean(), interval_over_folds(accuracies))
        row.add("deviation", accuracies.std())
        row.add("auc", roc_auc_score(same, similarities))
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
