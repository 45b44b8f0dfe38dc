"""Tracks to pairs: which frames make up the batch of a given step. A function of the seed and the step."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from facecycle.api import Track
from facecycle.config.settings import StageConfig
from facecycle.errors import ConfigError, DataError
from facecycle.seeds import seeded

PAIR_DRAWS = 4
"""Uniform numbers that the drawing of a pair takes."""
POOL_SHARDS = 8
"""Shards whose tracks are mixed with each other. These and the next ones are in memory: twice this number."""


class PairIndex(NamedTuple):
    """Frame indices of a batch of P pairs; where `mirrored`, the second image is the first's mirror.

    `further` has K more frames of the first image's track, pair by pair: P · K in all.
    """

    first: list[int]
    second: list[int]
    mirrored: Tensor
    further: list[int]


def long_enough(tracks: Sequence[Track], stage: StageConfig, name: str) -> Sequence[int] | None:
    """Return the numbers of the tracks that a stage can draw its frames from; None stands for all.

    A sequence needs room for its frames. Other pairings draw frames again where a track has too few.

    Raises:
        DataError: no track is long enough.
    """
    if stage.pairing != "sequence":
        return None
    least = _span(stage)
    kept = [number for number, track in enumerate(tracks) if len(track.frames) >= least]
    if not kept:
        longest = max(len(track.frames) for track in tracks)
        raise DataError(
            f"stages.{name} reads sequences that span {least} frames, and the longest track has {longest}",
            hint=f"Name longer tracks with --data, or set stages.{name}.spacing lower, or both stages.{name}.frames "
            "and the frames that the method reads.",
        )
    return None if len(kept) == len(tracks) else kept


def _span(stage: StageConfig) -> int:
    """Return how many frames of a track a sequence spans: a, a + 1, and those that follow `spacing` apart."""
    return 2 + (stage.frames - 2) * stage.spacing


def steps_per_epoch(tracks: int, pairs: int) -> int:
    """Return the steps of one epoch: one pair per track, the last incomplete batch dropped, at least 1."""
    return max(1, tracks // pairs)


@dataclass(frozen=True, eq=False)
class TracksByShard:
    """Shards by number, the indices of the tracks that each holds, and those that lie in no shard."""

    numbers: tuple[int, ...]
    tracks: tuple[np.ndarray, ...]
    loose: np.ndarray


def group_by_shard(tracks: Sequence[Track]) -> TracksByShard | None:
    """Return which tracks lie in which shard; None where none of them lies in a shard."""
    found: dict[int | None, list[int]] = {None: []}
    for index, track in enumerate(tracks):
        found.setdefault(track.shard, []).append(index)
    loose = np.array(found.pop(None), dtype=np.int64)
    numbers = tuple(number for number in found if number is not None)
    return TracksByShard(numbers, tuple(np.array(found[number]) for number in numbers), loose) if numbers else None


@dataclass(frozen=True, eq=False)
class Pool:
    """Shards that are in memory together, and the indices of their tracks, sorted."""

    shards: tuple[int, ...]
    tracks: np.ndarray


class _Epoch(NamedTuple):
    """Track indices in the order of an epoch, and its pools with where each begins; no pools without shards."""

    order: np.ndarray
    pools: list[Pool]
    starts: np.ndarray


@dataclass(frozen=True)
class Visits:
    """Which tracks the steps of a stage visit: each epoch all of them, in a new random order.

    With fewer tracks than pairs a batch visits some of them more than once. Where tracks lie in shards, an epoch goes
    through the shards in random order, `POOL_SHARDS` at a time, and through the tracks of such a pool in random order.

    Raises:
        ConfigError: the pairs cannot be shared out evenly.
    """

    tracks: int
    pairs: int
    """Pairs in the batch of all processes together."""
    seed: int
    stage: str
    """Another stage has another order."""
    shards: TracksByShard | None = None
    rank: int = 0
    """Which process this is, of `world`. Without shards each takes its rows of one and the same batch; with them each
    goes through its own share of the shards."""
    world: int = 1

    def __post_init__(self) -> None:
        if self.pairs % self.world:
            raise ConfigError(
                f"pairs = {self.pairs} cannot be shared out evenly over {self.world} processes",
                hint=f"Set pairs to a multiple of {self.world}.",
            )

    def of(self, step: int) -> list[int]:
        """Return the `pairs / world` track indices of a step, which is counted over epochs."""
        epoch, begin, end = self._rows(step)
        return _epoch(self, epoch).order[begin:end].tolist()

    def pools(self, step: int) -> tuple[list[Pool], Pool | None]:
        """Return the pool of each track of a step, and the pool that comes next; nothing without shards."""
        if self.shards is None:
            return [], None
        number, begin, end = self._rows(step)
        epoch = _epoch(self, number)
        places = np.searchsorted(epoch.starts, np.arange(begin, end), side="right") - 1
        later = epoch.pools[places[0] + 1 :] or _epoch(self, number + 1).pools
        return [epoch.pools[place] for place in places], later[0]

    def _rows(self, step: int) -> tuple[int, int, int]:
        """Return the epoch of a step, and from where to where in the epoch's order its tracks lie."""
        epoch, position = divmod(step, steps_per_epoch(self.tracks, self.pairs))
        local = self.pairs // self.world
        begin = position * self.pairs + self.rank * local if self.shards is None else position * local
        return epoch, begin, begin + local


