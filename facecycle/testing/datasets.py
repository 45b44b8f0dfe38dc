"""The contract of data sets."""

from __future__ import annotations

from typing import ClassVar, get_args

import numpy as np
import pytest
import torch

from facecycle.api import Dataset, Labelled, Task, Track, Verification
from facecycle.errors import NotOffered
from facecycle.testing.common import Contract


def _labelled_frames(labels: Labelled | Verification) -> list[int]:
    """Return the frames of a few samples."""
    frames = labels.frames[:4] if isinstance(labels, Labelled) else [*labels.first[:2], *labels.second[:2]]
    return [int(frame) for frame in frames]


class DatasetContract(Contract):
    """A data set yields tracks of readable frames, or labels for at least one task."""

    kind = "dataset"
    tasks: ClassVar[tuple[Task, ...]] = ()
    """What it has labels for."""

    def _tracks(self, dataset: Dataset) -> list[Track]:
        """Return the tracks; there are none only where there are labels instead."""
        try:
            tracks = dataset.tracks()
        except NotOffered:
            assert self.tasks, "the data set has neither tracks nor labels"
            return []
        assert tracks
        return tracks

    def _frames(self, dataset: Dataset) -> list[int]:
        """Return a few frames, of the tracks or of the labels."""
        if tracks := self._tracks(dataset):
            return [frame for track in tracks[:4] for frame in track.frames][:4]
        return _labelled_frames(dataset.labelled(self.tasks[0]))

    def test_tracks_do_not_share_frames(self) -> None:
        tracks = self._tracks(self.build())
        frames = [frame for track in tracks for frame in track.frames]
        assert len(set(frames)) == len(frames)
        assert len({track.name for track in tracks}) == len(tracks)
        assert all(track.frames for track in tracks)

    def test_frames_are_uint8_rgb_of_the_asked_size(self) -> None:
        dataset = self.build()
        frames = [track.frames[0] for track in self._tracks(dataset)[:4]] or self._frames(dataset)
        for size in (16, 40):
            pixels, bad = dataset.images(frames, size)
            assert pixels.shape == (len(frames), 3, size, size)
            assert pixels.dtype == torch.uint8
            assert bad == [None] * len(frames)

    def test_a_frame_does_not_depend_on_what_it_is_read_with(self) -> None:
        dataset = self.build()
        frames = self._frames(dataset)
        together, _ = dataset.images(frames, 32)
        backwards, _ = self.build().images(frames[::-1], 32)
        assert torch.equal(together, backwards.flip(0))

    def test_its_fingerprint_is_stable(self) -> None:
        assert self.build().fingerprint() == self.build().fingerprint()

    def test_it_states_its_terms(self) -> None:
        assert self.build().licence

    @pytest.mark.parametrize("task", get_args(Task))
    def test_labels_fit_their_task_or_are_refused(self, task: Task) -> None:
        dataset = self.build()
        if task not in self.tasks:
            with pytest.raises(NotOffered):
                dataset.labelled(task)
            return
        labels = dataset.labelled(task)
        frames = _labelled_frames(labels)
        assert dataset.images(frames, 16)[1] == [None] * len(frames)
        if task == "verify":
            assert isinstance(labels, Verification)
            assert len(labels.first) == len(labels.second) == len(labels.same) == len(labels.folds) > 0
            assert labels.same.dtype == np.bool_
            assert 0 < labels.same.mean() < 1
            return
        assert isinstance(labels, Labelled)
        assert len(labels.frames) == len(labels.targets) == len(labels.folds) == len(labels.groups) > 0
        # Training splits alone, such as 300W-LP, test no fold.
        assert (labels.folds >= -1).all()
        for fold in set(labels.folds[labels.folds >= 0].tolist()):
            tested = set(labels.groups[labels.folds == fold].tolist())
            assert not tested & set(labels.groups[labels.folds != fold].tolist())
        if task == "emotion":
            assert set(labels.targets.tolist()) <= set(range(len(labels.classes)))
        else:
            assert labels.targets.shape[1] == 3
            assert np.isfinite(labels.targets).all()
            assert labels.convention in ("", "xyz", "zyx")
