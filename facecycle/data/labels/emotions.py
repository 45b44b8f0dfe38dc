"""The names that emotions have in data sets: the one table by which their classes are matched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facecycle.errors import DataError

NAMES = {
    "anger": ("angry",),
    "contempt": ("contemptuous",),
    "disgust": ("disgusted",),
    "fear": ("fearful", "afraid"),
    "happiness": ("happy",),
    "neutral": (),
    "sadness": ("sad",),
    "surprise": ("surprised",),
}
"""Each emotion, and what else it is called."""
_EMOTION = {name: emotion for emotion, others in NAMES.items() for name in (emotion, *others)}


def emotion_of(name: str) -> str:
    """Return the emotion that a class is: its name in the table, else the class's own, in lower case."""
    plain = name.strip().lower()
    return _EMOTION.get(plain, plain)


def class_ids(classes: Sequence[str]) -> dict[str, int]:
    """Return the number of each emotion among classes; of two classes of one emotion, the first one's."""
    return {emotion_of(name): number for number, name in reversed(list(enumerate(classes)))}


def shared_classes(
    train: tuple[str, ...], test: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[np.ndarray, np.ndarray]]:
    """Match the classes of two data sets.

    Returns:
        The training data's names of the classes that both have. And per class of either data set its number among
        these, or -1.

    Raises:
        DataError: they have fewer than two in common.
    """
    own, known = class_ids(train), class_ids(test)
    first_of_its_name = [own[emotion_of(name)] == number for number, name in enumerate(train)]
    shared = tuple(
        name for name, first in zip(train, first_of_its_name, strict=True) if first and emotion_of(name) in known
    )
    if len(shared) < 2:
        raise DataError(
            f"the training data and the tested data have {len(shared)} classes in common, fewer than two",
            hint=f"Trained on: {', '.join(train)}. Tested on: {', '.join(test)}.",
        )
    ids = class_ids(shared)
    one, other = (np.array([ids.get(emotion_of(name), -1) for name in names]) for names in (train, test))
    return shared, (one, other)
