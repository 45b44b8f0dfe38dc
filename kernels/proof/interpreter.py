"""Level 2: the kernels run by Triton's interpreter, on listed and on drawn shapes.

Usage: python kernels/proof/interpreter.py
"""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"

import importlib
import sys
import time

import cases
import drawn
from triton.runtime.errors import InterpreterError


def main() -> int:
    """Run every check; print what failed."""
    failed = 0
    kernels = {op: importlib.import_module(f"facecycle_kernels.{op}.kernels") for op in cases.CHECKS}
    for op, checks in cases.CHECKS.items():
        for line in cases.loads_without_other(kernels[op]):
            failed += 1
            print(f"WRONG  {op}: line {line}: a masked load without `other`")
        for check in checks:
            start = time.perf_counter()
            try:
                check.run(kernels[op])
            except (cases.Wrong, InterpreterError) as error:
                failed += 1
                print(f"WRONG  {op}: {check.name}: {error}", flush=True)
            else:
                print(f"ok  {op}: {check.name} ({time.perf_counter() - start:.1f} s)", flush=True)
    if not failed:
        drawn.check(kernels, 15)
    print(f"interpreter: {sum(map(len, cases.CHECKS.values())) - failed} checks passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
