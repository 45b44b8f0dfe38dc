"""flow_warp: its checks against the reference in float64, and the faults that they must catch."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from checking import (
    DEVICE,
    Call,
    Check,
    Launch,
    Mutant,
    NoDraw,
    Wrong,
    agree,
    askew,
    double,
    draw,
    fenced_outputs,
    meta,
    numbers,
)
from facecycle_kernels.flow_warp.op import flow_warp, flow_warp_op
from facecycle_kernels.flow_warp.reference import flow_warp as formula
from hypothesis import strategies as st
from torch import Tensor


def _away_from_integers(x: Tensor, flow: Tensor, clamp: bool) -> bool:
    """The flow's gradient jumps where a sampling coordinate is an integer: such draws tell nothing."""
    height, width = x.shape[-2:]
    fine = torch.nn.functional.interpolate(flow.double(), (height, width), mode="bilinear", align_corners=True)
    edge = bool(clamp and ((fine.abs() - 1).abs() < 1e-4).any())
    fine = fine.clamp(-1, 1) if clamp else fine
    at_x = torch.arange(width, device=DEVICE) + fine[:, 0] * (width - 1) / 2
    at_y = torch.arange(height, device=DEVICE)[:, None] + fine[:, 1] * (height - 1) / 2
    near = [
        length > 1 and bool(((at - at.round()).abs() < 1e-4).any()) for at, length in ((at_x, width), (at_y, height))
    ]
    return not (any(near) or edge)


def check(
    kernels: ModuleType, shape: tuple[int, ...], cells: tuple[int, int], clamp: bool = False,
    channels_last: bool = False, dtype: torch.dtype = torch.float32, spread: float = 0.6, seed: int = 0,
    skew: bool = False,
) -> None:  # fmt: skip
    """Forward and both gradients on a random image and flow; `skew` gives them another layout than any kernel's."""
    x = numbers(*shape, seed=seed, dtype=dtype, channels_last=channels_last)
    grad = numbers(*shape, seed=seed + 1, dtype=dtype, channels_last=channels_last)
    for attempt in range(100):
        flow = numbers(shape[0], 2, *cells, seed=seed + 2 + attempt)
        flow *= spread
        if _away_from_integers(x, flow, clamp):
            break
    else:
        raise NoDraw(f"x {shape}, flow {cells}")
    if skew:
        x, flow, grad = askew(x, flow, grad)
    wide_x, wide_flow = double(x, flow)
    wanted = formula(wide_x, wide_flow, clamp)
    wanted_x, wanted_flow = torch.autograd.grad(wanted, (wide_x, wide_flow), grad.double())
    with fenced_outputs():
        out = kernels.forward(x, flow, clamp)
        grad_x, grad_flow = kernels.backward(grad, x, flow, clamp, True, True)
        only_x, _ = kernels.backward(grad, x, flow, clamp, True, False)
        _, only_flow = kernels.backward(grad, x, flow, clamp, False, True)
    # A coordinate in float32 is rounded in proportion to the image's size.
    tolerance = 1e-5 + max(shape[2:]) * 2**-23 if dtype is torch.float32 else None
    agree("forward", out, wanted, tolerance)
    agree("gradient of x", grad_x, wanted_x, tolerance)
    agree("gradient of x alone", only_x, wanted_x, tolerance)
    # Differences of neighbours cancel: a digit is lost where the flow is fine.
    agree("gradient of flow", grad_flow, wanted_flow, 5e-5 if dtype is torch.float32 else None)
    agree("gradient of flow alone", only_flow, wanted_flow, 5e-5 if dtype is torch.float32 else None)


def check_wild_flow(kernels: ModuleType, clamp: bool) -> None:
    """Huge, infinite and undefined flows sample outside, and pass no gradient on."""
    x, grad = numbers(1, 2, 6, 8), numbers(1, 2, 6, 8, seed=1)
    flow = numbers(1, 2, 6, 8, seed=2) * 0.2
    wild = torch.tensor([1e10, -3e38, float("inf"), -float("inf"), float("nan")], device=DEVICE)
    flow[0, 0, 2, :5], flow[0, 1, 4, 1:6] = wild, wild
    wide_x, wide_flow = double(x, flow)
    wanted = formula(wide_x, wide_flow, clamp)
    wanted_x, wanted_flow = torch.autograd.grad(wanted, (wide_x, wide_flow), grad.double())
    with fenced_outputs():
        out = kernels.forward(x, flow, clamp)
        grad_x, grad_flow = kernels.backward(grad, x, flow, clamp, True, True)
    if not clamp and bool(out[0, :, 2, :5].any()):
        raise Wrong("a wild flow does not read zeros")
    agree("forward", out, wanted)
    agree("gradient of x", grad_x, wanted_x)
    agree("gradient of flow", grad_flow, wanted_flow, 5e-5)


