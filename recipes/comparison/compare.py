"""Compare methods in equal time: python recipes/comparison/compare.py DATA [OUT] [--minutes 30] [--seeds 2].

DATA holds `tracks` (with `pose.csv`, whose person_fold 0 is never trained on), `more_tracks` and `stills` to train on,
and `emotions` and `people` to probe. Every method has the same encoder, the same tracks and the same time. OUT gets the
runs and the probes, and what is there already is not made again. The page gets the tables, and keeps its reading.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from page import write_page
from scores import PROBES, probe
from training import METHODS, data_sets, schedule, train

from facecycle.errors import FacecycleError


def main(arguments: list[str] | None = None) -> None:
    """Measure, train, probe and write."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if len(set(asked.methods)) < 2:
        parser.error("a comparison needs two methods or more")
    data, out = asked.data.resolve(), asked.out.resolve()
    sets = {method: data_sets(data, out, method) for method in asked.methods}
    # All are measured before the first one is trained, while the machine is in one state.
    schedules = {method: schedule(method, sets[method], asked.minutes, out) for method in asked.methods}
    runs = {
        f"{method}-{seed}": train(schedules[method], seed, out / "runs" / f"{method}-{seed}")
        for seed in range(asked.seeds)
        for method in asked.methods
    }
    scores = {name: probe(name, data, runs, out / "probes") for name in PROBES}
    write_page(asked.page, asked.minutes, asked.seeds, schedules, runs, scores)
    print(f"page: {asked.page}", flush=True)


def _parser() -> argparse.ArgumentParser:
    first, rest = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(description=first, epilog=rest)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/comparison"))
    parser.add_argument("--minutes", type=_positive, default=30, help="time of a run: of processors, or of a GPU")
    parser.add_argument("--seeds", type=int, default=2, choices=range(1, 100), metavar="N", help="runs of each method")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="METHOD")
    parser.add_argument("--page", type=Path, default=Path("docs/comparison.md"), help="where the tables are written")
    return parser


def _positive(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no time above 0")
    return float(text)


if __name__ == "__main__":
    try:
        main()
    except FacecycleError as error:
        raise SystemExit(f"error: {error}") from error
