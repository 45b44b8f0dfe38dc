"""The tracks of several data sets as one list."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from facecycle.api import BadFrame, Dataset, Prefetches, Track
from facecycle.data.frames import FileDataset
from facecycle.data.pairs import group_by_shard
from facecycle.errors import DataError
from facecycle.registry import OFFERED


def described(tracks: Sequence[Track]) -> str:
    """Say how many tracks, people and images there are."""
    people, images = len({track.identity for track in tracks}), sum(len(track.frames) for track in tracks)
    return f"{len(tracks):,} tracks of {people:,} people, {images:,} images"


class JoinedTracks:
    """The tracks of several data sets as one list, with frames and shards numbered through.

    Attributes:
        shards: which tracks lie in which shard; None where none does.
        people: (n,) number of the person whom each track shows; people of two data sets are different ones.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self.datasets = list(datasets)
        self.tracks: list[Track] = []
        # Per track: its frames in its own data set, its first frame here. Per data set: its first track, first shard.
        self._frames: list[Sequence[int]] = []
        starts: list[int] = []
        self._first_tracks: list[int] = []
        self._first_shards: list[int] = []
        frames = shards = 0
        people: dict[tuple[int, str], int] = {}
        shown: list[int] = []
        for dataset in self.datasets:
            self._first_tracks.append(len(self.tracks))
            self._first_shards.append(shards)
            for track in dataset.tracks():
                if not len(track.frames):
                    raise DataError(f"the track {track.name} of {type(dataset).__name__} has no frames", hint=OFFERED)
                shard = None if track.shard is None else self._first_shards[-1] + track.shard
                shards = shards if shard is None else max(shards, shard + 1)
                here = range(frames, frames + len(track.frames))
                self.tracks.append(Track(track.name, track.identity, here, shard))
                self._frames.append(track.frames)
                starts.append(frames)
                shown.append(people.setdefault((len(self._first_tracks), track.identity), len(people)))
                frames = here.stop
        self._starts = np.array(starts, np.int64)
        self.people = np.array(shown, np.int64)
        if not self.tracks:
            raise DataError("there are no tracks to train on", hint="Name a folder of images with --data.")
        self.shards = group_by_shard(self.tracks)

    def locate(self, frames: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the track (n,) of each frame, and its place (n,) in it."""
        track_of = np.searchsorted(self._starts, frames, "right") - 1
        return track_of, frames - self._starts[track_of]

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames of any of the data sets as uint8 RGB (n, 3, size, size)."""
        track_of, inside = self.locate(frames)
        owners = np.searchsorted(self._first_tracks, track_of, "right") - 1
        own = [self._frames[t][place] for t, place in zip(track_of.tolist(), inside.tolist(), strict=True)]
        if len(self.datasets) == 1:
            return read_images(self.datasets[0], own, size)
        return images_of(self.datasets, owners, np.array(own), size)

    def prefetch(self, shards: Sequence[int]) -> None:
        """Let the data sets begin to fetch shards that are needed soon."""
        owners = [bisect.bisect_right(self._first_shards, shard) - 1 for shard in shards]
        for number, dataset in enumerate(self.datasets):
            first = self._first_shards[number]
            own = [shard - first for shard, owner in zip(shards, owners, strict=True) if owner == number]
            if own and isinstance(dataset, Prefetches):
                dataset.prefetch(own)

    def name(self, frame: int) -> str:
        """Return a frame's file name, or its track and place where it has no file of its own."""
        track = int(np.searchsorted(self._starts, frame, "right")) - 1
        place = frame - int(self._starts[track])
        dataset = self.datasets[bisect.bisect_right(self._first_tracks, track) - 1]
        if isinstance(dataset, FileDataset):
            return dataset.name(self._frames[track][place])
        return f"{self.tracks[track].name}[{place}]"


def read_images(dataset: Dataset, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
    """Read frames of a data set as uint8 RGB (n, 3, size, size).

    Raises:
        DataError: it gives something else, such as numbers in [0, 1], which would pass for black.
    """
    pixels, bad = dataset.images(frames, size)
    if pixels.dtype != torch.uint8 or pixels.shape != (len(frames), 3, size, size):
        raise DataError(
            f"{type(dataset).__name__} gives images {tuple(pixels.shape)} of {pixels.dtype}, where "
            f"{(len(frames), 3, size, size)} of torch.uint8 were asked for",
            hint=OFFERED,
        )
    return pixels, bad


def images_of(
    datasets: Sequence[Dataset], owners: np.ndarray, frames: np.ndarray, size: int
) -> tuple[Tensor, list[BadFrame | None]]:
    """Read frames (n,) of the data sets whose places are in `owners` (n,), as uint8 RGB (n, 3, size, size)."""
    pixels = torch.empty(len(frames), 3, size, size, dtype=torch.uint8)
    bad: list[BadFrame | None] = [None] * len(frames)
    for number in np.unique(owners):
        rows = np.flatnonzero(owners == number).tolist()
        pixels[rows], problems = read_images(datasets[number], frames[rows].tolist(), size)
        for row, problem in zip(rows, problems, strict=True):
            bad[row] = problem
    return pixels, bad
