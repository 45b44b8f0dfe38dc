"""Every benchmark with a ratio to a baseline, one table: python benchmarks.

Writes bench.json, a list of name, ratio, low, high, target, floor.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import data
import embed
import probe
import small
import training
import translate


def main() -> None:
    """Run them one after the other, so that none disturbs another."""
    results = []
    for script in (training, data, small, translate, embed, probe):
        print(f"# {(script.__doc__ or '').splitlines()[0]}", flush=True)
        results += script.measure()
    print()
    for result in results:
        print(result.line())
    Path("bench.json").write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
