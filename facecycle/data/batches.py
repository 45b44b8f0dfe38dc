"""Data sets to batches of pairs: reads, replaces bad frames, augments, and prepares the next batch ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor

from facecycle.api import BadFrame, Dataset, Pairs, Track
from facecycle.config import RunConfig, StageConfig
from facecycle.data.augment import augment, mirror
from facecycle.data.frames import FileDataset
from facecycle.data.normalise import normalise
from facecycle.data.pairs import PairIndex, epoch_tracks, sample_pairs, seeded, steps_per_epoch
from facecycle.errors import DataError

ATTEMPTS = 10
"""Draws of a batch before it is given up that not one of its frames can be read."""


class JoinedTracks:
    """The tracks of several data sets as one list, with the frames numbered through."""

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self.datasets = list(datasets)
        self.tracks: list[Track] = []
        self._owner: list[tuple[int, int]] = []
        for number, dataset in enumerate(self.datasets):
            for track in dataset.tracks():
                start = len(self._owner)
                self._owner.extend((number, frame) for frame in track.frames)
                self.tracks.append(Track(track.name, track.identity, tuple(range(start, len(self._owner)))))
        if not self.tracks:
            raise DataError("there are no tracks to train on", hint="Name a folder of images with --data.")

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames of any of the data sets as uint8 RGB (n, 3, size, size)."""
        pixels = torch.zeros(len(frames), 3, size, size, dtype=torch.uint8)
        bad: list[BadFrame | None] = [None] * len(frames)
        for number, dataset in enumerate(self.datasets):
            rows = [row for row, frame in enumerate(frames) if self._owner[frame][0] == number]
            if rows:
                found, problems = dataset.images([self._owner[frames[row]][1] for row in rows], size)
                pixels[rows] = found
                for row, problem in zip(rows, problems, strict=True):
                    bad[row] = problem
        return pixels, bad

    def name(self, frame: int) -> str:
        """Return a frame's file name, or its track and place where it has no file of its own."""
        number, own = self._owner[frame]
        dataset = self.datasets[number]
        if isinstance(dataset, FileDataset):
            return dataset.files.name(own)
        track = next(track for track in self.tracks if frame in track.frames)
        return f"{track.name}[{track.frames.index(frame)}]"


@dataclass
class FrameTally:
    """The frames that a run has used so far.

    Attributes:
        read: how often one was asked for.
        bad: how often it could not be read.
        names: every unreadable frame, with the reason.
    """

    read: int = 0
    bad: int = 0
    names: dict[str, str] = field(default_factory=dict)

    def add(self, frames: Sequence[BadFrame | None]) -> None:
        """Count the frames of a batch; None stands for one that could be read."""
        problems = [frame for frame in frames if frame is not None]
        self.read += len(frames)
        self.bad += len(problems)
        self.names.update((frame.name, frame.reason) for frame in problems)


@dataclass(frozen=True)
class _Prepared:
    pairs: Pairs
    frames: list[int]
    """Where each image of the pairs came from, the first images before the second."""
    met: list[BadFrame | None]
    """All frames that were asked for, by what was wrong with them."""


class Batches:
    """The batches of a stage. Batch `step` depends on the configuration and `step` alone.

    Attributes:
        tally: the frames of the batches used so far; those prepared ahead are not in it.
    """

    def __init__(
        self,
        data: JoinedTracks,
        config: RunConfig,
        stage_name: str,
        stage: StageConfig,
        tally: FrameTally | None = None,
    ) -> None:
        self.data = data
        self.config = config
        self.stage_name = stage_name
        self.stage = stage
        self.tally = tally or FrameTally()

    def batch(self, step: int) -> Pairs:
        """Make the batch of a step; nothing is counted.

        Raises:
            DataError: not one frame of it can be read.
        """
        return self._prepare(step).pairs

    def names(self, step: int) -> list[str]:
        """Return the name of each image of a step's batch, the first images of the pairs before the second."""
        return [self.data.name(frame) for frame in self._prepare(step).frames]

    def _prepare(self, step: int) -> _Prepared:
        met: list[BadFrame | None] = []
        for attempt in range(ATTEMPTS):
            index, generator = self._draw(step, attempt)
            frames = [*index.first, *index.second]
            pixels, bad = self.data.images(frames, self.config.size)
            met += bad
            if not all(bad):
                break
        else:
            first = next(frame for frame in met if frame is not None)
            raise DataError(
                f"none of the {len(frames)} images of a batch can be read, nor of {ATTEMPTS - 1} others drawn in its "
                f"place; the first is {first.name}: {first.reason}"
            )
        source, mirrored = self._replace_bad(bad, index.mirrored)
        images = augment(pixels[source], self.config.augmentation, generator)
        one, two = images.chunk(2)
        # The mirrored partner is the mirror of the image after its augmentation.
        two = torch.where(mirrored.view(-1, 1, 1, 1), one, two)
        two = mirror(two, mirrored)
        return _Prepared(Pairs(normalise(one), normalise(two)), [frames[row] for row in source], met)

    def _draw(self, step: int, attempt: int) -> tuple[PairIndex, torch.Generator]:
        """Draw the pairs of a step; a further attempt draws tracks that a later epoch visits."""
        config = self.config
        again = [attempt] if attempt else []
        generator = seeded("batch", config.seed, self.stage_name, step, *again)
        visit = step + attempt * steps_per_epoch(len(self.data.tracks), config.pairs)
        chosen = epoch_tracks(len(self.data.tracks), config.pairs, visit, config.seed, self.stage_name)
        return sample_pairs(self.data.tracks, chosen, self.stage.pairing, self.stage.mirror_pair, generator), generator

    @staticmethod
    def _replace_bad(bad: Sequence[BadFrame | None], mirrored: Tensor) -> tuple[list[int], Tensor]:
        """Choose a row for each image: a bad frame's partner, or where both are bad another pair's image."""
        source = list(range(len(bad)))
        if not any(bad):
            return source, mirrored
        good = [row for row, problem in enumerate(bad) if problem is None]
        mirrored = mirrored.clone()
        pairs = len(bad) // 2
        for row in range(pairs):
            a, b = row, row + pairs
            if bad[a] and bad[b]:
                source[a] = source[b] = good[row % len(good)]
            elif bad[a]:
                source[a] = b
            elif bad[b]:
                source[b] = a
            # A pair of one image teaches nothing unless one of the two is mirrored.
            mirrored[row] |= source[a] == source[b]
        return source, mirrored

    def iterate(self, start: int, stop: int) -> Iterator[tuple[int, Pairs]]:
        """Yield (step, batch) from `start` up to `stop`, in order; others are prepared while one is used.

        `workers` threads prepare as many batches ahead. What they do not touch is the tally.
        """
        ahead = self.config.workers
        pool = ThreadPoolExecutor(ahead, thread_name_prefix="batches")
        try:
            upcoming = deque(pool.submit(self._prepare, step) for step in range(start, min(start + ahead, stop)))
            for step in range(start, stop):
                prepared = upcoming.popleft().result()
                if step + ahead < stop:
                    upcoming.append(pool.submit(self._prepare, step + ahead))
                self.tally.add(prepared.met)
                yield step, prepared.pairs
        finally:
            pool.shutdown(cancel_futures=True)
