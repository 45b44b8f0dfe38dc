"""What measures translated photographs: areas under curves, sharpness, and pixels outside of a face."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from helpers.common import ROOT
from skimage.data import astronaut
from sklearn.metrics import roc_auc_score

from facecycle.api import Face
from facecycle.faces.similarity import Similarity
from facecycle.translation.photographs import FoundFace, Motion, Photograph

sys.path.insert(0, str(ROOT / "recipes" / "default_weights"))
from photographs import Case, auc_of, inner, outside, sharpness

WHERE = Similarity(224.0, 110.0, 128.0)
FACE = Face((160.0, 46.0, 128.0, 128.0), 1.0, exact=True)


def case(old: np.ndarray, flow: np.ndarray) -> Case:
    photograph = Photograph("astronaut", astronaut(), {})
    face = FoundFace(photograph, 1, 1, FACE, [], WHERE, np.zeros((3, 64, 64), np.uint8))
    return Case(face, Motion(face, flow), old)


def test_a_face_that_does_not_move_is_as_sharp_as_its_photograph_and_a_blurred_one_is_not() -> None:
    blurred = np.repeat(np.repeat(astronaut()[::4, ::4], 4, 0), 4, 1)
    box = (
        blurred.astype(float) + np.roll(blurred, 2, 0) + np.roll(blurred, 2, 1) + np.roll(blurred, (2, 2), (0, 1))
    ) / 4
    found = sharpness(case(box.astype(np.uint8), np.zeros((2, 16, 16))))
    assert found["new"] == 1
    assert 0 < found["old"] < 0.8
    assert sharpness(case(np.full_like(blurred, 90), np.zeros((2, 16, 16))))["old"] == 0


def test_a_moved_face_changes_pixels_inside_its_ellipse_alone() -> None:
    flow = np.random.default_rng(0).normal(0, 0.2, (2, 16, 16))
    beyond, within = outside(case(astronaut(), flow))
    assert beyond == 0
    assert within > 5000
    assert outside(case(astronaut(), np.zeros((2, 16, 16)))) == (0, 0)


def test_the_face_is_an_ellipse_in_the_crop() -> None:
    face = inner(100)
    assert face[46, 50]
    assert face[28, 30]  # an eye
    assert not face[5, 5]
    assert face.mean() == pytest.approx(np.pi * 0.403 * 0.468, abs=0.01)


def test_the_area_under_the_curve_is_the_known_one_and_its_interval_is_over_people() -> None:
    rng = np.random.default_rng(1)
    people = np.repeat(np.arange(12), 6)
    place = people + rng.normal(0, 2, len(people))
    first, second = np.triu_indices(len(people), 1)
    same, near = people[first] == people[second], -abs(place[first] - place[second])
    auc, low, high = auc_of(near, same, people[first], people[second])
    assert auc == pytest.approx(roc_auc_score(same, near))
    assert low < auc < high
    # One person of nothing but twins in place of many: people are drawn, not pairs, so certainty does not grow.
    again = np.tile(np.arange(len(near)), 2)
    assert auc_of(near[again], same[again], people[first][again], people[second][again])[1:] == pytest.approx(
        (low, high)
    )
