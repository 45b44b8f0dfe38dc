"""Level 3: every kernel variant compiled for real targets, through the launchers, without a device.

Asserts no spilled registers, a ceiling on registers, and vector loads where they are possible.

Usage: python kernels/proof/aot.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from ops import OPS, kernels
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
CEILING = 168
"""Registers a thread: three programs of 128 threads, or one of 256, fit a multiprocessor."""
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


class _Driver:
    """A device that is not there: enough for the launchers to compile for it."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        # Triton caches by device: another target is another device.
        return list(TARGETS.values()).index(self.target)

    def get_current_stream(self, device: int) -> int:
        return 0


@dataclass
class Variant:
    """A compiled kernel: what it was compiled with, and what the compiler says of it."""

    op: str
    name: str
    case: str
    target: str
    registers: int
    spills: int
    vector_loads: bool


def _resources(kernel: Any, target: str) -> tuple[int, int, bool]:
    """Return registers, spilled bytes or registers, and whether global memory is read in vectors."""
    if target.startswith("gfx"):
        text = kernel.asm["amdgcn"]

        def count(key: str) -> int:
            return sum(map(int, re.findall(rf"\.{key}:\s*(\d+)", text)))

        spills = count("vgpr_spill_count") + count("sgpr_spill_count") + count("private_segment_fixed_size")
        return count("vgpr_count"), spills, "load_dwordx4" in text
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [str(CUOBJDUMP), "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"{key}:(\d+)", text)[1]) for key in ("REG", "STACK"))  # type: ignore[index]
    return registers, stack, bool(re.search(r"ld\.global[.:\w]*\.v4", kernel.asm["ptx"]))


def compile_all(target: str) -> list[Variant]:
    """Compile every variant for one target."""
    triton.runtime.driver.set_active(_Driver(TARGETS[target]))
    compiled: list[tuple[str, Any]] = []
    run = JITFunction.run

    def warm_up(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        kernel = run(self, *args, grid=grid, warmup=True, **kwargs)
        compiled.append((self.__name__.strip("_"), kernel))
        return kernel

    JITFunction.run = warm_up  # type: ignore[method-assign]
    variants = []
    try:
        for op, module in kernels().items():
            for launch in OPS[op].launches():
                compiled.clear()
                launch.run(module)
                for name, kernel in compiled:
                    registers, spills, loads = _resources(kernel, target)
                    # The forward warp only gathers, and the adjoint's rows are read masked.
                    wide = loads or not (launch.vectors and (op == "renormalize" or name == "backward"))
                    variants.append(Variant(op, name, launch.case, target, registers, spills, wide))
    finally:
        JITFunction.run = run  # type: ignore[method-assign]
    return variants


def main() -> int:
    """Compile for all targets, or for those named; print one row a kernel and target, and what is wrong."""
    wrong = []
    for target in sys.argv[1:] or TARGETS:
        variants = compile_all(target)
        for op, name in dict.fromkeys((v.op, v.name) for v in variants):
            mine = [v for v in variants if (v.op, v.name) == (op, name)]
            most, spills = max(v.registers for v in mine), max(v.spills for v in mine)
            print(f"{target:7} {op:12} {name:15} {len(mine):2} variants, at most {most:3} registers, {spills} spilled")
        wrong += [v for v in variants if v.spills or v.registers > CEILING or not v.vector_loads]
    for variant in wrong:
        print(f"WRONG  {variant}")
    print(f"aot: {len(wrong)} variants spill, pass {CEILING} registers, or read single numbers")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
