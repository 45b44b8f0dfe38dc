"""Memory and time of verification over many images per person, beyond the features: python benchmarks/verification.py.

The size of VGGFace2's test set, where all different pairs would be fourteen thousand million. Checks one fold's
similarities against the plain formula.
"""

from __future__ import annotations

import numpy as np
from common import peak_bytes, seconds

from facecycle.data.labels.verification import MOST_PAIRS, pairs_by_identity
from facecycle.probing.protocols.cosine_10fold import Cosine10Fold, similarities

PEOPLE, IMAGES, DIMENSIONS = 500, 340, 2048


def main() -> None:
    """Draw the pairs, score them, and print what that took."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((PEOPLE * IMAGES, DIMENSIONS), dtype=np.float32)
    before = peak_bytes()
    people = [range(IMAGES * who, IMAGES * (who + 1)) for who in range(PEOPLE)]
    pairs = pairs_by_identity(people, 10, 0, MOST_PAIRS, "the benchmark")
    used, places = np.unique(np.r_[pairs.first, pairs.second], return_inverse=True)
    own = features[used]
    took = seconds(lambda: Cosine10Fold().fit(own, pairs))
    beyond = peak_bytes() - before - own.nbytes
    print(f"{PEOPLE} people, {IMAGES} images each, {DIMENSIONS} dimensions: {len(pairs.same):,} pairs in {took:.1f} s")
    print(f"memory beyond the features: {beyond / 1024**2:,.0f} MiB")

    places = places.reshape(2, -1)
    found = similarities(own, places, pairs.folds)[:200, 3]
    others = places[:, pairs.folds != 3]
    a, b = own[places[:, :200]].astype(np.float64) - own[others].reshape(-1, DIMENSIONS).mean(axis=0, dtype=np.float64)
    plain = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    print(f"largest difference to the plain formula: {abs(found - plain).max():.1e}")


if __name__ == "__main__":
    main()
