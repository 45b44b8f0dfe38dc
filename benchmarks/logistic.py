"""Time and memory of the protocol `linear` on features of FER-2013's size: python benchmarks/logistic.py [DIMENSIONS].

The features are drawn, with a spectrum that falls as that of real ones does, and seven classes that they tell in part.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from common import peak_bytes, seconds

from facecycle.api import Labelled
from facecycle.probing.protocols.linear import Linear

TRAIN, TEST, CLASSES = 28_709, 3_589, 7
SOURCES = 512


def drawn(dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (n, D), float32, and class ids (n,)."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, CLASSES, TRAIN + TEST)
    fall = (1 + np.arange(SOURCES)) ** -0.7
    means = 0.35 * rng.normal(size=(CLASSES, SOURCES)) * fall
    mixed = rng.normal(size=(SOURCES, dimensions)) / np.sqrt(SOURCES)
    features = np.empty((len(classes), dimensions), np.float32)
    for start in range(0, len(classes), 2048):
        chosen = classes[start : start + 2048]
        sources = means[chosen] + fall * rng.normal(size=(len(chosen), SOURCES))
        features[start : start + 2048] = np.tanh(2 * sources @ mixed) + rng.normal(size=(len(chosen), dimensions))
    return features, classes


def main(dimensions: int = 4096) -> None:
    """Fit, and print what that took."""
    features, classes = drawn(dimensions)
    folds = np.where(np.arange(len(classes)) < TRAIN, -1, 0)
    labels = Labelled(np.arange(len(classes)), classes, folds, np.arange(len(classes)))
    before, rows = peak_bytes(), []
    taken = seconds(lambda: rows.append(Linear().fit(features, labels)))
    beyond = (peak_bytes() - before) / features.nbytes
    print(
        f"{TRAIN:,} + {TEST:,} images, {dimensions} dimensions, {torch.get_num_threads()} threads: {taken:.0f} s, "
        f"memory {1 + beyond:.1f} times the features, {rows[0].metrics['accuracy']:.1%} right, C = {rows[0].chosen[0]}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
