"""Which frames make a batch: every track once an epoch, partners by rule, all from the seed and the step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from facecycle.api import Track
from facecycle.data.pairs import epoch_tracks, sample_pairs, seeded, steps_per_epoch


def make_tracks(lengths: list[int]) -> list[Track]:
    tracks, start = [], 0
    for number, length in enumerate(lengths):
        tracks.append(Track(f"t{number}", f"id{number}", tuple(range(start, start + length))))
        start += length
    return tracks


@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 5))
def test_an_epoch_visits_every_track_at_most_once(tracks: int, pairs: int, epoch: int) -> None:
    length = steps_per_epoch(tracks, pairs)
    steps = range(epoch * length, (epoch + 1) * length)
    visited = [t for step in steps for t in epoch_tracks(tracks, pairs, step, seed=0, stage="s")]
    assert len(visited) == length * pairs
    if tracks >= pairs:
        assert len(set(visited)) == len(visited)
    else:
        assert max(visited.count(t) for t in set(visited)) <= -(-pairs // tracks)


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    first = [epoch_tracks(50, 10, step, 0, "s") for step in range(5)]
    second = [epoch_tracks(50, 10, step, 0, "s") for step in range(5, 10)]
    assert first != second
    assert first == [epoch_tracks(50, 10, step, 0, "s") for step in range(5)]
    assert first != [epoch_tracks(50, 10, step, 1, "s") for step in range(5)]


@given(st.lists(st.integers(1, 6), min_size=2, max_size=12), st.integers(0, 1000))
def test_partners_come_from_the_same_or_another_track(lengths: list[int], seed: int) -> None:
    tracks = make_tracks(lengths)
    owner = {frame: t for t, track in enumerate(tracks) for frame in track.frames}
    chosen = list(range(len(tracks)))
    same = sample_pairs(tracks, chosen, "same-track", 0.5, seeded("a", seed))
    assert [owner[f] for f in same.first] == [owner[f] for f in same.second] == chosen
    for row, track in enumerate(tracks):
        if len(track.frames) == 1:
            assert same.mirrored[row]
        if same.mirrored[row]:
            assert same.first[row] == same.second[row]
    other = sample_pairs(tracks, chosen, "other-track", 0.5, seeded("b", seed))
    assert all(owner[a] != owner[b] for a, b in zip(other.first, other.second, strict=True))
    assert not other.mirrored.any()


def test_every_frame_of_a_track_is_drawn_the_last_one_included() -> None:
    tracks = make_tracks([5])
    drawn = {sample_pairs(tracks, [0], "same-track", 0.0, seeded(i)).second[0] for i in range(200)}
    assert drawn == set(range(5))
