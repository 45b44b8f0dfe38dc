"""All levels of proof, each in a process of its own, as one table: python kernels/proof."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

LEVELS = {
    "reference": "gradcheck, opcheck, compile, export, ONNX",
    "interpreter": "kernels against float64, memory watched",
    "aot": "compiled for sm_80, sm_90, sm_100, gfx942",
    "mutants": "broken kernels that the checks must catch",
    "gpu": "the kernels on a GPU, where there is one",
}
SKIPPED = 77
"""What a level ends with that cannot run here."""


def main() -> int:
    """Run the levels; print what each says, then a line a level."""
    results = []
    for level in LEVELS:
        start = time.perf_counter()
        command = [sys.executable, "-W", "ignore", str(Path(__file__).parent / f"{level}.py")]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, flush=True)
        last = (done.stdout.strip().splitlines() or ["no output"])[-1]
        results.append((level, done.returncode, time.perf_counter() - start, last))
    for level, code, seconds, last in results:
        outcome = {0: "ok", SKIPPED: "--"}.get(code, "WRONG")
        print(f"{outcome:5}  {level:11}  {seconds:4.0f} s  {LEVELS[level]:41}  {last}")
    return 1 if any(code not in {0, SKIPPED} for _, code, _, _ in results) else 0


if __name__ == "__main__":
    sys.exit(main())
