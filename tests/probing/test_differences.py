"""Differences between checkpoints are paired, know what better means, and are not claimed where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest

from facecycle.api import Labelled
from facecycle.probing.differences import between_checkpoints, paired
from facecycle.probing.folds import bootstrap, measured
from facecycle.probing.protocols import PROTOCOLS
from facecycle.probing.protocols.base import ProbeProtocol
from facecycle.probing.protocols.linear import hits
from facecycle.probing.protocols.linear_pose import angle_errors
from facecycle.probing.result import Row

COUNT, PEOPLE = 240, 40


def faces() -> Labelled:
    count = np.arange(COUNT)
    return Labelled(count, np.zeros((COUNT, 3)), np.zeros(COUNT, int), count % PEOPLE)


def pose_row(checkpoint: str, kind: str, errors: np.ndarray) -> Row:
    """Return the row of a feature that misses every angle by so many degrees."""
    row = Row(feature=f"{checkpoint}: {kind}" if checkpoint else kind, checkpoint=checkpoint, dimensions=4)
    return measured(row, np.arange(COUNT), np.repeat(errors[:, None], 3, axis=1), faces(), angle_errors)


def test_a_difference_is_certain_where_the_intervals_of_both_overlap() -> None:
    rng = np.random.default_rng(0)
    hard = 5 + 2 * rng.normal(size=PEOPLE)[np.arange(COUNT) % PEOPLE]  # what is hard about a face weighs on both
    one, other = (pose_row(name, "conv", abs(hard) + extra) for name, extra in (("a", 0.0), ("b", 0.3)))
    assert one.intervals["mean"][1] > other.intervals["mean"][0]
    (found,) = between_checkpoints(PROTOCOLS["linear-pose"], [one, other])
    assert found.metrics["mean"] == pytest.approx(-0.3)
    assert found.intervals["mean"] == pytest.approx((-0.3, -0.3))
    assert found.better == "a: conv"  # fewer degrees are better


def test_people_are_drawn_for_both_at_once() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, PEOPLE, COUNT)
    one, other = rng.normal(size=(2, COUNT))
    values, interval = paired((one, groups), (other, groups))
    assert interval == bootstrap(one - other, groups)
    back = paired((other, groups), (one, groups))[1]
    assert interval is not None
    assert back == pytest.approx((-interval[1], -interval[0]))
    assert values.mean() == pytest.approx(one.mean() - other.mean())
    # Fewer people say less, however many images they have.
    few = paired((one, groups % 4), (other, groups % 4))[1]
    assert few is not None
    assert paired((one, groups * 0), (other, groups * 0))[1] is None


def test_noise_is_not_told_apart_as_often_as_the_interval_says() -> None:
    rng = np.random.default_rng(2)
    groups = np.arange(COUNT) % PEOPLE
    claims = 0
    for _ in range(200):
        low, high = paired(*((rng.normal(size=COUNT), groups) for _ in range(2)))[1] or (0, 0)
        claims += low > 0 or high < 0
    assert 2 <= claims <= 24  # 5 % of 200 is 10; a binomial deviation is 3.1


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS.keys())
def test_every_protocol_has_a_headline(protocol: ProbeProtocol) -> None:
    assert protocol.headline in protocol.metrics


def test_the_best_features_and_those_of_one_kind_are_compared_and_twins_are_not() -> None:
    errors = np.ones(COUNT)
    rows = [
        pose_row("", "mean pose", errors),
        pose_row("a", "expression", 3 * errors),
        pose_row("", "a: expression, random twin", errors),
        pose_row("a", "conv", 2 * errors),
        pose_row("b", "conv", 4 * errors),
        pose_row("b", "code", 1 * errors),
        pose_row("", "hog", errors),
    ]
    best, conv = between_checkpoints(PROTOCOLS["linear-pose"], rows)
    assert (best.one, best.other, best.best, best.better) == ("a: conv", "b: code", True, "b: code")
    assert (conv.one, conv.other, conv.best, conv.better) == ("a: conv", "b: conv", False, "a: conv")
    assert between_checkpoints(PROTOCOLS["linear-pose"], rows[:4]) == []


def test_more_hits_are_better_and_no_claim_is_made_of_one_person() -> None:
    labels = Labelled(np.arange(10), np.ones(10, int), np.zeros(10, int), np.arange(10))
    alone = Labelled(np.arange(10), np.ones(10, int), np.zeros(10, int), np.zeros(10, int))
    for people, better in ((labels, "b: conv"), (alone, "")):
        rows = [Row(feature=f"{name}: conv", checkpoint=name, dimensions=1) for name in "ab"]
        guesses = (np.zeros(10, int), np.ones(10, int))
        made = [measured(row, np.arange(10), g, people, hits) for row, g in zip(rows, guesses, strict=True)]
        (found,) = between_checkpoints(PROTOCOLS["linear"], made)
        assert found.metrics["accuracy"] == -1
        assert found.better == better


def test_accuracies_of_verification_are_paired_by_fold() -> None:
    one, other = np.array([0.7, 0.8, 0.9]), np.array([0.6, 0.7, 0.8])
    values, interval = paired((one, None), (other, None))
    assert values == pytest.approx([0.1, 0.1, 0.1])
    assert interval == pytest.approx((0.1, 0.1))
