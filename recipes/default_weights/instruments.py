"""What pictures of faces are measured by: AUCs over people, and the referees of `referees.py`."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from facecycle.faces.crop import crop
from facecycle.faces.similarity import Similarity

DRAWS = 200
"""Of the bootstrap over people."""
PYTHON = "REFEREES_PYTHON"
"""Names the Python that the referees are installed for."""
WIDER, SIDE = 1.25, 192
"""The square that the referees see, in sides of the aligned crop, whose border goes on, and its side in pixels."""


def auc_of(scores: np.ndarray, positive: np.ndarray, one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Return the AUC of pairs and its 95 % interval, by a bootstrap over people.

    A person who is drawn k times counts k times in pairs with himself, and a pair of people as often as both are drawn.

    Args:
        scores, positive: of each pair (n,).
        one, other: the two people (n,) of each pair.
    """
    names, numbers = np.unique(np.concatenate([one, other]), return_inverse=True)
    order = np.argsort(-scores)  # sorted once, because sorting takes most of the time
    scores, positive = scores[order], positive[order]
    first, second = numbers.reshape(2, -1)[:, order]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        weights = np.where(positive, times[first], times[first] * times[second])
        if weights[positive].any():
            drawn.append(roc_auc_score(positive, scores, sample_weight=weights))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(roc_auc_score(positive, scores)), float(low), float(high)


def has_referees() -> bool:
    """Tell whether referees can be asked."""
    return bool(os.environ.get(PYTHON))


def ask_referees(squares: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the referees read from aligned crops (S, S, 3), RGB uint8: name to (n, ...); see `referees.py`."""
    wide = [crop(each, Similarity(len(each) / 2, len(each) / 2, WIDER * len(each)), SIDE) for each in squares]
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "faces.npy"), Path(folder, "found.npz")
        np.save(given, np.stack(wide))
        subprocess.run([os.environ[PYTHON], Path(__file__).with_name("referees.py"), given, found], check=True)
        with np.load(found) as read:
            return dict(read)
