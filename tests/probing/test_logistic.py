"""Logistic regressions that are fitted together are those that scikit-learn fits one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from facecycle.probing.logistic import TOLERANCE, fit_all

CLASSES = 4
C = (1e-3, 1e-1, 10.0)


def drawn(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated features of unit deviation, and classes that they tell in part."""
    rng = np.random.default_rng(n + d)
    y = rng.integers(0, CLASSES, n)
    x = rng.normal(size=(CLASSES, d))[y] + 3 * rng.normal(size=(n, d))
    x = x @ rng.normal(size=(d, d)) * (1 + np.arange(d)) ** -0.5
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), y


def penalised(x: np.ndarray, y: np.ndarray, weights: np.ndarray, c: float) -> float:
    """Return the loss that is minimised, in double precision."""
    scores = x.astype(np.float64) @ weights[:-1] + weights[-1]
    total = np.logaddexp.reduce(scores, axis=1)
    return float((total - scores[np.arange(len(y)), y]).sum() + (weights[:-1] ** 2).sum() / (2 * c))


@pytest.mark.parametrize(("n", "d"), [(400, 12), (300, 200), (60, 150)])
def test_every_problem_has_the_loss_that_scikit_learn_reaches(n: int, d: int) -> None:
    x, y = drawn(n, d)
    half = np.arange(n) % 2 == 0
    used = np.stack([half, np.ones(n, bool)])
    found = fit_all(
        torch.from_numpy(x),
        torch.from_numpy(y),
        torch.from_numpy(np.tile(used, (len(C), 1))),
        torch.tensor(C).repeat_interleave(2),
        CLASSES,
    ).numpy()
    assert found.shape == (2 * len(C), d + 1, CLASSES)
    for problem, weights in enumerate(found.astype(np.float64)):
        c, part = C[problem // 2], used[problem % 2]
        theirs = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(x[part].astype(np.float64), y[part])
        best = penalised(x[part], y[part], np.r_[theirs.coef_.T, theirs.intercept_[None]], c)
        ours = penalised(x[part], y[part], weights, c)
        # What a step would gain is an estimate, too low by a factor of ten where the classes lie apart.
        assert best * (1 - 1e-6) <= ours <= best + 20 * TOLERANCE * part.sum()
        predicted = (x @ weights[:-1] + weights[-1]).argmax(1)
        assert (predicted == theirs.predict(x)).mean() > 0.95


def test_a_class_that_a_problem_never_sees_is_never_predicted() -> None:
    x, y = drawn(200, 8)
    found = fit_all(
        torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(y < 3)[None], torch.tensor([1.0]), CLASSES
    )[0]
    assert (torch.from_numpy(x) @ found[:-1] + found[-1]).argmax(1).max() == 2


def test_features_that_never_vary_give_the_commonest_class() -> None:
    y = torch.tensor([0, 1, 1, 2])
    found = fit_all(torch.zeros(4, 3), y, torch.ones(1, 4, dtype=torch.bool), torch.tensor([1.0]), 3)[0]
    assert int(found[-1].argmax()) == 1
    assert torch.equal(found[:-1], torch.zeros(3, 3))


def test_one_call_gives_the_same_bits_again() -> None:
    x, y = map(torch.from_numpy, drawn(100, 300))
    every = torch.ones(2, 100, dtype=torch.bool)
    first, second = (fit_all(x, y, every, torch.tensor([0.1, 1.0]), CLASSES) for _ in range(2))
    assert torch.equal(first, second)
