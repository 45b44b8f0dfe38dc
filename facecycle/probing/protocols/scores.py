"""What a protocol returns for one feature, and the confidence intervals beside its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


@dataclass
class Scores:
    """The outcome of a protocol for one feature.

    Attributes:
        metrics: over all tested samples, or the mean over folds; see the protocol.
        folds: fold number to the metrics of that fold.
        chosen: fold number to the value selected for it on its training part.
        intervals: metric to the bounds of its 95 % confidence interval.
        tested: indices of the samples that were tested.
        predictions: per tested sample a class id, three angles, or a similarity.
    """

    metrics: dict[str, float]
    folds: dict[int, dict[str, float]] = field(default_factory=dict)
    chosen: dict[int, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    tested: np.ndarray = field(repr=False, default_factory=lambda: np.zeros(0, int))
    predictions: np.ndarray = field(repr=False, default_factory=lambda: np.zeros(0))


def bootstrap(values: np.ndarray, groups: np.ndarray) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the mean of values (n,), resampling whole groups.

    None where all belong to one group: how much groups differ is then not known.

    Samples of one person are alike, so people are drawn, not samples. Where each sample is a group of its
    own, this is the usual bootstrap over test items. Source: Davison and Hinkley 1997, section 3.8.

    Args:
        values: one a tested sample.
        groups: (n,) whom each sample shows.
    """
    _, group = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(group, weights=values), np.bincount(group)
    count = len(sizes)
    if count < 2:
        return None
    rng = np.random.default_rng(0)
    means = []
    # In parts, so that memory stays small however many samples there are.
    for _ in range(0, RESAMPLES, 100):
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=100)
        means.append(drawn @ sums / (drawn @ sizes))
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def interval_over_folds(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % Student interval of the mean of one value a fold."""
    from scipy.stats import t

    reach = t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - reach), float(values.mean() + reach)
