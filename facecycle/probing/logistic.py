"""Multinomial logistic regression, for all parts of the samples and all regularisations at once.

A probe fits one data set many times: on each inner split, for each C. All of them read the same features, so each step
of all is one matrix product with the features, which takes hardly longer than the step of one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

RANK = 128
"""Directions of the features whose own scale is known to the solver."""
HISTORY = 10
STEPS = 300
"""Of a problem that does not converge before."""
TOLERANCE = 1e-5
"""A problem is done when a step would lower its loss by less than this for each sample, in nats."""


def fit_all(x: Tensor, y: Tensor, used: Tensor, c: Tensor, classes: int) -> Tensor:
    """Fit P problems: minimise the cross-entropy over the used samples, plus |W|² / 2C; the intercept is free.

    Limited-memory BFGS, started from a preconditioner: the curvature of the loss at zero weights, exact in the `RANK`
    largest directions of the features. Source: Nocedal and Wright 2006, algorithm 7.4.

    Args:
        x: features (n, D), float32; standardised, so that directions differ by their correlations alone.
        y: class ids (n,), from 0.
        used: (P, n), which samples each problem is trained on.
        c: (P,), the inverse regularisation C of each problem.
        classes: the number K of classes.

    Returns:
        (P, D + 1, K): weights, and in the last row the intercept. A class is the argmax of x W + b.
    """
    loss = _Loss(x, y, used, c, classes)
    found = x.new_zeros(x.shape[1] + 1, len(c), classes)
    live = torch.arange(len(c))
    weights = found.clone()
    value, gradient = loss(weights, live)
    past: list[tuple[Tensor, Tensor]] = []
    for _ in range(STEPS):
        step = _direction(gradient, past, lambda g: loss.precondition(g, live))  # noqa: B023 - called at once
        slope = _dot(gradient, step)
        going = slope / 2 > TOLERANCE * loss.count[live]
        if not going.all():
            found[:, live] = weights
            live, value, slope = live[going], value[going], slope[going]
            weights, gradient, step = weights[:, going], gradient[:, going], step[:, going]
            past = [(s[:, going], t[:, going]) for s, t in past]
            if not len(live):
                break
        before, steepness = weights, gradient
        weights, value, gradient = _search(loss, live, weights, value, step, slope)
        past = [*past, (weights - before, gradient - steepness)][-HISTORY:]
    found[:, live] = weights
    return found.transpose(0, 1)


class _Loss:
    """The loss of every problem and its gradient, for weights (D + 1, P, K)."""

    def __init__(self, x: Tensor, y: Tensor, used: Tensor, c: Tensor, classes: int) -> None:
        self.x, self.c, self.used = x, c.to(x), used.T.to(x)
        self.target = torch.nn.functional.one_hot(y, classes).to(x)[:, None]
        self.count = self.used.sum(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _, singular, self.directions = torch.svd_lowrank(x, q=min(RANK, *x.shape))
        squares = singular**2
        rest = (torch.linalg.vector_norm(x) ** 2 - squares.sum()).clamp(min=0) / max(1, x.shape[1] - len(squares))
        # At zero weights every class has the probability 1 / K, whose variance is this.
        curvature = self.count / len(x) * (classes - 1) / classes**2
        self._rest = 1 / (curvature * rest + 1 / self.c)
        self._along = 1 / (curvature * squares[:, None] + 1 / self.c) - self._rest
        self._intercept = 1 / (curvature * len(x))

    def __call__(self, weights: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses (P,) of some problems and their gradients (D + 1, P, K)."""
        w, shape = weights[:-1], (len(self.x), *weights.shape[1:])
        scores = torch.addmm(weights[-1].flatten(), self.x, w.flatten(1)).view(shape)
        total = scores.logsumexp(2, keepdim=True)
        used = self.used[:, live]
        entropy = (total - (scores * self.target).sum(2, keepdim=True))[..., 0].mul_(used).sum(0)
        excess = scores.sub_(total).exp_().sub_(self.target).mul_(used[..., None])
        gradient = torch.empty_like(weights)
        gradient[:-1] = (self.x.T @ excess.flatten(1)).view_as(w) + w / self.c[live, None]
        gradient[-1] = excess.sum(0)
        return entropy + w.square().sum((0, 2)) / (2 * self.c[live]), gradient

    def precondition(self, gradient: Tensor, live: Tensor) -> Tensor:
        """Multiply gradients (D + 1, P, K) with the inverse of the curvature at zero weights."""
        w, scaled = gradient[:-1], torch.empty_like(gradient)
        along = (self.directions.T @ w.flatten(1)).view(-1, *w.shape[1:]) * self._along[:, live, None]
        scaled[:-1] = w * self._rest[live, None] + (self.directions @ along.flatten(1)).view_as(w)
        scaled[-1] = gradient[-1] * self._intercept[live, None]
        return scaled


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((0, 2))


def _direction(gradient: Tensor, past: list[tuple[Tensor, Tensor]], precondition: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the step to take off, by the recursion over past steps and their changes of the gradient."""
    rest, shares = gradient.clone(), []
    curvatures = [_dot(step, change).clamp(min=1e-12) for step, change in past]
    for (step, change), curvature in zip(reversed(past), reversed(curvatures), strict=True):
        shares.append(_dot(step, rest) / curvature)
        rest -= shares[-1][:, None] * change
    found = precondition(rest)
    if past:
        _, change = past[-1]
        found *= (curvatures[-1] / _dot(change, precondition(change)).clamp(min=1e-12))[:, None]
    for (step, change), curvature, share in zip(past, curvatures, reversed(shares), strict=True):
        found += (share - _dot(change, found) / curvature)[:, None] * step
    return found


def _search(
    loss: _Loss, live: Tensor, weights: Tensor, value: Tensor, step: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, losses and gradients after a step, which is halved where it does not lower the loss enough."""
    length = torch.ones_like(value)
    new = weights - step
    lowered, gradient = loss(new, live)
    for _ in range(20):
        # Sums in single precision differ by rounding, which must not stop a problem that is nearly solved.
        high = lowered > value - 1e-4 * length * slope + 1e-6 * value.abs()
        if not high.any():
            break
        length[high] /= 2
        new[:, high] = weights[:, high] - length[high, None] * step[:, high]
        lowered[high], gradient[:, high] = loss(new[:, high], live[high])
    return new, lowered, gradient
