"""Deliberately broken kernels: every one must be caught by the interpreter's checks, or is named as a survivor.

Usage: python kernels/proof/mutants.py
"""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"

import importlib.util
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import cases


@dataclass(frozen=True)
class Mutant:
    """A replacement in an op's kernels; `occurrence` counts from 0."""

    op: str
    fault: str
    old: str
    new: str
    occurrence: int = 0

    def source(self, text: str) -> str:
        """Return the broken source. Raises `ValueError` when there is nothing to break."""
        parts = text.split(self.old)
        if len(parts) < self.occurrence + 2:
            raise ValueError(f"{self.op}: {self.fault}: the kernels do not hold {self.old!r}")
        head, tail = parts[: self.occurrence + 1], parts[self.occurrence + 1 :]
        return self.old.join(head) + self.new + self.old.join(tail)


MUTANTS = [
    Mutant(
        "flow_warp", "axes of the flow swapped", "flow_x = _resized(flow_ptr, 0,", "flow_x = _resized(flow_ptr, h * w,"
    ),
    Mutant("flow_warp", "left edge unguarded", "(cx >= 0) & (cx < W)", "(cx < W)"),
    Mutant("flow_warp", "right edge unguarded", "(cx >= 0) & (cx < W)", "(cx >= 0)"),
    Mutant("flow_warp", "upper edge unguarded", "(cy >= 0) & (cy < H)", "(cy < H)"),
    Mutant("flow_warp", "lower edge off by one", "(cy < H)", "(cy < H - 1)"),
    Mutant("flow_warp", "channel mask dropped", "mask=(c < C)[:, None] & seen[None, :]", "mask=seen[None, :]"),
    Mutant(
        "flow_warp",
        "store's pixel mask dropped",
        "mask=(c < C)[:, None] & inside[None, :])\n\n",
        "mask=(c < C)[:, None])\n\n",
    ),
    Mutant("flow_warp", "align_corners=False", "(height - 1) / 2, (width - 1) / 2,", "height / 2, width / 2,"),
    Mutant("flow_warp", "resize without aligned corners", "(cells - 1) / (pixels - 1)", "cells / pixels"),
    Mutant(
        "flow_warp",
        "last row of cells read past the end",
        "y1, x1 = tl.minimum(y0 + 1, h - 1), tl.minimum(x0 + 1, w - 1)",
        "y1, x1 = y0 + 1, x0 + 1",
    ),
    Mutant(
        "flow_warp", "forward clamp missing", "flow_x = tl.minimum(tl.maximum(flow_x, -1.0), 1.0)", "flow_x = flow_x"
    ),
    Mutant(
        "flow_warp",
        "clamp on one side",
        "flow_y = tl.minimum(tl.maximum(flow_y, -1.0), 1.0)",
        "flow_y = tl.minimum(flow_y, 1.0)",
    ),
    Mutant("flow_warp", "gradient passes the clamp", "inside & (tl.abs(flow_x) <= 1.0)", "inside"),
    Mutant("flow_warp", "NaN not caught", "tl.where(value == value, value, _FAR)", "value"),
    Mutant("flow_warp", "infinite flow not limited", "tl.minimum(tl.maximum(value, -_FAR), _FAR)", "value"),
    Mutant(
        "flow_warp",
        "truncated instead of floored",
        "x0, y0 = tl.floor(at_x), tl.floor(at_y)",
        "x0, y0 = at_x.to(tl.int32).to(tl.float32), at_y.to(tl.int32).to(tl.float32)",
    ),
    Mutant(
        "flow_warp",
        "nearest instead of bilinear",
        "(fx if corner % 2 else 1 - fx) * (fy if corner // 2 else 1 - fy)",
        "(1.0 if corner == 0 else 0.0)",
    ),
    Mutant("flow_warp", "columns read as rows of H", "(cy * W + cx)[None, :]", "(cy * H + cx)[None, :]"),
    Mutant(
        "flow_warp",
        "scatter overwrites",
        'tl.atomic_add(grad_x_ptr + offset, grad * (weight_x * weight_y)[None, :], mask=seen, sem="relaxed")',
        "tl.store(grad_x_ptr + offset, grad * (weight_x * weight_y)[None, :], mask=seen)",
    ),
    Mutant(
        "flow_warp",
        "one block of channels only",
        "for start in range(0, C, BLOCK_C):",
        "for start in range(0, BLOCK_C, BLOCK_C):",
    ),
    Mutant(
        "flow_warp",
        "gradient sign along x",
        "(weight_y if corner % 2 else -weight_y)",
        "(-weight_y if corner % 2 else weight_y)",
    ),
    Mutant("flow_warp", "gradient not scaled to grid units", "along_y * half_y", "along_y"),
    Mutant(
        "flow_warp",
        "adjoint reaches one side only",
        "last = tl.minimum(tl.floor((i + 1) * reach_y).to(tl.int32), H - 1)",
        "last = tl.minimum(tl.floor(i * reach_y).to(tl.int32), H - 1)",
    ),
    Mutant(
        "flow_warp",
        "adjoint's second block of pixels lost",
        "for start in range(0, W, BLOCK_X):",
        "for start in range(0, BLOCK_X, BLOCK_X):",
    ),
    Mutant("flow_warp", "adjoint's second block of cells lost", "triton.cdiv(w, block_j))]", "1)]"),
    Mutant("flow_warp", "images share a flow", "flow_ptr += b.to(tl.int64) * 2 * h * w", "flow_ptr += 0"),
    Mutant(
        "flow_warp",
        "flow read as it lies",
        "x, flow = x.contiguous(memory_format=layout), flow.contiguous()",
        "x = x.contiguous(memory_format=layout)",
    ),
    Mutant(
        "flow_warp",
        "gradient read as it lies",
        "x, grad = x.contiguous(memory_format=layout), grad.contiguous(memory_format=layout)",
        "x = x.contiguous(memory_format=layout)",
    ),
    Mutant("flow_warp", "channels_last ignored", "return p * C + c", "return c * HW + p"),
    Mutant(
        "renormalize",
        "E[x²] - E[x]²",
        "centred = tl.where(mask, x - mean[:, None], 0.0)\n        total += centred * centred",
        "total += x * x - (tl.where(mask, mean[:, None] * mean[:, None], 0.0))",
    ),
    Mutant(
        "renormalize",
        "padding counted in the variance",
        "centred = tl.where(mask, x - mean[:, None], 0.0)",
        "centred = x - mean[:, None]",
    ),
    Mutant(
        "renormalize",
        "unbiased variance",
        "tl.sum(total, axis=1) / HW + eps",
        "tl.sum(total, axis=1) / (HW - 0.5) + eps",
    ),
    Mutant("renormalize", "eps left out", "/ HW + eps)", "/ HW)"),
    Mutant(
        "renormalize",
        "mean of the first block only",
        "for start in range(0, HW, BLOCK):",
        "for start in range(0, BLOCK, BLOCK):",
    ),
    Mutant(
        "renormalize",
        "second half of the result unwritten",
        "for start in range(0, HW, BLOCK):",
        "for start in range(0, BLOCK, BLOCK):",
        2,
    ),
    Mutant(
        "renormalize",
        "row mask dropped on the moments",
        "tl.store(mean_ptr + row, mean, mask=here)",
        "tl.store(mean_ptr + row, mean)",
    ),
    Mutant(
        "renormalize",
        "position mask dropped on reading",
        "mask = here[:, None] & (p < HW)[None, :]",
        "mask = here[:, None]",
    ),
    Mutant("renormalize", "beta left out", "* gamma + beta, mask=mask)", "* gamma, mask=mask)"),
    Mutant(
        "renormalize",
        "mean of the gradient left out",
        "(grad - mean_g - normal * mean_gn)",
        "(grad - normal * mean_gn)",
    ),
    Mutant(
        "renormalize", "reduction over the normal left out", "(grad - mean_g - normal * mean_gn)", "(grad - mean_g)"
    ),
    Mutant(
        "renormalize", "gamma left out of the gradient", "* rstd * gamma[:, None], mask=mask)", "* rstd, mask=mask)"
    ),
    Mutant(
        "renormalize",
        "spatial gamma left out of the sums",
        "            grad *= tl.load(gamma_ptr",
        "            grad *= 0 * tl.load(gamma_ptr",
    ),
    Mutant(
        "renormalize",
        "maps read as they lie",
        "x, gamma, beta = (t.contiguous(memory_format=layout) for t in (x, gamma, beta))",
        "gamma, beta = (t.contiguous(memory_format=layout) for t in (gamma, beta))",
    ),
    Mutant(
        "renormalize",
        "channels_last ignored",
        "return ((row // C).to(tl.int64) * HW + p) * C + row % C",
        "return row.to(tl.int64) * HW + p",
    ),
    Mutant(
        "ssim",
        "target read as it lies",
        "predictions, target = predictions.contiguous(), target.contiguous()",
        "predictions = predictions.contiguous()",
    ),
    Mutant("ssim", "taps one off", "distance = (from_first - _REACH)", "distance = (from_first - _REACH + 1)"),
    Mutant("ssim", "window cut at 9", "tl.abs(distance) <= _REACH", "tl.abs(distance) <= _REACH - 1"),
    Mutant(
        "ssim",
        "window not normalised",
        "tl.exp(distance * distance * _FALL) * _SCALE",
        "tl.exp(distance * distance * _FALL)",
    ),
    Mutant(
        "ssim",
        "filtered along rows only",
        'return tl.dot(rows, across, input_precision="ieee")',
        'return tl.dot(rows * 0 + (rows == tl.max(rows)), across, input_precision="ieee")',
    ),
    Mutant("ssim", "left edge unguarded", "(x >= 0) & (x < W)", "(x < W)"),
    Mutant("ssim", "lower edge unguarded", "(y >= 0) & (y < H)", "(y >= 0)"),
    Mutant(
        "ssim", "pixels past the edge counted", "tl.where(inside, luminance * structure, 0.0)", "luminance * structure"
    ),
    Mutant("ssim", "every view has a target", "shared = (plane % target_planes)", "shared = plane"),
    Mutant(
        "ssim",
        "mean not taken from the square",
        "var_p = _blur(p * p, rows, columns) - mean_p * mean_p",
        "var_p = _blur(p * p, rows, columns)",
    ),
    Mutant("ssim", "C2 left out", "spread = var_p + var_t + _C2", "spread = var_p + var_t"),
    Mutant(
        "ssim",
        "derivative by the mean lacks the variance",
        "- by_product * mean_t - 2 * by_square * mean_p",
        "- by_product * mean_t",
    ),
    Mutant(
        "ssim", "backward reads the wrong map", "(first + 2 * planes) * HW + offset", "(first + planes) * HW + offset"
    ),
    Mutant(
        "ssim",
        "backward mask dropped",
        "tl.store(grad_ptr + plane.to(tl.int64) * HW + at, grad, mask=inside)",
        "tl.store(grad_ptr + plane.to(tl.int64) * HW + at, grad)",
    ),
    Mutant("ssim", "views share a weight", "tl.load(weight_ptr + plane // target_planes)", "tl.load(weight_ptr)"),
]


