"""Data sets to batches of pairs: reads, replaces bad frames, augments, and prepares what comes next ahead."""

from __future__ import annotations

import bisect
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from facecycle.api import BadFrame, Pairs
from facecycle.config.settings import RunConfig, StageConfig
from facecycle.data.augment import DRAWS, augment
from facecycle.data.images import normalise
from facecycle.data.joined import JoinedTracks
from facecycle.data.pairs import (
    PAIR_DRAWS,
    PairIndex,
    Visits,
    group_by_shard,
    long_enough,
    sample_pairs,
    steps_per_epoch,
)
from facecycle.errors import DataError, FacecycleError
from facecycle.seeds import seeded

ATTEMPTS = 10
"""Draws of a batch before it is given up that not one of its frames can be read."""


@dataclass
class FrameTally:
    """How many frames a run has asked for so far, and how many of them were unreadable; `names` says why."""

    read: int = 0
    bad: int = 0
    names: dict[str, str] = field(default_factory=dict)

    def add(self, frames: Sequence[BadFrame | None]) -> None:
        """Count the frames of a batch; None stands for one that could be read."""
        problems = [frame for frame in frames if frame is not None]
        self.read += len(frames)
        self.bad += len(problems)
        self.names.update((frame.name, frame.reason) for frame in problems)


def sum_of(tallies: Sequence[FrameTally]) -> FrameTally:
    """Return what several processes have counted together."""
    names = {name: reason for tally in tallies for name, reason in tally.names.items()}
    return FrameTally(sum(tally.read for tally in tallies), sum(tally.bad for tally in tallies), names)


@dataclass(frozen=True)
class Prepared:
    """A batch, and what it was made from."""

    pairs: Pairs
    frames: list[int]
    """Where each image came from: the first images of the pairs, the second, and then the further ones by pair."""
    met: list[BadFrame | None]
    """All frames that were asked for, by what was wrong with them."""

    def pin_memory(self) -> Prepared:
        """Return the batch in memory that a GPU copies from while it computes."""
        return Prepared(self.pairs.apply(torch.Tensor.pin_memory), self.frames, self.met)


