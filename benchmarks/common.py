"""What the benchmarks share: interleaved rounds, ratios with their spread, and the line each one ends in."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """A ratio against a baseline in the same run.

    Attributes:
        name: what was measured.
        ratio: baseline over ours, median of the rounds; above 1 is faster.
        low, high: least and largest ratio over the rounds.
        target: what it should reach, if there is a target.
        floor: ratio that the machine's measured peak allows, if it was measured.
    """

    name: str
    ratio: float
    low: float
    high: float
    target: float | None = None
    floor: float | None = None

    def line(self) -> str:
        """Return the result as a line of text."""
        target = (
            ""
            if self.target is None
            else f"  target {self.target:g}" + ("" if self.ratio >= self.target else ", missed")
        )
        floor = "" if self.floor is None else f"  at most {self.floor:.2f} here"
        return f"{self.name:44} {self.ratio:8.2f}  [{self.low:.2f}, {self.high:.2f}]{target}{floor}"


def peak_bytes() -> int:
    """Return this process's largest resident memory; `ru_maxrss` would start at that of the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleave(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every side once a round, in turn; each returns its own seconds."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            taken[name].append(side())
    return taken


def ratio(name: str, baseline: list[float], ours: list[float], target: float | None = None) -> Result:
    """Return the ratio of two lists of seconds, one entry a round."""
    each = [b / o for b, o in zip(baseline, ours, strict=True)]
    return Result(name, statistics.median(baseline) / statistics.median(ours), min(each), max(each), target)
