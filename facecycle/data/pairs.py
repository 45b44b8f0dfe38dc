"""Tracks to pairs: which frames make up the batch of a given step. A function of the seed and the step."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from facecycle.api import Track
from facecycle.errors import ConfigError
from facecycle.seeds import seeded

PAIR_DRAWS = 4
"""Uniform numbers that the drawing of a pair takes."""
POOL_SHARDS = 8
"""Shards whose tracks are mixed with each other. These and the next ones are in memory: twice this number."""


class PairIndex(NamedTuple):
    """Frame indices of a batch of P pairs; where `mirrored`, the second image is the first's mirror."""

    first: list[int]
    second: list[int]
    mirrored: Tensor


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
    pairing: Literal["same-track", "other-track"],
    mirror_pair: float,
    draws: Tensor,
    pools: Sequence[Pool] = (),
) -> PairIndex:
    """Draw a frame of each chosen track, and its partner.

    Args:
        tracks: all tracks.
        chosen: P track indices.
        pairing: the partner is another draw from the same track (it may be the same frame), or a frame
            of another random track.
        mirror_pair: probability of the frame's mirror image instead, for `same-track`. A track of one
            frame always pairs with its mirror.
        draws: (P, PAIR_DRAWS) uniform numbers.
        pools: of the chosen tracks, where they lie in shards: another track is drawn from the same pool.
    """
    first, second = [], []
    mirrored = [False] * len(chosen)
    for row, (index, (a, b, m, t)) in enumerate(zip(chosen, draws.tolist(), strict=True)):
        frames = tracks[index].frames
        first.append(frames[int(a * len(frames))])
        if pairing == "other-track" and len(tracks) > 1:
            frames = tracks[_another(index, t, len(tracks), pools[row] if pools else None)].frames
        elif pairing == "same-track":
            mirrored[row] = len(frames) == 1 or m < mirror_pair
        second.append(first[-1] if mirrored[row] else frames[int(b * len(frames))])
    return PairIndex(first, second, torch.tensor(mirrored))


def _another(index: int, draw: float, tracks: int, pool: Pool | None) -> int:
    """Return another track; skips over the track itself, so that every other one is equally likely."""
    if pool is None or len(pool.tracks) == 1:
        return (index + 1 + int(draw * (tracks - 1))) % tracks
    place = int(np.searchsorted(pool.tracks, index))
    return int(pool.tracks[(place + 1 + int(draw * (len(pool.tracks) - 1))) % len(pool.tracks)])