@dataclass(eq=False)
class Batches:
    """The batches of a stage. Batch `step` depends on the configuration and `step` alone.

    Tracks that are too short for the stage are left out.

    Of several processes each has its own pairs of a batch. Every number is drawn for the whole batch, so that what is
    made of a pair does not depend on who makes it; but a process replaces bad frames by others of its own.
    """

    data: JoinedTracks
    config: RunConfig
    stage_name: str
    stage: StageConfig
    tally: FrameTally = field(default_factory=FrameTally)
    """The frames of the batches used so far; those prepared ahead are not in it."""
    rank: int = 0
    world: int = 1
    waited: float = field(default=0.0, init=False)
    """Seconds that `iterate` has waited for a batch."""
    _first: Pairs | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        data, seed = self.data, self.config.seed
        self.pairs = self.stage.pairs or self.config.pairs
        self.more = self.stage.frames - 2
        kept = long_enough(data.tracks, self.stage, self.stage_name)
        self.tracks = data.tracks if kept is None else [data.tracks[number] for number in kept]
        shards = data.shards if kept is None else group_by_shard(self.tracks)
        self.visits = Visits(len(self.tracks), self.pairs, seed, self.stage_name, shards, self.rank, self.world)
        self.epoch_length = steps_per_epoch(len(self.tracks), self.pairs)

    def batch(self, step: int) -> Pairs:
        """Make the batch of a step; nothing is counted.

        Raises:
            DataError: not one frame of it can be read.
        """
        if step > 0:
            return self._prepare(step).pairs
        # Grids of samples show the first batch again and again; where it lay in shards, they are gone by then.
        self._first = self._first or self._prepare(0).pairs
        return self._first

    def names(self, step: int) -> list[str]:
        """Return the name of each image of a step's batch, in the order of `Prepared.frames`."""
        return [self.data.name(frame) for frame in self._prepare(step).frames]

    def prepare_and_fetch(self, step: int) -> Prepared:
        """Make the batch of a step, while the shards of the next pool are fetched."""
        pools, upcoming = self.visits.pools(step)
        if upcoming is not None:
            self.data.prefetch([*pools[0].shards, *upcoming.shards])
        return self._prepare(step)

    def _prepare(self, step: int) -> Prepared:
        met: list[BadFrame | None] = []
        for attempt in range(ATTEMPTS):
            index, draws = self._draw(step, attempt)
            frames = [*index.first, *index.second, *index.further]
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
        count, others = len(mirrored), (~mirrored).nonzero().flatten()
        places = torch.cat([torch.arange(count), count + others, torch.arange(2 * count, len(frames))])
        chosen = pixels.index_select(0, source[places])
        images = normalise(augment(chosen, self.config.augmentation, draws.index_select(1, places)))
        one, rest = images[:count], images[count + len(others) :]
        # The mirrored partner is the mirror of the image after its augmentation.
        two = one.flip(-1).index_copy_(0, others, images[count : count + len(others)])
        further = rest.view(count, self.more, *rest.shape[1:]) if self.more else None
        used = [frames[row] for row in source]
        return Prepared(Pairs(one, two, further, *self._whose(used, count)), used, met)

    def _whose(self, frames: list[int], count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the places (P, 2 + K) of a batch's frames in their tracks, and the pairs' tracks and people, (P,)."""
        tracks, places = (torch.from_numpy(found) for found in self.data.locate(frames))
        pairs, more = places[: 2 * count].view(2, count).T, places[2 * count :].view(count, self.more)
        return torch.cat([pairs, more], 1), tracks[:count], torch.from_numpy(self.data.people)[tracks[:count]]

    def _draw(self, step: int, attempt: int) -> tuple[PairIndex, Tensor]:
        """Draw the pairs of a step, and what their augmentation takes, (DRAWS, 2 P) and more for further frames.

        A further attempt draws tracks that a later epoch visits.
        """
        again = [attempt] if attempt else []
        generator = seeded("batch", self.config.seed, self.stage_name, step, *again)
        place = step + attempt * self.epoch_length
        tracks, (pools, _) = self.visits.of(place), self.visits.pools(place)
        mine = slice(self.rank * len(tracks), (self.rank + 1) * len(tracks))
        of_pairs = torch.rand(self.pairs, PAIR_DRAWS, generator=generator)[mine]
        of_images = torch.rand(DRAWS, 2, self.pairs, generator=generator)[..., mine].flatten(1)
        # Drawn apart, so that what a pair is drawn from does not depend on further frames.
        generator = seeded("further", self.config.seed, self.stage_name, step, *again)
        further = torch.rand(self.pairs, self.more, generator=generator)[mine]
        of_further = torch.rand(DRAWS, self.pairs, self.more, generator=generator)[:, mine].flatten(1)
        index = sample_pairs(self.tracks, tracks, self.stage, of_pairs, further, pools)
        return index, torch.cat([of_images, of_further], 1)

    def _replace_bad(self, bad: Sequence[BadFrame | None], mirrored: Tensor) -> tuple[Tensor, Tensor]:
        """Choose a row for each image: for a bad one the nearest of its pair, or where all are bad another pair's."""
        source = torch.arange(len(bad))
        if not any(bad):
            return source, mirrored
        good = [row for row, problem in enumerate(bad) if problem is None]
        mirrored = mirrored.clone()
        pairs = len(mirrored)
        for row in range(pairs):
            begin = 2 * pairs + row * self.more
            own = [row, row + pairs, *range(begin, begin + self.more)]
            readable = [place for place, each in enumerate(own) if bad[each] is None]
            for place in range(len(own)):
                # The one before it, or else the first after it.
                nearest = max(0, bisect.bisect_right(readable, place) - 1)
                source[own[place]] = own[readable[nearest]] if readable else good[row % len(good)]
            if self.stage.pairing in {"same-track", "other-track"}:
                # A pair of one image teaches nothing unless one of the two is mirrored.
                mirrored[row] |= source[row] == source[row + pairs]
        return source, mirrored

    def iterate(self, start: int, stop: int) -> Iterator[tuple[int, Pairs]]:
        """Yield (step, batch) from `start` up to `stop`, in order; others are prepared while one is used."""
        ahead = _by_processes(self, start, stop) if self.config.workers else _by_a_thread(self, start, stop)
        for step in range(start, stop):
            asked = time.perf_counter()
            prepared = next(ahead)
            self.waited += time.perf_counter() - asked
            self.tally.add(prepared.met)
            if step == 0:
                self._first = prepared.pairs
            yield step, prepared.pairs


def _by_a_thread(batches: Batches, start: int, stop: int) -> Iterator[Prepared]:
    on_gpu = torch.cuda.is_available()

    def prepare(step: int) -> Prepared:
        prepared = batches.prepare_and_fetch(step)
        return prepared.pin_memory() if on_gpu else prepared

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        submitted = (pool.submit(prepare, step) for step in range(start, stop))
        upcoming = next(submitted, None)
        while upcoming is not None:
            prepared, upcoming = upcoming.result(), next(submitted, None)
            yield prepared


def _by_processes(batches: Batches, start: int, stop: int) -> Iterator[Prepared]:
    loader: DataLoader[Prepared | FacecycleError] = DataLoader(
        _Steps(batches),
        batch_size=None,
        sampler=range(start, stop),
        num_workers=batches.config.workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_the_run,
        multiprocessing_context="fork",  # what was indexed and mapped is shared, not sent
    )
    for prepared in loader:
        if isinstance(prepared, FacecycleError):
            raise prepared
        yield prepared


class _Steps(Dataset[Prepared | FacecycleError]):
    """The batches by step, as processes make them; an error is handed over whole."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> Prepared | FacecycleError:
        try:
            return self.batches.prepare_and_fetch(step)
        except FacecycleError as error:
            return error


def _leave_signals_to_the_run(worker: int) -> None:
    """A terminal or a launcher signals a whole group of processes: the run finishes its step, then ends the workers."""
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
