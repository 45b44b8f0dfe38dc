"""Protocols find what is there, find nothing where nothing is, and never look at the test fold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import Ridge

from facecycle.api import Labelled, Verification
from facecycle.errors import DataError
from facecycle.probing.folds import bootstrap, inner_splits, standardise
from facecycle.probing.protocols import PROTOCOLS
from facecycle.probing.protocols.cosine_10fold import Cosine10Fold, best_threshold, interval_over_folds, similarities
from facecycle.probing.protocols.linear import Linear
from facecycle.probing.protocols.linear_pose import ALPHA_GRID, LinearPose
from facecycle.probing.result import Row


def labelled(targets: np.ndarray, folds: np.ndarray, groups: np.ndarray) -> Labelled:
    return Labelled(np.arange(len(folds)), targets, folds, groups)


def verify(first: np.ndarray, second: np.ndarray, same: np.ndarray, folds: np.ndarray) -> Row:
    count = len(same)
    pairs = Verification(np.arange(count), count + np.arange(count), same, folds)
    return Cosine10Fold().fit(np.concatenate([first, second]), pairs)


def test_every_protocol_says_what_it_is() -> None:
    assert list(PROTOCOLS) == [
        "linear",
        "facecycle-raf",
        "linear-pose",
        "facecycle-pose",
        "cosine-10fold",
        "neutral",
    ]
    for protocol in PROTOCOLS.values():
        assert protocol.labels
        assert protocol.metrics
        assert min(len(text) for text in (protocol.task, protocol.data, protocol.selection, protocol.interval)) > 3
    assert "alpha from [1.0, 3.16, 10.0," in PROTOCOLS["facecycle-pose"].selection
    assert PROTOCOLS["linear"].selection.startswith("C from [0.0001, 0.001, 0.01, 0.1, 1.0] by 3-fold")


def five_folds(n: int) -> tuple[np.ndarray, np.ndarray]:
    groups = np.arange(n) // 4
    return groups % 5, groups


def test_separable_classes_are_separated() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 120)
    features = np.eye(3)[targets] @ rng.normal(size=(3, 300)) + 0.05 * rng.normal(size=(120, 300))
    scores = Linear().fit(features, labelled(targets, *five_folds(120)))
    assert scores.metrics["accuracy"] == 1.0
    assert len(scores.folds) == 5
    assert sorted(scores.tested.tolist()) == list(range(120))


def test_labels_without_a_reason_give_chance() -> None:
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 2, 400)
    scores = Linear().fit(rng.normal(size=(400, 20)), labelled(targets, *five_folds(400)))
    assert abs(scores.metrics["accuracy"] - 0.5) < 0.1


def test_a_linear_map_to_angles_is_recovered() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(200, 10))
    targets = features @ rng.normal(size=(10, 3)) * 5 + [3, -7, 1]
    scores = LinearPose().fit(features, labelled(targets, *five_folds(200)))
    assert scores.metrics["mean"] < 0.2
    (blind,) = LinearPose().blind(labelled(targets, *five_folds(200)))
    assert blind.metrics["mean"] == pytest.approx(np.abs(targets - targets.mean(0)).mean(), rel=0.1)


def test_training_only_samples_are_never_tested() -> None:
    rng = np.random.default_rng(3)
    folds = np.r_[np.full(60, -1), np.zeros(20, int)]
    scores = LinearPose().fit(rng.normal(size=(80, 4)), labelled(rng.normal(size=(80, 3)), folds, np.arange(80)))
    assert scores.tested.tolist() == list(range(60, 80))
    assert list(scores.folds) == [0]


def test_features_that_never_vary_give_chance() -> None:
    targets = np.arange(40) % 2
    scores = Linear().fit(np.ones((40, 200)), labelled(targets, *five_folds(40)))
    assert scores.metrics["accuracy"] == 0.5


def test_standardising_looks_at_the_training_part_alone() -> None:
    rng = np.random.default_rng(5)
    train, test = rng.normal(3, 2, (50, 4)), rng.normal(100, 9, (20, 4))
    scaled, scaled_test = standardise(train, test)
    # Standardised in single precision.
    assert np.allclose(scaled.mean(0), 0, atol=1e-6)
    assert np.allclose(scaled.std(0), 1, atol=1e-6)
    assert np.allclose(scaled_test, (test - train.mean(0)) / train.std(0), rtol=1e-5)


@pytest.mark.parametrize("columns", [12, 300])
def test_the_scale_of_features_changes_no_prediction(columns: int) -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(size=(80, 3))
    features = (np.tile(values, columns // 3) + rng.normal(size=(80, columns))).astype(np.float32)
    labels = labelled(values, *five_folds(80))
    plain = LinearPose().fit(features, labels)
    assert plain.metrics["mean"] < 0.9 * LinearPose().blind(labels)[0].metrics["mean"]
    for scale in (1e-12, 1e12):
        scaled = LinearPose().fit(features * np.float32(scale), labels)
        assert np.allclose(scaled.predicted, plain.predicted, atol=1e-4)
        assert scaled.chosen == plain.chosen


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_a_constant_with_rounding_noise_stays_constant(scale: float) -> None:
    rng = np.random.default_rng(7)
    noise = 1 + rng.integers(-2, 3, (60, 1)) * float(np.finfo(np.float32).eps)
    x = (np.concatenate([noise, rng.normal(size=(60, 1))], axis=1) * scale).astype(np.float32)
    train, test = standardise(x[:40], x[40:])
    assert not train[:, 0].any()
    assert not test[:, 0].any()
    assert np.allclose(train[:, 1].std(), 1, atol=1e-5)


@given(hnp.arrays(float, st.integers(1, 30), elements=st.integers(-5, 5).map(float)), st.randoms())
def test_the_threshold_is_the_best_there_is(scores: np.ndarray, random: object) -> None:
    same = np.array([random.random() < 0.5 for _ in scores])  # type: ignore[attr-defined]
    found = best_threshold(scores, same)
    accuracy = ((scores >= found) == same).mean()
    candidates = [*scores, scores.max() + 1]
    assert accuracy == max(((scores >= c) == same).mean() for c in candidates)


def test_verification_finds_persons_and_reports_chance_without_any() -> None:
    rng = np.random.default_rng(6)
    people = rng.normal(size=(40, 16)) + 5
    a, b = np.arange(40).repeat(10), rng.integers(0, 40, 400)
    b[::2] = a[::2]
    features = lambda who: people[who] + 0.1 * rng.normal(size=(400, 16))  # noqa: E731
    folds = np.arange(400) // 40
    good = verify(features(a), features(b), a == b, folds)
    assert good.metrics["accuracy"] > 0.97
    assert good.metrics["auc"] > 0.99
    noise = verify(rng.normal(size=(400, 16)), rng.normal(size=(400, 16)), a == b, folds)
    assert abs(noise.metrics["auc"] - 0.5) < 0.1


def test_similarities_are_cosines_of_features_less_the_other_folds_mean() -> None:
    rng = np.random.default_rng(8)
    features = (1e-6 * rng.normal(size=(30, 5)) + rng.normal(size=5)).astype(np.float32)  # small beside their mean
    places, folds = rng.integers(0, 30, (2, 60)), np.repeat([0, 1, 4], 20)
    found = similarities(features, places, folds)
    exact = features.astype(np.float64)
    for number, fold in enumerate((0, 1, 4)):
        mean = exact[places[:, folds != fold]].reshape(-1, 5).mean(axis=0)
        a, b = exact[places] - mean
        wanted = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        np.testing.assert_allclose(found[:, number], wanted, atol=1e-7)
    np.testing.assert_allclose(similarities(features * np.float32(2**-30), places, folds), found)
    assert not similarities(np.full_like(features, 0.3), places, folds).any()


def test_a_threshold_never_sees_its_own_fold() -> None:
    # In fold 0 the order is turned round: a threshold that had seen it would do better than 0 there.
    same = np.tile([True, False], 20)
    folds = np.repeat(np.arange(10), 4)
    angle = np.where(same ^ (folds == 0), 0.1, 2.0)
    first = np.tile([1.0, 0.0], (40, 1))
    second = np.c_[np.cos(angle), np.sin(angle)]
    mirrored = np.r_[first, -first], np.r_[second, -second]  # centred by any subset of whole folds
    scores = verify(*mirrored, np.r_[same, same], np.r_[folds, folds])
    assert scores.folds[0]["accuracy"] == 0.0
    assert all(scores.folds[fold]["accuracy"] == 1.0 for fold in range(1, 10))


@pytest.mark.parametrize(
    ("folds", "groups", "message"),
    [
        (np.full(20, -1), np.arange(20), "no fold is tested"),
        (np.zeros(20, int), np.arange(20), "nothing to train on"),
        (np.arange(20) % 2, np.zeros(20, int), "fewer than two people"),
    ],
)
def test_a_split_that_cannot_be_used_says_why(folds: np.ndarray, groups: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        LinearPose().fit(np.random.default_rng(7).normal(size=(20, 3)), labelled(np.ones((20, 3)), folds, groups))


def test_pairs_of_a_single_fold_are_refused() -> None:
    with pytest.raises(DataError, match="the pairs are one fold"):
        verify(np.ones((4, 2)), np.ones((4, 2)), np.array([True, False] * 2), np.zeros(4, int))


def test_the_bootstrap_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(200):
        low, high = bootstrap(rng.normal(3, 2, 60), np.arange(60))
        covered += low <= 3 <= high
    assert 0.88 < covered / 200 < 0.99


def test_the_bootstrap_draws_people_not_images() -> None:
    values = np.repeat(np.random.default_rng(9).normal(size=20), 50)
    people = np.arange(20).repeat(50)
    low, high = bootstrap(values, people)
    single_low, single_high = bootstrap(values, np.arange(1000))
    assert high - low > 4 * (single_high - single_low)
    assert bootstrap(np.ones(10), np.arange(10)) == (1.0, 1.0)
    assert bootstrap(values, np.zeros(1000)) is None


def test_the_interval_over_folds_is_students() -> None:
    low, high = interval_over_folds(np.array([0.7, 0.72, 0.74, 0.76, 0.78]))
    # t(0.975, 4) = 2.7764; the deviation of these five is 0.0316.
    assert (low, high) == pytest.approx(
        (0.74 - 2.7764 * 0.031623 / 5**0.5, 0.74 + 2.7764 * 0.031623 / 5**0.5), abs=1e-5
    )


@pytest.mark.parametrize("width", [30, 89, 90, 91, 400])
def test_the_pose_regression_is_ridge_with_an_intercept_at_the_best_alpha(width: int) -> None:
    """Of fewer features than samples, and of more: then inner products of samples are what is solved with."""
    rng = np.random.default_rng(10)
    features = rng.normal(size=(120, width)).astype(np.float32)
    targets = features[:, :3] * 8 + rng.normal(size=(120, 3)) * 4 + [5, -3, 1]
    groups = np.arange(120) // 2
    folds = np.where(np.arange(120) < 90, -1, 0)
    scores = LinearPose().fit(features, labelled(targets, folds, groups))
    x, x_test = standardise(features[:90], features[90:])
    errors = []
    for alpha in ALPHA_GRID:
        fits = [(Ridge(alpha).fit(x[a], targets[a]), b) for a, b in inner_splits(targets[:90], groups[:90], False)]
        errors.append(np.mean([np.abs(model.predict(x[b]) - targets[b]).mean() for model, b in fits]))
    best = ALPHA_GRID[int(np.argmin(errors))]
    assert scores.chosen == {0: best}
    assert np.allclose(scores.predicted, Ridge(best).fit(x, targets[:90]).predict(x_test), atol=1e-3)


def test_data_with_nothing_to_train_on_says_so() -> None:
    with pytest.raises(DataError, match="nothing to train on"):
        Linear().blind(labelled(np.ones(8, int), np.zeros(8, int), np.arange(8)))


def test_a_single_class_cannot_be_learned_from() -> None:
    folds = np.r_[np.full(12, -1), np.zeros(4, int)]
    with pytest.raises(DataError, match="single class"):
        Linear().fit(np.random.default_rng(11).normal(size=(16, 3)), labelled(np.zeros(16, int), folds, np.arange(16)))


def test_pairs_of_one_kind_are_refused() -> None:
    with pytest.raises(DataError, match="fold 0 of the pairs holds only pairs of one person"):
        verify(np.ones((4, 2)), np.ones((4, 2)), np.ones(4, bool), np.arange(4) % 2)
