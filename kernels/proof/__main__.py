"""All levels of proof that need no GPU, each in a process of its own, as one table: python kernels/proof."""

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
}


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
        print(f"{'ok   ' if code == 0 else 'WRONG'}  {level:11}  {seconds:4.0f} s  {LEVELS[level]:41}  {last}")
    print(results[-1][-1])
    return 1 if any(code for _, code, _, _ in results) else 0


if __name__ == "__main__":
    sys.exit(main())
