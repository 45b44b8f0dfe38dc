"""Every benchmark with a ratio to a baseline, one table: python benchmarks [--against CHECKOUT].

The baseline is the public code, or another checkout of facecycle with an environment in its .venv.
Writes bench.json, a list of name, ratio, low, high, target, floor.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import against
import bfloat16
import data
import detection
import embed
import probe
import small
import training
import translate


def main() -> None:
    """Run them one after the other, so that none disturbs another."""
    parser = argparse.ArgumentParser(description="Print ratios of speed, and write bench.json.")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare whole commands with this build")
    other = parser.parse_args().against
    results = [] if other is None else against.measure(other, [])
    for script in (training, bfloat16, data, small, translate, embed, probe, detection) if other is None else ():
        print(f"# {(script.__doc__ or '').splitlines()[0]}", flush=True)
        results += script.measure()
    print()
    for result in results:
        print(result.line())
    Path("bench.json").write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
