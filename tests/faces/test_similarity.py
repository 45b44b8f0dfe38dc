"""Similarities: maps there and back, least squares, and where a face's crop lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facecycle.api import Face
from facecycle.errors import DataError
from facecycle.faces.similarity import ALIGNED, Similarity, align, fit

similarities = st.builds(
    Similarity,
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
    side=st.floats(1, 900),
    roll=st.floats(-179, 179),
)


def test_a_roll_of_90_degrees_turns_clockwise_as_the_picture_shows_it() -> None:
    corners = Similarity(100, 50, 20, 90).corners()
    assert np.allclose(corners, [(110, 40), (110, 60), (90, 60), (90, 40)])


@given(similarities)
def test_points_return_from_the_photograph(similarity: Similarity) -> None:
    points = np.random.default_rng(0).uniform(-1, 2, (7, 2))
    assert np.allclose(similarity.to_crop(similarity.to_photograph(points)), points, atol=1e-9)


@given(similarities)
def test_the_fit_finds_the_similarity_that_moved_points(similarity: Similarity) -> None:
    found = fit(ALIGNED, similarity.to_photograph(ALIGNED), np.array([1.0, 2, 3, 4]))
    assert np.allclose(found.corners(), similarity.corners(), atol=1e-6)


def test_the_fit_has_least_squared_error_and_never_mirrors() -> None:
    rng = np.random.default_rng(1)
    target = ALIGNED * (-80, 80) + rng.normal(size=(4, 2)) * 3  # mirrored
    found = fit(ALIGNED, target)

    def error(each: Similarity) -> float:
        return float(((each.to_photograph(ALIGNED) - target) ** 2).sum())

    for change in (1e-3, -1e-3):
        for name in ("x", "y", "side", "roll"):
            values = {**vars(found), name: getattr(found, name) + change}
            assert error(Similarity(**values)) >= error(found)


def test_points_that_are_one_point_fit_nothing() -> None:
    with pytest.raises(DataError, match="all the same"):
        fit(ALIGNED, np.full((4, 2), 3.0))
    with pytest.raises(DataError, match="all the same"):
        fit(np.full((4, 2), 0.5), ALIGNED)


def test_a_face_is_aligned_by_its_eyes_and_mouth_and_not_by_its_nose() -> None:
    square = Similarity(200, 120, 90, 25)
    landmarks = square.to_photograph(np.insert(ALIGNED, 2, (0.9, 0.1), axis=0))
    assert np.allclose(align(Face((0, 0, 1, 1), 1.0, landmarks)).corners(), square.corners())


def test_without_landmarks_the_box_tells() -> None:
    assert align(Face((10, 20, 70, 100), 1.0)) == Similarity(45, 70 + 0.05 * 87, 87)
    assert align(Face((10, 20, 70, 100), 1.0, exact=True)) == Similarity(45, 70, 70)


def test_the_pixels_of_a_crop_are_the_centres_of_its_cells() -> None:
    square = Similarity(40, 30, 20, 33)
    cells = (np.arange(5) + 0.5) / 5
    expected = square.to_photograph(np.stack(np.meshgrid(cells, cells), -1))
    assert np.allclose(square.pixels(5), expected, atol=1e-4)
