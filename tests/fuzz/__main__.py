"""The fuzzer: every reader of every file, a process for each family of targets, as one table: python tests/fuzz."""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fuzz.harness import Tally, Target, try_inputs  # noqa: E402 - after the path that it is found on

INPUTS = 22_000
SECONDS = 900.0
"""Of a whole run; what is not done by then is not tried, and the last line says so."""
PROCESSES = 2
ADDRESS_SPACE = 6 * 1024**3
"""Bytes a process may map beyond what it started with, so that a fault does not take the machine down."""


def targets() -> dict[str, Target]:
    """Return all targets by name, of every file in the folder `targets`."""
    names = sorted(path.stem for path in (HERE / "targets").glob("*.py"))
    modules = [importlib.import_module(f"fuzz.targets.{name}") for name in names]
    return {target.name: target for module in modules for target in module.TARGETS}


def main() -> int:
    """Try the inputs; print a line a target, its faults, and a last line of totals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="targets, or the family in front of their slash; all when left out")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="of the whole run")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the whole run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counts", help=argparse.SUPPRESS)  # inputs by target, to be tried in this process
    given = parser.parse_args()
    if given.counts:
        return _try(json.loads(given.counts), given.seed, time.monotonic() + given.seconds)
    known = targets()
    chosen = {n: t for n, t in known.items() if not given.names or {n, n.partition("/")[0]} & set(given.names)}
    if not chosen:
        parser.error(f"no target of {', '.join(given.names)}; there are {', '.join(known)}")
    shares = sum(target.share for target in chosen.values())
    counts = {name: max(1, round(given.inputs * target.share / shares)) for name, target in chosen.items()}
    return _all(counts, given.seed, given.seconds)


def _try(counts: dict[str, int], seed: int, end: float) -> int:
    """Try targets in this process; print the tally of each as JSON."""
    known = targets()
    space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    for name, count in counts.items():
        start = time.monotonic()
        tally = try_inputs(known[name], count, seed, end - start)
        print(json.dumps([name, time.monotonic() - start, asdict(tally)]), flush=True)
    return 0


def _all(counts: dict[str, int], seed: int, seconds: float) -> int:
    start = time.monotonic()
    families: dict[str, dict[str, int]] = {}
    for name, count in counts.items():
        families.setdefault(name.partition("/")[0], {})[name] = count
    total, short = Tally(), []

    def run(family: dict[str, int]) -> None:
        for name, took, tally in _in_processes(family, seed, start + seconds):
            print(_line(name, took, tally), flush=True)
            total.tried, total.refused = total.tried + tally.tried, total.refused + tally.refused
            total.faults.update({f"{name}: {fault}": of for fault, of in tally.faults.items()})
            short.extend([name] if tally.tried < counts[name] else [])

    with ThreadPoolExecutor(PROCESSES) as pool:
        # The largest first, so that none is left over at the end.
        list(pool.map(run, sorted(families.values(), key=lambda family: -sum(family.values()))))
    note = f", {len(short)} targets not done ({', '.join(short)})" if short else ""
    print(
        f"{total.tried:,} inputs on {len(counts)} targets, {total.refused:,} refused, {total.failures} failures"
        f"{note}, {time.monotonic() - start:.0f} s, seed {seed}"
    )
    return 1 if total.faults else 0


def _in_processes(counts: dict[str, int], seed: int, end: float) -> Iterator[tuple[str, float, Tally]]:
    """Try a family's targets; one that ends the process has failed, and those after it get another."""
    left = dict(counts)
    while left:
        seconds = max(1.0, end - time.monotonic())
        command = [sys.executable, "-X", "faulthandler", str(HERE), f"--counts={json.dumps(left)}"]
        command += [f"--seed={seed}", f"--seconds={seconds}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            name, took, tally = json.loads(line)
            del left[name]
            yield name, took, Tally(**tally)
        if done.returncode and left:
            name = next(iter(left))
            del left[name]
            tally = Tally(1)
            tally.add(f"its process ended with {done.returncode}", "an input unknown", done.stderr[-3000:])
            yield name, 0.0, tally
        elif left:
            raise RuntimeError(f"a process left {', '.join(left)} out")


def _line(name: str, took: float, tally: Tally) -> str:
    """Return the line of a target, and two for each of its faults."""
    verdict = "WRONG" if tally.faults else "ok   "
    lines = [
        f"{verdict}  {name:24} {tally.tried:6,} inputs, {tally.refused:6,} refused, "
        f"{tally.failures:4} failures  {took:4.0f} s"
    ]
    lines += [
        f"       {count} x {fault}\n       {shortest[:3000]}" for fault, (count, shortest) in tally.faults.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
