"""The protocol `cosine-10fold`: verification by cosine similarity, without training."""

from __future__ import annotations

import numpy as np

from facecycle.errors import DataError
from facecycle.probing.protocols.scores import Scores, interval_over_folds


def cosine_folds(first: np.ndarray, second: np.ndarray, same: np.ndarray, folds: np.ndarray) -> Scores:
    """Cosine similarity of mean-centred features against one threshold per fold (protocol `cosine-10fold`).

    Args:
        first, second: (n, D) features of the two images of each pair.
        same: (n,) whether a pair shows one person.
        folds: (n,) fold in which a pair is tested. Mean and threshold come from the other folds.

    Returns:
        Mean accuracy over the folds, its deviation and interval, and the ROC AUC over all pairs.

    Raises:
        DataError: fewer than two folds, so that a threshold has no other fold to come from, or pairs of one
            kind only.
    """
    from sklearn.metrics import roc_auc_score

    per_fold: dict[int, dict[str, float]] = {}
    chosen: dict[int, float] = {}
    similarities = np.zeros(len(same))
    if len(set(folds.tolist())) < 2:
        raise DataError("the pairs that can be read lie in fewer than two folds, so no threshold can be chosen")
    if same.all() or not same.any():
        raise DataError("the pairs that can be read are of one kind only, same or different, so nothing can be told")
    for fold in sorted(set(folds.tolist())):
        train, test = folds != fold, folds == fold
        mean = np.concatenate([first[train], second[train]]).mean(axis=0)
        scores = _cosine(first - mean, second - mean)
        chosen[fold] = best_threshold(scores[train], same[train])
        similarities[test] = scores[test]
        per_fold[fold] = {"accuracy": float(((scores[test] >= chosen[fold]) == same[test]).mean())}
    accuracies = np.array([m["accuracy"] for m in per_fold.values()])
    metrics = {
        "accuracy": float(accuracies.mean()),
        "deviation": float(accuracies.std()),
        "auc": float(roc_auc_score(same, similarities)),
    }
    intervals = {"accuracy": interval_over_folds(accuracies)}
    return Scores(metrics, per_fold, chosen, intervals, np.arange(len(same)), similarities)


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(axis=1) / np.maximum(norms, 1e-12)


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """Return the threshold with the most correct decisions `score >= threshold`, half way between scores."""
    order = np.argsort(-scores)
    ranked, labels = scores[order], same[order].astype(int)
    # Accepting the first k pairs is right for the same ones among them and the different ones after.
    correct = np.concatenate([[0], np.cumsum(labels)]) + np.concatenate([np.cumsum((1 - labels)[::-1])[::-1], [0]])
    # A cut between equal scores cannot be made.
    possible = np.concatenate([[True], ranked[1:] != ranked[:-1], [True]])
    best = int(np.argmax(np.where(possible, correct, -1)))
    if best == 0:
        return float(ranked[0]) + 1
    if best == len(ranked):
        return float(ranked[-1])
    return float(ranked[best - 1] + ranked[best]) / 2