def _load(mutant: Mutant, folder: Path, number: int) -> ModuleType:
    spec = importlib.util.find_spec(f"facecycle_kernels.{mutant.op}.kernels")
    assert spec is not None
    assert spec.origin is not None
    file = folder / f"mutant_{number}.py"
    file.write_text(mutant.source(Path(spec.origin).read_text()))
    broken = importlib.util.spec_from_file_location(file.stem, file)
    assert broken is not None
    assert broken.loader is not None
    module = importlib.util.module_from_spec(broken)
    broken.loader.exec_module(module)
    return module


def caught_by(kernels: ModuleType, op: str) -> str | None:
    """Return the first check that a broken kernel fails, or None if it passes all."""
    for check in cases.CHECKS[op]:
        try:
            check.run(kernels)
        except Exception as error:  # noqa: BLE001 - a crash is caught as well
            return f"{check.name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return None


def main() -> int:
    """Try every mutant; print what caught it, and the count."""
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        # What is loaded like this and not broken passes: else every mutant would be caught, whatever the checks see.
        for number, (op, (check, *_)) in enumerate(cases.CHECKS.items(), len(MUTANTS)):
            check.run(_load(Mutant(op, "none", "import", "import"), Path(folder), number))
        for number, mutant in enumerate(MUTANTS):
            caught = caught_by(_load(mutant, Path(folder), number), mutant.op)
            if caught is None:
                survivors.append(mutant)
            print(f"{'SURVIVED' if caught is None else 'killed  '}  {mutant.op}: {mutant.fault} | {caught}", flush=True)
    print(f"mutants: {len(MUTANTS) - len(survivors)} killed, {len(survivors)} surviving")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
