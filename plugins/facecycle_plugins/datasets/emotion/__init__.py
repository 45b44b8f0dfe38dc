"""Faces with an emotion, and what the sets share whose authors split them into training and test images."""

from typing import ClassVar

import numpy as np

from facecycle.api import Labelled, Track
from facecycle.data.frames import FileDataset


class SplitEmotions(FileDataset):
    """Images with a class id and a fold: -1 is for training alone, 0 is tested, others are left out."""

    facecycle_api = (1, 0)
    task = "emotion"
    classes: ClassVar[tuple[str, ...]]
    published: ClassVar[dict[str, int]]
    note: str
    targets: np.ndarray
    folds: np.ndarray

    def tracks(self) -> list[Track]:
        """Every training image is a track of one frame; test images are not there to be trained on."""
        return [Track(self.name(f), self.name(f), (f,)) for f in np.flatnonzero(self.folds < 0).tolist()]

    def own_labels(self) -> Labelled:
        """Return the images of both splits with their emotion."""
        frames = np.flatnonzero(self.folds <= 0)
        folds = self.folds[frames]
        counts = {"train": int((folds < 0).sum()), "test": int((folds == 0).sum())}
        note = f"{self.note}; each image taken for a person of its own"
        return Labelled(frames, self.targets[frames], folds, frames, self.classes, note, counts, self.published)
