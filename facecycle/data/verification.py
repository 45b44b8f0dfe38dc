"""People to verification pairs, in folds that share no person."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from facecycle.api import Verification


def pairs_by_identity(people: list[tuple[int, ...]], folds: int, seed: int) -> Verification:
    """Pair frames in folds that share no person: every same pair, and as many different pairs.

    Args:
        people: frame indices of each person.
        folds: number of folds; each gets at least 2 people.
        seed: of the folds and of the different pairs.
    """
    rng = np.random.default_rng(seed)
    fold_of = np.arange(len(people)) % folds
    rng.shuffle(fold_of)
    first: list[int] = []
    second: list[int] = []
    same: list[bool] = []
    pair_folds: list[int] = []
    for fold in range(folds):
        members = [people[i] for i in np.flatnonzero(fold_of == fold)]
        positive = [pair for frames in members for pair in combinations(frames, 2)]
        negative = [(a, b) for one, other in combinations(members, 2) for a in one for b in other]
        count = min(len(positive), len(negative))
        # Where one kind is rarer, both are drawn down to it: chance stays at one half.
        drawn = [positive[i] for i in rng.permutation(len(positive))[:count]]
        drawn += [negative[i] for i in rng.permutation(len(negative))[:count]]
        first += [a for a, _ in drawn]
        second += [b for _, b in drawn]
        same += [True] * count + [False] * count
        pair_folds += [fold] * (2 * count)
    note = f"{len(people)} people in {folds} folds; as many different pairs as same, drawn with seed {seed}"
    return Verification(np.array(first), np.array(second), np.array(same), np.array(pair_folds), note)
