"""Data sets to batches of pairs: reads, replaces bad frames, augments, and prepares the next batch ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from facecycle.api import BadFrame, Dataset, Pairs, Track
from facecycle.config import RunConfig, StageConfig
from facecycle.data.augment import augment
from facecycle.data.normalise import normalise
from facecycle.data.pairs import epoch_tracks, sample_pairs, seeded
from facecycle.errors import DataError


class JoinedTracks:
    """The tracks of several data sets as one list, with the frames numbered through."""

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self.datasets = list(datasets)
        self.tracks: list[Track] = []
        owners: list[tuple[int, int]] = []
        for number, dataset in enumerate(self.datasets):
            for track in dataset.tracks():
                start = len(owners)
                owners.extend((number, frame) for frame in track.frames)
                self.tracks.append(Track(track.name, track.identity, tuple(range(start, len(owners)))))
        self._owners = np.array(owners, np.int64).reshape(-1, 2)
        """Data set, and frame within it, of each frame."""
        if not self.tracks:
            raise DataError("there are no tracks to train on", hint="Name a folder of images with --data.")

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames of any of the data sets as uint8 RGB (n, 3, size, size)."""
        number, inner = self._owners[frames].T
        if len(self.datasets) == 1:
            return self.datasets[0].images(inner.tolist(), size)
        pixels = torch.empty(len(frames), 3, size, size, dtype=torch.uint8)
        bad: list[BadFrame | None] = [None] * len(frames)
        for owner in np.unique(number):
            rows = np.flatnonzero(number == owner)
            pixels[rows], problems = self.datasets[owner].images(inner[rows].tolist(), size)
            for row, problem in zip(rows, problems, strict=True):
                bad[row] = problem
        return pixels, bad


class Batches:
    """The batches of a stage. Batch `step` depends on the configuration and `step` alone.

    Attributes:
        bad_frames: every unreadable frame met so far, by name.
    """

    def __init__(self, data: JoinedTracks, config: RunConfig, stage_name: str, stage: StageConfig) -> None:
        self.data = data
        self.config = config
        self.stage_name = stage_name
        self.stage = stage
        self.bad_frames: dict[str, str] = {}

    def batch(self, step: int) -> Pairs:
        """Make the batch of a step.

        Raises:
            DataError: not one frame of the batch can be read.
        """
        config = self.config
        generator = seeded("batch", config.seed, self.stage_name, step)
        chosen = epoch_tracks(len(self.data.tracks), config.pairs, step, config.seed, self.stage_name)
        index = sample_pairs(self.data.tracks, chosen, self.stage.pairing, self.stage.mirror_pair, generator)
        pixels, bad = self.data.images([*index.first, *index.second], config.size)
        source, mirrored = self._replace_bad(bad, index.mirrored)
        pairs, others = config.pairs, (~mirrored).nonzero().flatten()
        rows = torch.cat([source[:pairs], source[pairs:][others]])
        images = normalise(augment(pixels.index_select(0, rows), config.augmentation, generator))
        first = images[:pairs]
        # The mirrored partner is the mirror of the image after its augmentation.
        second = first.flip(-1).index_copy_(0, others, images[pairs:])
        return Pairs(first, second)

    def _replace_bad(self, bad: Sequence[BadFrame | None], mirrored: Tensor) -> tuple[Tensor, Tensor]:
        """Choose a row for each image: a bad frame's partner, or where both are bad another pair's image."""
        source = torch.arange(len(bad))
        if not any(bad):
            return source, mirrored
        self.bad_frames.update({b.name: b.reason for b in bad if b is not None})
        good = [row for row, problem in enumerate(bad) if problem is None]
        if not good:
            name, reason = next(iter(self.bad_frames.items()))
            raise DataError(f"none of the {len(bad)} images of a batch can be read; the first is {name}: {reason}")
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
        """Yield (step, batch) from `start` up to `stop`, each prepared while the one before is used."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            upcoming = pool.submit(self.batch, start) if start < stop else None
            for step in range(start, stop):
                assert upcoming is not None
                batch = upcoming.result()
                upcoming = pool.submit(self.batch, step + 1) if step + 1 < stop else None
                yield step, batch