@functools.lru_cache(maxsize=4)
def _epoch(visits: Visits, number: int) -> _Epoch:
    """Draw the order of an epoch; the last ones drawn are kept, for every step asks for it."""
    tracks, pairs, shards, rank, world = visits.tracks, visits.pairs, visits.shards, visits.rank, visits.world
    generator = seeded("order", visits.seed, visits.stage, number)
    rounds = -(-pairs // tracks)
    if shards is None:
        whole = torch.cat([torch.randperm(tracks, generator=generator) for _ in range(rounds)])
        return _Epoch(whole.numpy(), [], np.zeros(0, dtype=np.int64))
    visited = [visit for _ in range(rounds) for visit in _visit_shards(shards, generator)]
    # Each process has the same number of tracks: one shard may be cut between two of them.
    first, last = (part * rounds * tracks // world for part in (rank, rank + 1))
    begins = np.cumsum([0, *(len(held) for _, held in visited[:-1])]).tolist()
    parts = [
        (shard, held[max(0, first - begin) : max(0, last - begin)])
        for (shard, held), begin in zip(visited, begins, strict=True)
    ]
    mine = [(shard, part) for shard, part in parts if len(part)]
    pools, orders = [], []
    for places in np.array_split(np.arange(len(mine)), -(-len(mine) // POOL_SHARDS)):
        held = np.concatenate([mine[place][1] for place in places])
        orders.append(_shuffled(held, generator))
        pools.append(Pool(tuple(dict.fromkeys(mine[place][0] for place in places)), np.unique(held)))
    starts = np.cumsum([0, *map(len, orders)])[:-1]
    return _Epoch(np.concatenate(orders), pools, starts)


def _visit_shards(shards: TracksByShard, generator: torch.Generator) -> list[tuple[int, np.ndarray]]:
    """Return the shards in random order with their tracks; tracks in no shard are spread among them."""
    loose = np.array_split(_shuffled(shards.loose, generator), len(shards.numbers))
    return [
        (shards.numbers[place], _shuffled(np.concatenate([shards.tracks[place], loose[place]]), generator))
        for place in torch.randperm(len(shards.numbers), generator=generator).tolist()
    ]


def _shuffled(values: np.ndarray, generator: torch.Generator) -> np.ndarray:
    return values[torch.randperm(len(values), generator=generator).numpy()]


def sample_pairs(
    tracks: Sequence[Track],
    chosen: Sequence[int],
    stage: StageConfig,
    draws: Tensor,
    further: Tensor,
    pools: Sequence[Pool] = (),
) -> PairIndex:
    """Draw a frame of each chosen track, its partner, and the further frames that the stage asks for.

    Args:
        tracks: all tracks.
        chosen: P track indices.
        stage: how partners are drawn. `same-track` takes another draw from the same track (it may be the same frame),
            or with probability `mirror_pair` the frame's mirror image; a track of one frame always pairs with its
            mirror. `other-track` takes a frame of another random track, `same-frame` the frame itself, and `sequence`
            the one after it, for which the tracks are long enough.
        draws: (P, PAIR_DRAWS) uniform numbers.
        further: (P, K) uniform numbers, for K further frames.
        pools: of the chosen tracks, where they lie in shards: another track is drawn from the same pool.
    """
    first, second, more = [], [], []
    mirrored = [False] * len(chosen)
    numbers = zip(chosen, draws.tolist(), further.tolist(), strict=True)
    for row, (index, (a, b, m, t), rest) in enumerate(numbers):
        own = frames = tracks[index].frames
        place = int(a * (len(own) - (_span(stage) - 1 if stage.pairing == "sequence" else 0)))
        partner = None
        if stage.pairing == "other-track" and len(tracks) > 1:
            frames = tracks[_another(index, t, len(tracks), pools[row] if pools else None)].frames
        elif stage.pairing == "same-track":
            mirrored[row] = len(own) == 1 or m < stage.mirror_pair
            partner = place if mirrored[row] else None
        elif stage.pairing == "same-frame":
            partner = place
        elif stage.pairing == "sequence":
            partner = place + 1
        partner = int(b * len(frames)) if partner is None else partner
        first.append(own[place])
        second.append(frames[partner])
        taken = {place, partner} if frames is own else {place}
        more += [own[each] for each in _further(stage, len(own), place, taken, rest)]
    return PairIndex(first, second, torch.tensor(mirrored), more)


def _further(stage: StageConfig, length: int, place: int, taken: set[int], draws: list[float]) -> list[int]:
    """Return the places of the further frames of a row in a track of so many frames.

    Drawn ones are distinct, from each other and from those that are taken, while the track has enough.
    """
    if stage.pairing == "same-frame":
        return [place] * len(draws)
    if stage.pairing == "sequence":
        return [place + 1 + (number + 1) * stage.spacing for number in range(len(draws))]
    found: list[int] = []
    left = [each for each in range(length) if each not in taken] if draws else []
    for draw in draws:
        left = left or list(range(length))
        found.append(left.pop(int(draw * len(left))))
    return found


def _another(index: int, draw: float, tracks: int, pool: Pool | None) -> int:
    """Return another track; skips over the track itself, so that every other one is equally likely."""
    if pool is None or len(pool.tracks) == 1:
        return (index + 1 + int(draw * (tracks - 1))) % tracks
    place = int(np.searchsorted(pool.tracks, index))
    return int(pool.tracks[(place + 1 + int(draw * (len(pool.tracks) - 1))) % len(pool.tracks)])
