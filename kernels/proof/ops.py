"""The ops that every level goes through, their kernels, and their checks on shapes that nobody thought of."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import flow_warp
import renormalize
import ssim
from checking import NoDraw
from hypothesis import given, reject, settings

OPS = {module.__name__: module for module in (flow_warp, renormalize, ssim)}
"""Each file offers `check`, `CHECKS`, `DRAWN`, `calls`, `launches` and `MUTANTS`."""


def kernels() -> dict[str, ModuleType]:
    """Return the module of each op's kernels."""
    return {op: importlib.import_module(f"facecycle_kernels.{op}.kernels") for op in OPS}


def check_drawn(examples: int) -> None:
    """Check so many random shapes of every op."""
    for op, module in kernels().items():
        _check_drawn(op, module, examples)
        print(f"ok  {op}: {examples} drawn shapes", flush=True)


def _check_drawn(op: str, module: ModuleType, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @given(OPS[op].DRAWN)
    def check(arguments: dict[str, Any]) -> None:
        try:
            OPS[op].check(module, **arguments)
        except NoDraw:
            reject()

    check()
