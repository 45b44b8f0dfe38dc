"""Differences between checkpoints: one feature less another over the same test items, with paired intervals.

Both are scored on the same faces, so what is hard about a face weighs on both. Whoever is drawn by the bootstrap is
drawn for both at once. Two intervals that overlap may therefore belong to a difference that is certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from facecycle.probing.folds import bootstrap
from facecycle.probing.protocols import ProbeProtocol
from facecycle.probing.protocols.cosine_10fold import interval_over_folds
from facecycle.probing.result import Difference, Row


def between_checkpoints(protocol: ProbeProtocol, rows: Sequence[Row]) -> list[Difference]:
    """Return the differences of every two checkpoints: of their best features, then of those of the same kind.

    Args:
        protocol: says which metric is the headline, by which the best feature of a checkpoint is known.
        rows: those without the label of a checkpoint, such as baselines, are passed over.
    """
    learned: dict[str, list[Row]] = {}
    for row in rows:
        if row.checkpoint:
            learned.setdefault(row.checkpoint, []).append(row)
    found = []
    for one, other in combinations(learned.values(), 2):
        pairs = [(a, b) for a in one for b in other if a.kind == b.kind]
        if not protocol.pictures:
            best = best_of(protocol, one), best_of(protocol, other)
            found.append(difference(protocol, *best, best=True))
            pairs = [pair for pair in pairs if pair[0] is not best[0] or pair[1] is not best[1]]
        found += [difference(protocol, a, b) for a, b in pairs]
    return found


def best_of(protocol: ProbeProtocol, rows: Sequence[Row]) -> Row:
    """Return the row that is best by the headline; the first of equally good ones."""
    sign = -1 if protocol.metrics[protocol.headline].lower_is_better else 1
    return max(rows, key=lambda row: sign * row.metrics[protocol.headline])


def difference(protocol: ProbeProtocol, one: Row, other: Row, best: bool = False) -> Difference:
    """Return one row less another, by every metric that is a mean over the same test items."""
    found = Difference(one=one.feature, other=other.feature, best=best, metrics={}, intervals={}, better="")
    for metric in (name for name in protocol.metrics if name in one.items and name in other.items):
        values, interval = paired(one.items[metric], other.items[metric])
        found.metrics[metric] = float(values.mean())
        if interval is not None:
            found.intervals[metric] = interval
    low, high = found.intervals.get(protocol.headline, (0.0, 0.0))
    if low > 0 or high < 0:
        higher_is_better = not protocol.metrics[protocol.headline].lower_is_better
        found.better = found.one if (low > 0) == higher_is_better else found.other
    return found


def paired(
    one: tuple[np.ndarray, np.ndarray | None], other: tuple[np.ndarray, np.ndarray | None]
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Return the differences (n,) of the values of two rows, and the 95 % interval of their mean.

    Args:
        one, other: values (n,), and whom each shows (n,), or None where they are of folds: `Row.items`.
    """
    (values, groups), (others, _) = one, other
    differences = values - others
    return differences, interval_of(differences, groups)


def interval_of(values: np.ndarray, groups: np.ndarray | None) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of `Row.items`: over people, or over folds where there are no people."""
    return interval_over_folds(values) if groups is None else bootstrap(values, groups)
