"""Level 2: the kernels run by Triton's interpreter, on listed and on drawn shapes.

Usage: python kernels/proof/interpreter.py
"""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"

import sys
import time

from checking import Wrong, loads_without_other
from ops import OPS, check_drawn, kernels
from triton.runtime.errors import InterpreterError


def main() -> int:
    """Run every check; print what failed."""
    failed = 0
    for op, module in kernels().items():
        for line in loads_without_other(module):
            failed += 1
            print(f"WRONG  {op}: line {line}: a masked load without `other`")
        for check in OPS[op].CHECKS:
            start = time.perf_counter()
            try:
                check.run(module)
            except (Wrong, InterpreterError) as error:
                failed += 1
                print(f"WRONG  {op}: {check.name}: {error}", flush=True)
            else:
                print(f"ok  {op}: {check.name} ({time.perf_counter() - start:.1f} s)", flush=True)
    if not failed:
        check_drawn(15)
    print(f"interpreter: {sum(len(op.CHECKS) for op in OPS.values()) - failed} checks passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
