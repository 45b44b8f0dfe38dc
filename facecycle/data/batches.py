"""Data sets to batches of pairs: reads, replaces bad frames, augments, and prepares what comes next ahead."""

from __future__ import annotations

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
from facecycle.data.pairs import PAIR_DRAWS, PairIndex, Visits, sample_pairs, steps_per_epoch
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
    """Where each image came from, the first images of the pairs before the second."""
    met: list[BadFrame | None]
    """All frames that were asked for, by what was wrong with them."""

    def pin_memory(self) -> Prepared:
        """Return the batch in memory that a GPU copies from while it computes."""
        return Prepared(Pairs(self.pairs.first.pin_memory(), self.pairs.second.pin_memory()), self.frames, self.met)


@dataclass(eq=False)
class Batches:
    """The batches of a stage. Batch `step` depends on the configuration and `step` alone.

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
        self.visits = Visits(len(data.tracks), self.pairs, seed, self.stage_name, data.shards, self.rank, self.world)

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
        """Return the name of each image of a step's batch, the first images of the pairs before the second."""
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
        count, others = len(mirrored), (~mirrored).nonzero().flatten()
        places = torch.cat([torch.arange(count), count + others])
        chosen = pixels.index_select(0, source[places])
        images = normalise(augment(chosen, self.config.augmentation, draws.index_select(1, places)))
        one = images[:count]
        # The mirrored partner is the mirror of the image after its augmentation.
        two = one.flip(-1).index_copy_(0, others, images[count:])
        return Prepared(Pairs(one, two), [frames[row] for row in source], met)

    def _draw(self, step: int, attempt: int) -> tuple[PairIndex, Tensor]:
        """Draw the pairs of a step, and what their augmentation takes, (DRAWS, 2 P).

        A further attempt draws tracks that a later epoch visits.
        """
        config, data = self.config, self.data
        again = [attempt] if attempt else []
        generator = seeded("batch", config.seed, self.stage_name, step, *again)
        place = step + attempt * steps_per_epoch(len(data.tracks), self.pairs)
        tracks, (pools, _) = self.visits.of(place), self.visits.pools(place)
        mine = slice(self.rank * len(tracks), (self.rank + 1) * len(tracks))
        of_pairs = torch.rand(self.pairs, PAIR_DRAWS, generator=generator)[mine]
        of_images = torch.rand(DRAWS, 2, self.pairs, generator=generator)[..., mine].flatten(1)
        index = sample_pairs(data.tracks, tracks, self.stage.pairing, self.stage.mirror_pair, of_pairs, pools)
        return index, of_images

    @staticmethod
    def _replace_bad(bad: Sequence[BadFrame | None], mirrored: Tensor) -> tuple[Tensor, Tensor]:
        """Choose a row for each image: a bad frame's partner, or where both are bad another pair's image."""
        source = torch.arange(len(bad))
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
