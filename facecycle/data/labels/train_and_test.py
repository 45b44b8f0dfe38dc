"""Two data sets as one: trained on the first, tested on the second."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from facecycle.api import BadFrame, Dataset, Labelled, Task, Track, Verification
from facecycle.data.joined import images_of
from facecycle.data.labels.emotions import shared_classes
from facecycle.errors import DataError, NotOffered


class TrainAndTest:
    """The labelled samples of two data sets; frames are numbered through both.

    Of the first, the training split is taken where it has one, else everything; of the second, the tested
    split where it has one, else everything. Emotions are matched by their names, and those that one side alone has are
    left out.
    """

    def __init__(self, train: Dataset, test: Dataset) -> None:
        self.parts = (train, test)
        self.licence = "; ".join(dict.fromkeys((train.licence, test.licence)))

    def tracks(self) -> list[Track]:
        """Raise `NotOffered`: probes alone use two data sets."""
        raise NotOffered("two data sets joined for a probe have no tracks")

    def labelled(self, task: Task) -> Labelled:
        """Return the samples of both.

        Raises:
            NotOffered: verification has no training.
            DataError: the two have fewer than two classes in common, take angles in different orders, or share images.
        """
        train, test = (part.labelled(task) for part in self.parts)
        if isinstance(train, Verification) or isinstance(test, Verification):
            raise NotOffered("verification has nothing to train, so --test does not apply", hint="Give --data alone.")
        first = np.flatnonzero(train.folds < 0) if (train.folds < 0).any() else np.arange(len(train.folds))
        second = np.flatnonzero(test.folds >= 0) if (test.folds >= 0).any() else np.arange(len(test.folds))
        same_files = self.parts[0].fingerprint() == self.parts[1].fingerprint()
        if same_files and np.intersect1d(train.frames[first], test.frames[second]).size:
            raise DataError(
                "the data that is trained on and the data that is tested on share images",
                hint="Name another data set with --test, or leave it out: one with folds is split by them.",
            )
        if train.convention and test.convention and train.convention != test.convention:
            raise DataError(
                f"the training data has its angles in the order {train.convention}, the tested data in the order "
                f"{test.convention}: one head has other angles in each",
                hint="Take two data sets of one order. That of biwi is set by the option euler.",
            )
        targets = [train.targets[first], test.targets[second]]
        classes, left_out = train.classes, ""
        if task == "emotion":
            classes, numbers = shared_classes(train.classes, test.classes)
            targets = [number[target] for number, target in zip(numbers, targets, strict=True)]
            left_out = _left_out((train.take(first), test.take(second)), targets)
            first, second = (chosen[target >= 0] for chosen, target in zip((first, second), targets, strict=True))
            targets = [target[target >= 0] for target in targets]
        self._sources = np.r_[np.zeros(len(first), int), np.ones(len(second), int)]
        self._frames = np.r_[train.frames[first], test.frames[second]]
        groups = [f"train {who}" for who in train.groups[first]] + [f"test {who}" for who in test.groups[second]]
        return Labelled(
            np.arange(len(self._frames)),
            np.concatenate(targets),
            np.where(self._sources == 0, -1, 0),
            np.array(groups),
            classes,
            f"trained on: {train.note}; tested on: {test.note}{left_out}",
            {**_named("training data", train.counts), **_named("tested data", test.counts)},
            {**_named("training data", train.published), **_named("tested data", test.published)},
            train.convention or test.convention,
        )

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames of either data set as RGB uint8 (n, 3, size, size)."""
        chosen = np.asarray(frames, int)
        return images_of(self.parts, self._sources[chosen], self._frames[chosen], size)

    def fingerprint(self) -> str:
        """Return a digest that changes with either data set, and with the frames that were taken from it."""
        digest = hashlib.sha256("".join(part.fingerprint() for part in self.parts).encode())
        digest.update(self._sources.astype(np.int64).tobytes() + self._frames.astype(np.int64).tobytes())
        return digest.hexdigest()


def _left_out(parts: Sequence[Labelled], targets: Sequence[np.ndarray]) -> str:
    """Say which classes of the trained and of the tested samples the other side lacks, with their samples."""
    said = []
    for whose, labels, target in zip(("training", "tested"), parts, targets, strict=True):
        counted = Counter(labels.targets[target < 0].tolist())
        if counted:
            names = ", ".join(f"{labels.classes[number]} {count:,}" for number, count in sorted(counted.items()))
            said.append(f"of the {whose} samples {names}")
    return f"; left out, because the other data set has no such class: {'; '.join(said)}" if said else ""


def _named(whose: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {f"{name} of the {whose}": count for name, count in counts.items()}
