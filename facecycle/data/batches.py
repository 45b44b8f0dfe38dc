"""Data sets to batches of pairs: reads, replaces bad frames, augments, and prepares the next batch ahead."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from facecycle.api import BadFrame, Dataset, Pairs, Prefetches, Track
from facecycle.config import RunConfig, StageConfig
from facecycle.data.augment import augment
from facecycle.data.normalise import normalise
from facecycle.data.pairs import epoch_pools, epoch_tracks, group_by_shard, sample_pairs, seeded
from facecycle.errors import DataError


class JoinedTracks:
    """The tracks of several data sets as one list, with frames and shards numbered through.

    Attributes:
        shards: which tracks lie in which shard; None where none does.
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
        for dataset in self.datasets:
            self._first_tracks.append(len(self.tracks))
            self._first_shards.append(shards)
            for track in dataset.tracks():
                shard = None if track.shard is None else self._first_shards[-1] + track.shard
                shards = shards if shard is None else max(shards, shard + 1)
                here = range(frames, frames + len(track.frames))
                self.tracks.append(Track(track.name, track.identity, here, shard))
                self._frames.append(track.frames)
                starts.append(frames)
                frames = here.stop
        self._starts = np.array(starts, np.int64)
        if not self.tracks:
            raise DataError("there are no tracks to train on", hint="Name a folder of images with --data.")
        self.shards = group_by_shard(self.tracks)

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames of any of the data sets as uint8 RGB (n, 3, size, size)."""
        track_of = np.searchsorted(self._starts, frames, "right") - 1
        owners = np.searchsorted(self._first_tracks, track_of, "right") - 1
        inside = (frames - self._starts[track_of]).tolist()
        own = [self._frames[t][place] for t, place in zip(track_of.tolist(), inside, strict=True)]
        if len(self.datasets) == 1:
            return self.datasets[0].images(own, size)
        pixels = torch.empty(len(frames), 3, size, size, dtype=torch.uint8)
        bad: list[BadFrame | None] = [None] * len(frames)
        for number in np.unique(owners):
            rows = np.flatnonzero(owners == number).tolist()
            pixels[rows], problems = self.datasets[number].images([own[row] for row in rows], size)
            for row, problem in zip(rows, problems, strict=True):
                bad[row] = problem
        return pixels, bad

    def prefetch(self, shards: Sequence[int]) -> None:
        """Let the data sets begin to fetch shards that are needed soon."""
        owners = [bisect.bisect_right(self._first_shards, shard) - 1 for shard in shards]
        for number, dataset in enumerate(self.datasets):
            first = self._first_shards[number]
            own = [shard - first for shard, owner in zip(shards, owners, strict=True) if owner == number]
            if own and isinstance(dataset, Prefetches):
                dataset.prefetch(own)


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
        self._first: Pairs | None = None

    def batch(self, step: int) -> Pairs:
        """Make the batch of a step.

        Raises:
            DataError: not one frame of the batch can be read.
        """
        if step == 0 and self._first is not None:
            return self._first
        config = self.config
        generator = seeded("batch", config.seed, self.stage_name, step)
        place = (len(self.data.tracks), config.pairs, step, config.seed, self.stage_name, self.data.shards)
        chosen, (pools, _) = epoch_tracks(*place), epoch_pools(*place)
        index = sample_pairs(self.data.tracks, chosen, self.stage.pairing, self.stage.mirror_pair, generator, pools)
        pixels, bad = self.data.images([*index.first, *index.second], config.size)
        source, mirrored = self._replace_bad(bad, index.mirrored)
        pairs, others = config.pairs, (~mirrored).nonzero().flatten()
        rows = torch.cat([source[:pairs], source[pairs:][others]])
        images = normalise(augment(pixels.index_select(0, rows), config.augmentation, generator))
        first = images[:pairs]
        # The mirrored partner is the mirror of the image after its augmentation.
        batch = Pairs(first, first.flip(-1).index_copy_(0, others, images[pairs:]))
        if step == 0 and self.data.shards is not None:
            self._first = batch  # grids of samples show it again and again; its shards are gone by then
        return batch

    def _batch_and_fetch(self, step: int) -> Pairs:
        """Make the batch of a step, while the shards of the next pool are fetched."""
        config, data = self.config, self.data
        place = (len(data.tracks), config.pairs, step, config.seed, self.stage_name, data.shards)
        pools, upcoming = epoch_pools(*place)
        if upcoming is not None:
            data.prefetch([*pools[0].shards, *upcoming.shards])
        return self.batch(step)

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
            upcoming = pool.submit(self._batch_and_fetch, start) if start < stop else None
            for step in range(start, stop):
                assert upcoming is not None
                batch = upcoming.result()
                upcoming = pool.submit(self._batch_and_fetch, step + 1) if step + 1 < stop else None
                yield step, batch
