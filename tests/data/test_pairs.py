"""Which frames make a batch: every track once an epoch, partners by rule, all from the seed and the step."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from facecycle.api import Track
from facecycle.config.settings import StageConfig
from facecycle.data.pairs import (
    PAIR_DRAWS,
    POOL_SHARDS,
    PairIndex,
    Pool,
    Visits,
    group_by_shard,
    long_enough,
    sample_pairs,
    steps_per_epoch,
)
from facecycle.errors import ConfigError, DataError
from facecycle.seeds import seeded


def make_tracks(lengths: list[int]) -> list[Track]:
    tracks, start = [], 0
    for number, length in enumerate(lengths):
        tracks.append(Track(f"t{number}", f"id{number}", tuple(range(start, start + length))))
        start += length
    return tracks


def stage(pairing: str, frames: int = 2, **settings: float) -> StageConfig:
    """A stage of so many frames a row; the rest of a stage does not matter here."""
    return StageConfig.model_validate(
        {"cycle": "c", "steps": 1, "losses": {}, "pairing": pairing, "frames": frames, **settings}
    )


def drawn(
    tracks: list[Track], chosen: list[int], how: StageConfig, generator: torch.Generator, pools: Sequence[Pool] = ()
) -> PairIndex:
    numbers = torch.rand(len(chosen), PAIR_DRAWS, generator=generator)
    further = torch.rand(len(chosen), how.frames - 2, generator=generator)
    return sample_pairs(tracks, chosen, how, numbers, further, pools)


@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 5))
def test_an_epoch_visits_every_track_at_most_once(tracks: int, pairs: int, epoch: int) -> None:
    length = steps_per_epoch(tracks, pairs)
    steps = range(epoch * length, (epoch + 1) * length)
    visited = [t for step in steps for t in Visits(tracks, pairs, 0, "s").of(step)]
    assert len(visited) == length * pairs
    if tracks >= pairs:
        assert len(set(visited)) == len(visited)
    else:
        assert max(visited.count(t) for t in set(visited)) <= -(-pairs // tracks)


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    first = [Visits(50, 10, 0, "s").of(step) for step in range(5)]
    second = [Visits(50, 10, 0, "s").of(step) for step in range(5, 10)]
    assert first != second
    assert first == [Visits(50, 10, 0, "s").of(step) for step in range(5)]
    assert first != [Visits(50, 10, 1, "s").of(step) for step in range(5)]


@given(st.lists(st.integers(1, 6), min_size=2, max_size=12), st.integers(0, 1000))
def test_partners_come_from_the_same_or_another_track(lengths: list[int], seed: int) -> None:
    tracks = make_tracks(lengths)
    owner = {frame: t for t, track in enumerate(tracks) for frame in track.frames}
    chosen = list(range(len(tracks)))
    same = drawn(tracks, chosen, stage("same-track"), seeded("a", seed))
    assert [owner[f] for f in same.first] == [owner[f] for f in same.second] == chosen
    for row, track in enumerate(tracks):
        if len(track.frames) == 1:
            assert same.mirrored[row]
        if same.mirrored[row]:
            assert same.first[row] == same.second[row]
    other = drawn(tracks, chosen, stage("other-track"), seeded("b", seed))
    assert all(owner[a] != owner[b] for a, b in zip(other.first, other.second, strict=True))
    assert not other.mirrored.any()


def test_every_frame_of_a_track_is_drawn_the_last_one_included() -> None:
    tracks = make_tracks([5])
    found = {drawn(tracks, [0], stage("same-track", mirror_pair=0), seeded(i)).second[0] for i in range(200)}
    assert found == set(range(5))


@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 300))
def test_without_shards_the_order_is_the_one_of_earlier_runs(tracks: int, pairs: int, step: int) -> None:
    epoch, position = divmod(step, max(1, tracks // pairs))
    generator = seeded("order", 7, "s", epoch)
    order = torch.cat([torch.randperm(tracks, generator=generator) for _ in range(-(-pairs // tracks))])
    expected = order[position * pairs : (position + 1) * pairs].tolist()
    assert Visits(tracks, pairs, 7, "s").of(step) == expected
    assert Visits(tracks, pairs, 7, "s").pools(step) == ([], None)


def test_the_order_of_a_seed_is_known() -> None:
    found = [Visits(7, 3, 0, "s").of(step) for step in range(4)]
    assert found == [[0, 5, 2], [1, 4, 3], [5, 4, 0], [2, 3, 1]]
    assert Visits(2, 5, 1, "s").of(0) == [1, 0, 1, 0, 1]


def sharded(sizes: list[int], loose: int = 0) -> list[Track]:
    """Make tracks of two frames: so many in each shard, and some in none between them."""
    shards = [number for number, size in enumerate(sizes) for _ in range(size)]
    places = [None] * loose + shards
    return [Track(f"t{n}", "", range(2 * n, 2 * n + 2), shard) for n, shard in enumerate(places)]


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=40)


@given(SIZES, st.integers(0, 20), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2))
def test_processes_share_an_epoch_out_and_leave_no_track(
    sizes: list[int], loose: int, world: int, local: int, epoch: int
) -> None:
    tracks = sharded(sizes, loose)
    shards, pairs = group_by_shard(tracks), world * local
    length = steps_per_epoch(len(tracks), pairs)
    steps = range(epoch * length, (epoch + 1) * length)
    visited = []
    for rank in range(world):
        each = [Visits(len(tracks), pairs, 0, "s", shards, rank, world).of(step) for step in steps]
        assert {len(batch) for batch in each} == {local}
        visited += [track for batch in each for track in batch]
    if len(tracks) >= pairs:
        assert len(set(visited)) == len(visited)  # nobody draws what another process draws
        assert len(tracks) - len(visited) < pairs  # what is left is less than a batch
    else:
        assert max(visited.count(track) for track in visited) <= -(-pairs // len(tracks))


@given(SIZES, st.integers(0, 20), st.integers(1, 3))
def test_an_epoch_goes_through_the_shards_pool_by_pool(sizes: list[int], loose: int, world: int) -> None:
    tracks = sharded(sizes, loose)
    shards, total = group_by_shard(tracks), len(tracks)
    read: list[int] = []
    for rank in range(world):
        visits = Visits(total, world, 0, "s", shards, rank, world)
        before: tuple[int, ...] = ()
        upcoming = None
        for step in range(steps_per_epoch(total, world)):
            (index,), ((pool,), following) = visits.of(step), visits.pools(step)
            assert len(pool.shards) <= POOL_SHARDS
            assert index in pool.tracks
            assert tracks[index].shard in {None, *pool.shards}
            if pool.shards != before:
                read += pool.shards
                if before:
                    assert upcoming is pool  # the one that was announced
            before, upcoming = pool.shards, following
        # The last pool announces the first one of the next epoch.
        assert upcoming is visits.pools(steps_per_epoch(total, world))[0][0]
    assert len(read) <= len(sizes) + world - 1  # each once, but for those that lie between two processes


def test_epochs_over_shards_differ_and_repeat_with_the_seed() -> None:
    tracks = sharded([5] * 10)
    shards = group_by_shard(tracks)
    first, second = ([Visits(50, 10, 0, "s", shards).of(step) for step in steps] for steps in (range(5), range(5, 10)))
    assert first != second
    again = group_by_shard(tracks)
    assert first == [Visits(50, 10, 0, "s", again).of(step) for step in range(5)]
    assert first != [Visits(50, 10, 1, "s", again).of(step) for step in range(5)]


@given(SIZES, st.integers(0, 1000))
def test_another_track_comes_from_the_same_pool(sizes: list[int], seed: int) -> None:
    tracks = sharded(sizes, loose=2)
    visits = Visits(len(tracks), 4, 0, "s", group_by_shard(tracks))
    chosen, (pools, _) = visits.of(seed), visits.pools(seed)
    pairs = drawn(tracks, chosen, stage("other-track"), seeded("o", seed), pools)
    for first, second, pool in zip(pairs.first, pairs.second, pools, strict=True):
        assert first // 2 != second // 2
        assert second // 2 in pool.tracks


def test_every_other_track_of_the_pool_is_drawn() -> None:
    tracks = sharded([6])
    _, pool = Visits(6, 1, 0, "s", group_by_shard(tracks)).pools(0)
    assert pool is not None
    found = {drawn(tracks, [3], stage("other-track"), seeded(n), [pool]).second[0] // 2 for n in range(200)}
    assert found == {0, 1, 2, 4, 5}


def test_without_shards_processes_take_their_rows_of_one_batch() -> None:
    for step in range(9):
        whole = Visits(20, 6, 0, "s").of(step)
        parts = [Visits(20, 6, 0, "s", None, rank, 3).of(step) for rank in range(3)]
        assert [track for part in parts for track in part] == whole
        assert {len(part) for part in parts} == {2}


def test_pairs_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(ConfigError, match="pairs = 5 cannot be shared out evenly over 2 processes"):
        Visits(20, 5, 0, "s", None, 0, 2)


# --- more than two frames -----------------------------------------------------------------------


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(3, 9), st.integers(1, 3), st.integers(0, 99))
def test_a_sequence_goes_forward_in_its_track_and_short_tracks_are_left_out(
    lengths: list[int], frames: int, spacing: int, seed: int
) -> None:
    tracks, how = make_tracks(lengths), stage("sequence", frames, spacing=spacing)
    span = 2 + (frames - 2) * spacing
    if max(lengths) < span:
        with pytest.raises(DataError, match=f"span {span} frames, and the longest track has {max(lengths)}"):
            long_enough(tracks, how, "s")
        return
    kept = long_enough(tracks, how, "s")
    chosen = list(range(len(tracks))) if kept is None else list(kept)
    assert chosen == [number for number, length in enumerate(lengths) if length >= span]
    index = drawn(tracks, chosen, how, seeded(seed))
    assert not index.mirrored.any()
    for row, number in enumerate(chosen):
        begin = index.first[row]
        further = index.further[row * (frames - 2) : (row + 1) * (frames - 2)]
        assert index.second[row] == begin + 1
        assert further == [begin + 1 + spacing * (k + 1) for k in range(frames - 2)]
        assert {begin, further[-1]} <= set(tracks[number].frames)


def test_a_sequence_begins_anywhere_that_leaves_room() -> None:
    tracks, how = make_tracks([7]), stage("sequence", 4)
    assert {drawn(tracks, [0], how, seeded(n)).first[0] for n in range(200)} == {0, 1, 2, 3}


@given(st.integers(1, 9), st.integers(3, 6), st.integers(0, 99))
def test_further_frames_are_distinct_while_the_track_has_enough(length: int, frames: int, seed: int) -> None:
    tracks = make_tracks([3, length])
    index = drawn(tracks, [1], stage("same-track", frames), seeded(seed))
    taken = {index.first[0], index.second[0]}
    assert set(index.further) <= set(tracks[1].frames)
    if length - len(taken) >= frames - 2:
        assert len(taken | set(index.further)) == len(taken) + frames - 2


def test_further_frames_of_other_people_are_still_of_the_first_track() -> None:
    tracks = make_tracks([4, 4])
    for seed in range(30):
        index = drawn(tracks, [0], stage("other-track", 5), seeded(seed))
        assert {index.first[0], *index.further} == set(tracks[0].frames)
        assert index.second[0] in tracks[1].frames


def test_the_same_frame_is_every_image_of_its_row() -> None:
    index = drawn(make_tracks([5, 5]), [1, 0], stage("same-frame", 4), seeded(3))
    assert index.first == index.second
    assert index.further == [f for f in index.first for _ in range(2)]
    assert not index.mirrored.any()


def test_further_frames_change_no_pair() -> None:
    tracks, numbers = make_tracks([6, 9, 4]), torch.rand(3, PAIR_DRAWS, generator=seeded(1))
    two, five = (
        sample_pairs(tracks, [2, 0, 1], stage("same-track", frames), numbers, torch.rand(3, frames - 2))
        for frames in (2, 5)
    )
    assert (two.first, two.second) == (five.first, five.second)
    assert torch.equal(two.mirrored, five.mirrored)
    assert (len(two.further), len(five.further)) == (0, 9)