def _checks() -> Iterator[Check]:
    shapes: list[tuple[tuple[int, ...], tuple[int, int], dict[str, Any]]] = [
        ((1, 1, 1, 1), (1, 1), {}),
        ((1, 3, 5, 7), (2, 3), {}),
        ((2, 2, 4, 6), (3, 2), {"clamp": True, "spread": 1.5}),
        ((2, 3, 5, 6), (3, 4), {"skew": True}),
        ((1, 9, 6, 50), (4, 1), {"clamp": True}),
        ((1, 1, 2, 70), (2, 19), {}),
        ((1, 2, 13, 11), (13, 11), {}),
        ((1, 2, 4, 3), (9, 8), {}),
        ((1, 2, 1, 7), (3, 3), {}),
        ((1, 2, 7, 1), (1, 4), {}),
        ((1, 35, 6, 7), (3, 2), {"channels_last": True}),
        ((2, 3, 5, 6), (3, 4), {"dtype": torch.float16}),
        ((2, 3, 5, 6), (3, 4), {"dtype": torch.bfloat16, "channels_last": True}),
    ]
    # What a mutant is most often caught by comes first: the rest of the checks is then spared.
    for clamp in (False, True):
        yield Check(f"wild flow, clamp {clamp}", lambda k, clamp=clamp: check_wild_flow(k, clamp))
    for shape, cells, options in shapes:
        label = ", ".join([f"x {shape}, flow {cells}", *(f"{k} {v}" for k, v in options.items())])
        yield Check(label, lambda k, a=shape, b=cells, o=options: check(k, a, b, **o))


CHECKS = list(_checks())
SIDE = st.integers(1, 12)
DRAWN = st.fixed_dictionaries(
    {
        "shape": st.tuples(st.integers(1, 2), st.integers(1, 10), SIDE, SIDE),
        "cells": st.tuples(SIDE, SIDE),
        "clamp": st.booleans(),
        "channels_last": st.booleans(),
        "seed": st.integers(0, 999),
    }
)


def calls(dtype: torch.dtype) -> Iterator[Call]:
    """Yield calls of the op."""
    for clamp in (False, True):
        x, flow = draw(2, 3, 6, 4, seed=0, dtype=dtype), draw(2, 2, 3, 2, seed=4, scale=0.4, dtype=dtype)
        # On the CPU the function goes round its own op, which is what compiles.
        yield Call("flow_warp", flow_warp, flow_warp_op, formula, torch.ops.facecycle.flow_warp, (x, flow, clamp))


def launches() -> Iterator[Launch]:
    """Yield what is compiled for each target."""
    for shape in ((32, 3, 64, 64), (32, 128, 32, 32), (2, 3, 45, 31)):
        for clamp in (False, True):
            yield _launch(f"{shape} clamp={clamp}", shape, clamp, vectors=shape[2] * shape[3] % 16 == 0)
    yield _launch("(32, 128, 32, 32) half", (32, 128, 32, 32), dtype=torch.float16)
    yield _launch("(32, 128, 32, 32) channels_last", (32, 128, 32, 32), vectors=True, channels_last=True)
    # Triton makes a constant of every size that is 1, which has no methods.
    yield _launch("(1, 1, 1, 1)", (1, 1, 1, 1))


def _launch(case: str, shape: tuple[int, ...], clamp: bool = False, vectors: bool = False, **kind: Any) -> Launch:
    x, flow = meta(*shape, **kind), meta(shape[0], 2, *((16, 16) if shape[-1] > 1 else (1, 1)))
    return Launch(
        case,
        vectors,
        lambda k: (
            k.forward(x, flow, clamp),
            k.backward(x, x, flow, clamp, True, True),
            k.backward(x, x, flow, clamp, False, True),
        ),
    )


