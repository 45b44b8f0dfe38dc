"""ssim: its checks against the reference in float64, and the faults that they must catch."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import torch
from checking import DEVICE, Call, Check, Launch, Mutant, agree, askew, double, draw, fenced_outputs, meta, numbers
from facecycle_kernels.ssim.op import ssim
from facecycle_kernels.ssim.reference import ssim as formula
from hypothesis import strategies as st


def check(
    kernels: ModuleType, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0, skew: bool = False
) -> None:
    """Forward and the gradient of the predictions; similar pictures, as in training."""
    target = numbers(*shape[1:], seed=seed, dtype=dtype)
    predictions = numbers(*shape, seed=seed + 1, dtype=dtype)
    predictions += target
    if skew:
        predictions, target = askew(predictions, target)
    grad = torch.randn(shape[0], generator=torch.Generator().manual_seed(seed + 2)).to(DEVICE)
    wide_p, wide_t = double(predictions, target)
    wanted = formula(wide_p, wide_t)
    (wanted_grad,) = torch.autograd.grad(wanted, wide_p, grad.double())
    with fenced_outputs():
        values, maps = kernels.forward(predictions, target, True)
        alone, _ = kernels.forward(predictions, target, False)
        found = kernels.backward(grad, predictions, target, maps)
    # E[x²] - E[x]² is part of the definition, and costs a digit.
    agree("forward", values, wanted, 1e-4)
    agree("forward without maps", alone, wanted, 1e-4)
    agree("gradient", found, wanted_grad, 1e-4 if dtype is torch.float32 else None)


def _checks() -> Iterator[Check]:
    for shape in ((1, 1, 1, 1, 1), (2, 1, 2, 5, 7)):
        yield Check(f"predictions {shape}", lambda k, a=shape: check(k, a))
    yield Check("predictions (2, 2, 1, 9, 20), skew", lambda k: check(k, (2, 2, 1, 9, 20), skew=True))
    for shape in ((2, 2, 1, 17, 33), (1, 1, 1, 40, 16)):
        yield Check(f"predictions {shape}", lambda k, a=shape: check(k, a))
    for dtype in (torch.float16, torch.bfloat16):
        yield Check(f"predictions (2, 1, 1, 9, 20), {dtype}", lambda k, d=dtype: check(k, (2, 1, 1, 9, 20), d))


CHECKS = list(_checks())
SIDE = st.integers(1, 20)
DRAWN = st.fixed_dictionaries(
    {"shape": st.tuples(st.integers(1, 2), st.just(1), st.integers(1, 2), SIDE, SIDE), "seed": st.integers(0, 999)}
)


def calls(dtype: torch.dtype) -> Iterator[Call]:
    """Yield a call of the op."""
    inputs = (draw(2, 1, 2, 5, 7, seed=5, dtype=dtype), draw(1, 2, 5, 7, seed=6, dtype=dtype))
    yield Call("ssim", ssim, ssim, formula, torch.ops.facecycle.ssim, inputs, (True,))


def launches() -> Iterator[Launch]:
    """Yield what is compiled for each target."""
    # Triton makes a constant of every size that is 1, which has no methods.
    yield _launch((1, 1, 1, 1, 1), torch.float32)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        yield _launch((3, 32, 3, 64, 64), dtype)


def _launch(shape: tuple[int, ...], dtype: torch.dtype) -> Launch:
    p, t, maps, grad = meta(*shape, dtype=dtype), meta(*shape[1:], dtype=dtype), meta(3, *shape), meta(shape[0])
    return Launch(
        f"{shape} {dtype}",
        False,
        lambda k: (k.forward(p, t, True), k.forward(p, t, False), k.backward(grad, p, t, maps)),
    )


MUTANTS = [
    Mutant(
        "target read as it lies",
        "predictions, target = predictions.contiguous(), target.contiguous()",
        "predictions = predictions.contiguous()",
    ),
    Mutant("taps one off", "distance = (from_first - _REACH)", "distance = (from_first - _REACH + 1)"),
    Mutant("window cut at 9", "tl.abs(distance) <= _REACH", "tl.abs(distance) <= _REACH - 1"),
    Mutant(
        "window not normalised", "tl.exp(distance * distance * _FALL) * _SCALE", "tl.exp(distance * distance * _FALL)"
    ),
    Mutant(
        "filtered along rows only",
        'return tl.dot(rows, across, input_precision="ieee")',
        'return tl.dot(rows * 0 + (rows == tl.max(rows)), across, input_precision="ieee")',
    ),
    Mutant("left edge unguarded", "(x >= 0) & (x < W)", "(x < W)"),
    Mutant("lower edge unguarded", "(y >= 0) & (y < H)", "(y >= 0)"),
    Mutant("pixels past the edge counted", "tl.where(inside, luminance * structure, 0.0)", "luminance * structure"),
    Mutant("every view has a target", "shared = (plane % target_planes)", "shared = plane"),
    Mutant(
        "mean not taken from the square",
        "var_p = _blur(p * p, rows, columns) - mean_p * mean_p",
        "var_p = _blur(p * p, rows, columns)",
    ),
    Mutant("C2 left out", "spread = var_p + var_t + _C2", "spread = var_p + var_t"),
    Mutant(
        "derivative by the mean lacks the variance",
        "- by_product * mean_t - 2 * by_square * mean_p",
        "- by_product * mean_t",
    ),
    Mutant("backward reads the wrong map", "(first + 2 * planes) * HW + offset", "(first + planes) * HW + offset"),
    Mutant(
        "backward mask dropped",
        "tl.store(grad_ptr + plane.to(tl.int64) * HW + at, grad, mask=inside)",
        "tl.store(grad_ptr + plane.to(tl.int64) * HW + at, grad)",
    ),
    Mutant("views share a weight", "tl.load(weight_ptr + plane // target_planes)", "tl.load(weight_ptr)"),
]
