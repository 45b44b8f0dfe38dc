"""Faces with an emotion: what the sets share that their authors split, and those that are split by whom they show."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import Field
from sklearn.model_selection import StratifiedGroupKFold

from facecycle.api import Labelled, Track
from facecycle.api import Options as BaseOptions
from facecycle.data.frames import FileDataset
from facecycle.data.labels.folds import folds_by_group


class SplitEmotions(FileDataset):
    """Images with a class id and a fold: -1 is for training alone, 0 is tested, others are left out."""

    facecycle_api = (1, 0)
    task = "emotion"
    classes: tuple[str, ...]
    published: Mapping[str, int] = {}
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


class GroupedOptions(BaseOptions):
    """Options of data sets that are split by whom their images show."""

    path: Path
    """The folder of the data set."""
    folds: int = Field(5, ge=2)
    """Folds of the cross-validation."""


class GroupedEmotions(FileDataset):
    """Images with a class id and a group, such as a person, in folds of a cross-validation that splits no group."""

    facecycle_api = (1, 0)
    Options = GroupedOptions
    options: GroupedOptions
    task = "emotion"
    classes: tuple[str, ...]
    published: Mapping[str, int] = {}
    counts: Mapping[str, int]
    by = "subject"
    """What a group is, in words."""
    note: str
    targets: np.ndarray
    groups: np.ndarray

    def tracks(self) -> list[Track]:
        """Every image is a track of one frame. Its place tells images apart that show several faces."""
        groups = enumerate(self.groups.tolist())
        return [Track(f"{self.name(frame)}[{frame}]", group, (frame,)) for frame, group in groups]

    def own_labels(self) -> Labelled:
        """Return all images with their emotion, in folds by group."""
        splitter = StratifiedGroupKFold(self.options.folds, shuffle=True, random_state=0)
        folds = folds_by_group(splitter, self.targets, self.groups, self.options.path)
        how = f"{self.options.folds} folds by {self.by}: {len(set(self.groups.tolist())):,} of them"
        frames = np.arange(len(folds))
        note = f"{how}; {self.note}"
        return Labelled(frames, self.targets, folds, self.groups, self.classes, note, self.counts, self.published)
