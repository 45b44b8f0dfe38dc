"""A face is followed through a video: what is not looked at is between looks, and no two faces are averaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.clips import FACE, MEADOW, shifted, write_video

from facecycle.api import Face
from facecycle.faces import following
from facecycle.faces.detection import named
from facecycle.faces.following import SMOOTH, Track, track
from facecycle.faces.similarity import Similarity


def of(seconds: np.ndarray, places: np.ndarray) -> Track:
    return Track(seconds, places, np.ones(len(places), bool))


def test_places_are_smoothed_over_time_and_short_gaps_are_bridged() -> None:
    rng = np.random.default_rng(0)
    seconds = np.arange(100) / 25
    steady = np.stack([100 + 20 * seconds, 80 + 5 * np.sin(seconds), np.full(100, np.log(60)), np.zeros(100)], axis=1)
    found = steady + rng.normal(0, (1.5, 1.5, 0.02, 1), steady.shape)
    found[10:14] = found[50:70] = np.nan
    places = of(seconds, found)
    smooth = places.smooth()
    assert smooth.shake() < 0.2 * places.shake()
    assert np.abs(smooth.places[5:50, :2] - steady[5:50, :2]).max() < 3
    assert isinstance(smooth.similarity(12), Similarity)
    assert smooth.similarity(60) is None


def test_a_long_track_is_smoothed_as_one_sum_over_all_of_it() -> None:
    rng = np.random.default_rng(0)
    seconds = np.cumsum(rng.uniform(0.01, 0.08, 700))
    places = rng.normal((100, 80, 4, 0), (2, 2, 0.02, 3), (700, 4))
    weights = np.exp(-0.5 * ((seconds[:, None] - seconds) / SMOOTH) ** 2)
    expected = weights @ places / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(of(seconds, places).smooth().places, expected, rtol=1e-7, atol=1e-6)


def test_rolls_go_round_and_no_place_lies_between_two_faces() -> None:
    seconds = np.arange(40) / 25
    places = np.tile([50.0, 40.0, 4.0, 0.0], (40, 1))
    places[:, 3] = [179, -179] * 20  # upside down
    places[20:, 0] = 200  # after a cut
    smooth = of(seconds, places).smooth().places
    assert set(smooth[:, 0].round(9)) == {50, 200}
    assert abs(abs(smooth[:, 3]) - 180).max() <= 1


def test_nothing_is_smoothed_where_there_is_no_face() -> None:
    nothing = np.full((5, 4), np.nan)
    assert np.isnan(of(np.arange(5) / 25, nothing).smooth().places).all()


class Scripted:
    """Sees a face where frames are not green, and counts its looks."""

    def __init__(self) -> None:
        self.searched = self.followed = 0

    def _face(self, image: np.ndarray) -> Face | None:
        green = image[..., 1].mean() > image[..., 0].mean() + 10
        return None if green else Face((10.0, 10.0, 40.0, 50.0), 0.9)

    def detect(self, image: np.ndarray) -> list[Face]:
        self.searched += 1
        face = self._face(image)
        return [] if face is None else [face]

    def follow(self, image: np.ndarray, face: Face) -> Face | None:
        self.followed += 1
        return self._face(image)


@pytest.mark.parametrize("count", [10, 11])
def test_every_second_frame_is_looked_at_and_the_last_one(tmp_path: Path, count: int) -> None:
    detector = Scripted()
    found = track(write_video(tmp_path / "a.mp4", [FACE] * count), detector)
    assert found.looked.tolist() == [number % 2 == 0 or number == count - 1 for number in range(count)]
    assert np.isfinite(found.places[found.looked]).all()
    assert np.isnan(found.places[~found.looked]).all()
    assert np.isfinite(found.smooth().places).all()
    assert detector.searched == 1


def test_slow_clips_are_looked_at_in_every_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [FACE] * 6, [60 * number for number in range(6)])
    assert track(path, Scripted()).looked.all()


@pytest.mark.parametrize("first", [5, 6])
def test_a_face_ends_in_the_frame_in_which_it_ends(tmp_path: Path, first: int) -> None:
    pictures = [FACE] * first + [MEADOW] * 10
    smooth = track(write_video(tmp_path / "a.mkv", pictures, codec="ffv1"), Scripted()).smooth()
    assert np.isfinite(smooth.places[:, 0]).tolist() == [True] * first + [False] * 10


def test_what_is_not_looked_at_is_where_it_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", [shifted(number) for number in range(24)])
    some = track(path, named("yunet"))
    monkeypatch.setattr(following, "BETWEEN", 0.0)
    every = track(path, named("yunet"))
    assert (some.looked.sum(), every.looked.sum()) == (13, 24)
    off = some.smooth().places - every.smooth().places
    assert abs(off[:, :2]).max() < 1.5  # of 90 pixels
    assert abs(off[:, 2]).max() < 0.02
