"""Folds of a cross-validation that never split a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.model_selection import BaseCrossValidator

from facecycle.errors import DataError


def folds_by_group(
    splitter: BaseCrossValidator, targets: np.ndarray, groups: np.ndarray, path: Path, *, hint: str = ""
) -> np.ndarray:
    """Return the fold (n,) in which each sample is tested.

    The splitter deals the `groups` (n,), whom each sample shows, to folds; a stratified one balances the `targets`
    (n, ...). The error names `path`, and with `hint` what else may help.

    Raises:
        DataError: there are fewer groups than folds, or no class has an image for each fold.
    """
    count, wanted = len(set(groups.tolist())), splitter.get_n_splits()
    if count < wanted:
        raise DataError(
            f"{path} shows {count} people, fewer than {wanted} folds", hint=f"Lower the option folds{hint}."
        )
    folds = np.zeros(len(groups), dtype=int)
    try:
        for number, (_, test) in enumerate(splitter.split(groups, targets, groups)):
            folds[test] = number
    except ValueError as error:  # of a splitter that balances classes
        raise DataError(
            f"{path}: no class has {wanted} images, one for each fold", hint="Lower the option folds."
        ) from error
    return folds
