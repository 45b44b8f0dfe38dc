"""Tracks to pairs: which frames make up the batch of a given step. A function of the seed and the step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from facecycle.api import Track


def seeded(*parts: object) -> torch.Generator:
    """Return a generator seeded by its arguments, so that no state has to be kept to resume a run."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@dataclass(frozen=True)
class PairIndex:
    """Frame indices of a batch of P pairs; where `mirrored`, the second image is the first's mirror."""

    first: list[int]
    second: list[int]
    mirrored: Tensor


def steps_per_epoch(tracks: int, pairs: int) -> int:
    """Return the steps of one epoch: one pair per track, the last incomplete batch dropped, at least 1."""
    return max(1, tracks // pairs)


def epoch_tracks(tracks: int, pairs: int, step: int, seed: int, stage: str) -> list[int]:
    """Return the P track indices of a step: each epoch visits the tracks in a new random order.

    With fewer tracks than pairs a batch visits some of them more than once.
    """
    epoch, position = divmod(step, steps_per_epoch(tracks, pairs))
    rounds = -(-pairs // tracks)
    generator = seeded("order", seed, stage, epoch)
    order = torch.cat([torch.randperm(tracks, generator=generator) for _ in range(rounds)])
    return order[position * pairs : (position + 1) * pairs].tolist()


def sample_pairs(
    tracks: Sequence[Track],
    chosen: Sequence[int],
    pairing: Literal["same-track", "other-track"],
    mirror_pair: float,
    generator: torch.Generator,
) -> PairIndex:
    """Draw a frame of each chosen track, and its partner.

    Args:
        tracks: all tracks.
        chosen: P track indices.
        pairing: the partner is another draw from the same track (it may be the same frame), or a frame
            of another random track.
        mirror_pair: probability of the frame's mirror image instead, for `same-track`. A track of one
            frame always pairs with its mirror.
        generator: source of every draw.
    """
    draws = torch.rand(len(chosen), 4, generator=generator)
    first, second = [], []
    mirrored = [False] * len(chosen)
    for row, (index, (a, b, m, t)) in enumerate(zip(chosen, draws.tolist(), strict=True)):
        frames = tracks[index].frames
        first.append(frames[int(a * len(frames))])
        if pairing == "other-track" and len(tracks) > 1:
            # Skip over the track itself, so that every other one is equally likely.
            frames = tracks[(index + 1 + int(t * (len(tracks) - 1))) % len(tracks)].frames
        elif pairing == "same-track":
            mirrored[row] = len(frames) == 1 or m < mirror_pair
        second.append(first[-1] if mirrored[row] else frames[int(b * len(frames))])
    return PairIndex(first, second, torch.tensor(mirrored))