MUTANTS = [
    Mutant("axes of the flow swapped", "flow_x = _resized(flow_ptr, 0,", "flow_x = _resized(flow_ptr, h * w,"),
    Mutant("left edge unguarded", "(cx >= 0) & (cx < W)", "(cx < W)"),
    Mutant("right edge unguarded", "(cx >= 0) & (cx < W)", "(cx >= 0)"),
    Mutant("upper edge unguarded", "(cy >= 0) & (cy < H)", "(cy < H)"),
    Mutant("lower edge off by one", "(cy < H)", "(cy < H - 1)"),
    Mutant("channel mask dropped", "mask=(c < C)[:, None] & seen[None, :]", "mask=seen[None, :]"),
    Mutant("store's pixel mask dropped", "mask=(c < C)[:, None] & inside[None, :])\n\n", "mask=(c < C)[:, None])\n\n"),
    Mutant("align_corners=False", "(height - 1) / 2, (width - 1) / 2,", "height / 2, width / 2,"),
    Mutant("resize without aligned corners", "(cells - 1) / (pixels - 1)", "cells / pixels"),
    Mutant(
        "last row of cells read past the end",
        "y1, x1 = tl.minimum(y0 + 1, h - 1), tl.minimum(x0 + 1, w - 1)",
        "y1, x1 = y0 + 1, x0 + 1",
    ),
    Mutant("forward clamp missing", "flow_x = tl.minimum(tl.maximum(flow_x, -1.0), 1.0)", "flow_x = flow_x"),
    Mutant(
        "clamp on one side", "flow_y = tl.minimum(tl.maximum(flow_y, -1.0), 1.0)", "flow_y = tl.minimum(flow_y, 1.0)"
    ),
    Mutant("gradient passes the clamp", "inside & (tl.abs(flow_x) <= 1.0)", "inside"),
    Mutant("NaN not caught", "tl.where(value == value, value, _FAR)", "value"),
    Mutant("infinite flow not limited", "tl.minimum(tl.maximum(value, -_FAR), _FAR)", "value"),
    Mutant(
        "truncated instead of floored",
        "x0, y0 = tl.floor(at_x), tl.floor(at_y)",
        "x0, y0 = at_x.to(tl.int32).to(tl.float32), at_y.to(tl.int32).to(tl.float32)",
    ),
    Mutant(
        "nearest instead of bilinear",
        "(fx if corner % 2 else 1 - fx) * (fy if corner // 2 else 1 - fy)",
        "(1.0 if corner == 0 else 0.0)",
    ),
    Mutant("columns read as rows of H", "(cy * W + cx)[None, :]", "(cy * H + cx)[None, :]"),
    Mutant(
        "scatter overwrites",
        'tl.atomic_add(grad_x_ptr + offset, grad * (weight_x * weight_y)[None, :], mask=seen, sem="relaxed")',
        "tl.store(grad_x_ptr + offset, grad * (weight_x * weight_y)[None, :], mask=seen)",
    ),
    Mutant(
        "one block of channels only", "for start in range(0, C, BLOCK_C):", "for start in range(0, BLOCK_C, BLOCK_C):"
    ),
    Mutant(
        "gradient sign along x", "(weight_y if corner % 2 else -weight_y)", "(-weight_y if corner % 2 else weight_y)"
    ),
    Mutant("gradient not scaled to grid units", "along_y * half_y", "along_y"),
    Mutant(
        "adjoint reaches one side only",
        "last = tl.minimum(tl.floor((i + 1) * reach_y).to(tl.int32), H - 1)",
        "last = tl.minimum(tl.floor(i * reach_y).to(tl.int32), H - 1)",
    ),
    Mutant(
        "adjoint's second block of pixels lost",
        "for start in range(0, W, BLOCK_X):",
        "for start in range(0, BLOCK_X, BLOCK_X):",
    ),
    Mutant("adjoint's second block of cells lost", "triton.cdiv(w, block_j))]", "1)]"),
    Mutant("images share a flow", "flow_ptr += b.to(tl.int64) * 2 * h * w", "flow_ptr += 0"),
    Mutant(
        "flow read as it lies",
        "x, flow = x.contiguous(memory_format=layout), flow.contiguous()",
        "x = x.contiguous(memory_format=layout)",
    ),
    Mutant(
        "gradient read as it lies",
        "x, grad = x.contiguous(memory_format=layout), grad.contiguous(memory_format=layout)",
        "x = x.contiguous(memory_format=layout)",
    ),
    Mutant("channels_last ignored", "return p * C + c", "return c * HW + p"),
]
