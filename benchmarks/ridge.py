"""One fold of `linear-pose` beside scikit-learn's ridge regression: python benchmarks/ridge.py [DIMENSIONS].

Both choose alpha on the same inner splits, and have to choose the same and to predict the same. Features are drawn.
"""

from __future__ import annotations

import sys

import numpy as np
from common import seconds
from sklearn.linear_model import Ridge

from facecycle.api import Labelled
from facecycle.probing.folds import inner_splits, standardise
from facecycle.probing.protocols.linear_pose import ALPHA_GRID, LinearPose

TRAIN, TEST, A_PERSON = 2_300, 600, 12


def by_scikit_learn(features: np.ndarray, angles: np.ndarray, people: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the chosen alpha and the predictions of the tested samples."""
    x, x_test = standardise(features[:TRAIN].copy(), features[TRAIN:].copy())
    y, errors = angles[:TRAIN], np.zeros(len(ALPHA_GRID))
    for a, b in inner_splits(y, people[:TRAIN], stratify=False):
        models = [Ridge(alpha).fit(x[a], y[a]) for alpha in ALPHA_GRID]
        errors += [abs(model.predict(x[b]) - y[b]).mean() for model in models]
    alpha = ALPHA_GRID[int(errors.argmin())]
    return alpha, Ridge(alpha).fit(x, y).predict(x_test)


def main(dimensions: int = 4096) -> None:
    """Fit both, compare what they found, and print what they took."""
    rng = np.random.default_rng(0)
    count = TRAIN + TEST
    features = (rng.normal(size=(count, dimensions)) * np.geomspace(1, 1e-3, dimensions)).astype(np.float32)
    angles, people = features[:, :3] * 8 + rng.normal(size=(count, 3)) * 4, np.arange(count) // A_PERSON
    labels = Labelled(np.arange(count), angles, np.where(np.arange(count) < TRAIN, -1, 0), people)
    rows, others = [], []
    ours = seconds(lambda: rows.append(LinearPose().fit(features.copy(), labels)))
    theirs = seconds(lambda: others.append(by_scikit_learn(features, angles, people)))
    (row,), ((alpha, expected),) = rows[:1], others[:1]
    assert row.chosen[0] == alpha
    assert abs(row.predicted - expected).max() < 1e-3, "degrees"
    print(f"{TRAIN:,} + {TEST:,} samples, {dimensions} dimensions: {ours:.1f} s, scikit-learn {theirs:.1f} s")
    print(f"ratio {theirs / ours:.1f}, alpha {alpha:.0f}, {abs(row.predicted - expected).max():.0e} degrees apart")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
