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
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from triton.runtime.errors import InterpreterError

side = st.integers(1, 12)


def drawn(kernels: dict[str, object], examples: int) -> None:
    """Check shapes that nobody thought of."""
    options = {"max_examples": examples, "deadline": None, "derandomize": True, "database": None}

    @settings(**options)
    @given(st.tuples(st.integers(1, 2), st.integers(1, 10), side, side), st.tuples(side, side), st.booleans(),
           st.booleans(), st.integers(0, 999))  # fmt: skip
    def flow_warp(x: tuple[int, ...], cells: tuple[int, int], clamp: bool, last: bool, seed: int) -> None:
        try:
            cases.check_flow_warp(kernels["flow_warp"], x, cells, clamp, last, seed=seed)
        except cases.NoDraw:
            reject()

    @settings(**options)
    @given(st.tuples(st.integers(1, 2), st.integers(1, 20), side, side), st.booleans(), st.booleans(),
           st.integers(0, 999))  # fmt: skip
    def renormalize(shape: tuple[int, ...], spatial: bool, last: bool, seed: int) -> None:
        cases.check_renormalize(kernels["renormalize"], shape, spatial, last, seed=seed)

    @settings(**options)
    @given(st.tuples(st.integers(1, 2), st.just(1), st.integers(1, 2), st.integers(1, 20), st.integers(1, 20)),
           st.integers(0, 999))  # fmt: skip
    def ssim(shape: tuple[int, ...], seed: int) -> None:
        cases.check_ssim(kernels["ssim"], shape, seed=seed)

    for check in (flow_warp, renormalize, ssim):
        check()
        print(f"ok  {check.__name__}: {examples} drawn shapes", flush=True)


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
        drawn(kernels, 15)
    print(f"interpreter: {sum(map(len, cases.CHECKS.values())) - failed} checks passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
