"""What a kernel must do: its results and gradients on many shapes, against the reference in float64.

The checks take the module of an op's kernels as an argument, so that they can be turned on a broken one.
"""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from facecycle_kernels.flow_warp.reference import flow_warp
from facecycle_kernels.renormalize.reference import EPS, renormalize
from facecycle_kernels.ssim.reference import ssim
from torch import Tensor
from triton.runtime import interpreter

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Largest difference, relative to the largest value: two roundings of a half-precision result."""
FENCE, POST = 64, 1234.5
DEVICE = torch.device("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")
"""Where the kernels run; the interpreter takes tensors of the CPU."""


class Wrong(AssertionError):
    """A kernel's result differs, or memory outside its tensors was touched."""


class NoDraw(ValueError):
    """No random flow keeps away from integers: the shape tells nothing."""


@dataclass(frozen=True)
class Check:
    """One check of an op's kernels."""

    name: str
    run: Callable[[ModuleType], None]


def loads_without_other(kernels: ModuleType) -> list[int]:
    """Return the lines of masked loads that do not say what they read where they are masked: garbage on a GPU."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(kernels))) if isinstance(node, ast.Call)]
    loads = {call.lineno: {k.arg for k in call.keywords} for call in calls if ast.unparse(call.func) == "tl.load"}
    return [line for line, keywords in loads.items() if "mask" in keywords and "other" not in keywords]


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32, channels_last: bool = False) -> Tensor:
    """Return N(0, 1), fenced with NaN, so that a read outside shows in whatever it is used for."""
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    if channels_last:
        values = values.permute(0, 2, 3, 1)
    buffer = torch.full((values.numel() + 2 * FENCE,), float("nan"), dtype=dtype)
    buffer[FENCE:-FENCE] = values.reshape(-1)
    fenced = buffer.to(DEVICE)[FENCE:-FENCE].view(values.shape)
    return fenced.permute(0, 3, 1, 2) if channels_last else fenced


@contextmanager
def watched_memory() -> Iterator[None]:
    """Let every load, store and atomic of an interpreted kernel touch the launch's tensors only.

    The interpreter itself reads and writes wherever it is told to.
    """
    builder, executor = interpreter.InterpreterBuilder, interpreter.GridExecutor
    load, store = builder.create_masked_load, builder.create_masked_store
    atomic, start = builder.create_atomic_rmw, executor._init_args_hst
    first, last = np.zeros(0, np.uint64), np.zeros(0, np.uint64)

    def launch(self: Any, args: Any, kwargs: Any) -> Any:
        nonlocal first, last
        tensors = [t for t in args if isinstance(t, Tensor) and t.numel() > 0]
        tensors.sort(key=Tensor.data_ptr)
        first = np.array([t.data_ptr() for t in tensors], np.uint64)
        last = np.array([t.data_ptr() + t.numel() * t.element_size() for t in tensors], np.uint64)
        return start(self, args, kwargs)

    def check(what: str, pointers: Any, mask: Any) -> None:
        shape = np.broadcast_shapes(pointers.data.shape, mask.data.shape)
        used = np.broadcast_to(pointers.data, shape)[np.broadcast_to(mask.data, shape).astype(bool)]
        place = np.searchsorted(first, used.astype(np.uint64), side="right")
        if used.size and not ((place > 0) & (used.astype(np.uint64) < last[np.maximum(place, 1) - 1])).all():
            raise Wrong(f"{what} outside the tensors")

    def create_masked_load(self: Any, pointers: Any, mask: Any, other: Any, *rest: Any) -> Any:
        check("reads", pointers, mask)
        return load(self, pointers, mask, other, *rest)

    def create_load(self: Any, pointers: Any, *rest: Any) -> Any:
        mask = interpreter.TensorHandle(np.ones_like(pointers.data, dtype=bool), interpreter.tl.int1)
        check("reads", pointers, mask)
        return load(self, pointers, mask, None, *rest)

    def create_masked_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        check("writes", pointers, mask)
        return store(self, pointers, value, mask, *rest)

    def create_atomic_rmw(self: Any, operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        check("adds", pointers, mask)
        return atomic(self, operation, pointers, value, mask, *rest)

    with (
        mock.patch.object(executor, "_init_args_hst", launch),
        mock.patch.object(builder, "create_load", create_load),
        mock.patch.object(builder, "create_masked_load", create_masked_load),
        mock.patch.object(builder, "create_masked_store", create_masked_store),
        mock.patch.object(builder, "create_atomic_rmw", create_atomic_rmw),
    ):
        yield


@contextmanager
def fenced_outputs() -> Iterator[None]:
    """Let what a launcher allocates hold NaN until written, between posts that must stand afterwards."""
    buffers: list[Tensor] = []

    def allocate(shape: Any, dtype: torch.dtype, value: float, channels_last: bool = False) -> Tensor:
        shape = torch.Size([shape] if isinstance(shape, int) else shape)
        if channels_last:
            shape = torch.Size((shape[0], shape[2], shape[3], shape[1]))
        buffer = torch.full((shape.numel() + 2 * FENCE,), POST, dtype=dtype, device=DEVICE)
        buffer[FENCE:-FENCE] = value
        buffers.append(buffer)
        inner = buffer[FENCE:-FENCE].view(shape)
        return inner.permute(0, 3, 1, 2) if channels_last else inner

    def like(value: float) -> Callable[..., Tensor]:
        def make(x: Tensor, dtype: torch.dtype | None = None, memory_format: Any = None) -> Tensor:
            return allocate(x.shape, dtype or x.dtype, value, memory_format is torch.channels_last)

        return make

    original = Tensor.new_empty

    def new_empty(x: Tensor, shape: Any, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
        if device is not None:  # the interpreter's own
            return original(x, shape, dtype=dtype, device=device)
        return allocate(shape, dtype or x.dtype, float("nan"))

    with (
        watched_memory(),
        mock.patch.object(torch, "empty_like", like(float("nan"))),
        mock.patch.object(torch, "zeros_like", like(0.0)),
        mock.patch.object(Tensor, "new_empty", new_empty),
    ):
        yield
    for buffer in buffers:
        post = torch.tensor(POST, dtype=buffer.dtype, device=DEVICE)
        if not ((buffer[:FENCE] == post).all() and (buffer[-FENCE:] == post).all()):
            raise Wrong("wrote outside a tensor")


def agree(what: str, found: Tensor, wanted: Tensor, tolerance: float | None = None, least: float = 1e-3) -> None:
    """Raise `Wrong` unless found is wanted, relative to its largest value, which counts as `least` at least."""
    tolerance = tolerance or TOLERANCE[found.dtype]
    if found.shape != wanted.shape:
        raise Wrong(f"{what}: shape {tuple(found.shape)}, expected {tuple(wanted.shape)}")
    scale = max(least, float(wanted.detach().abs().max())) if wanted.numel() else 1.0
    difference = (found.double() - wanted.detach().double()).abs()
    if not bool((difference <= tolerance * scale).all()):
        raise Wrong(f"{what}: off by {float(difference.max()) / scale:.1e} of the largest value")


def askew(*tensors: Tensor) -> list[Tensor]:
    """Return the tensors with rows and columns exchanged in memory: neither contiguous nor channels-last."""
    return [t.transpose(-1, -2).contiguous().transpose(-1, -2) for t in tensors]


def double(*tensors: Tensor) -> list[Tensor]:
    """Return copies in float64 that want gradients."""
    return [t.detach().double().requires_grad_() for t in tensors]


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


def check_flow_warp(
    kernels: ModuleType, x_shape: tuple[int, ...], cells: tuple[int, int], clamp: bool = False,
    channels_last: bool = False, dtype: torch.dtype = torch.float32, spread: float = 0.6, seed: int = 0,
    skew: bool = False,
) -> None:  # fmt: skip
    """Forward and both gradients on a random image and flow; `skew` gives them another layout than any kernel's."""
    x = numbers(*x_shape, seed=seed, dtype=dtype, channels_last=channels_last)
    grad = numbers(*x_shape, seed=seed + 1, dtype=dtype, channels_last=channels_last)
    for draw in range(100):
        flow = numbers(x_shape[0], 2, *cells, seed=seed + 2 + draw)
        flow *= spread
        if _away_from_integers(x, flow, clamp):
            break
    else:
        raise NoDraw(f"x {x_shape}, flow {cells}")
    if skew:
        x, flow, grad = askew(x, flow, grad)
    wide_x, wide_flow = double(x, flow)
    wanted = flow_warp(wide_x, wide_flow, clamp)
    wanted_x, wanted_flow = torch.autograd.grad(wanted, (wide_x, wide_flow), grad.double())
    with fenced_outputs():
        out = kernels.forward(x, flow, clamp)
        grad_x, grad_flow = kernels.backward(grad, x, flow, clamp, True, True)
        only_x, _ = kernels.backward(grad, x, flow, clamp, True, False)
        _, only_flow = kernels.backward(grad, x, flow, clamp, False, True)
    # A coordinate in float32 is rounded in proportion to the image's size.
    tolerance = 1e-5 + max(x_shape[2:]) * 2**-23 if dtype is torch.float32 else None
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
    wanted = flow_warp(wide_x, wide_flow, clamp)
    wanted_x, wanted_flow = torch.autograd.grad(wanted, (wide_x, wide_flow), grad.double())
    with fenced_outputs():
        out = kernels.forward(x, flow, clamp)
        grad_x, grad_flow = kernels.backward(grad, x, flow, clamp, True, True)
    if not clamp and bool(out[0, :, 2, :5].any()):
        raise Wrong("a wild flow does not read zeros")
    agree("forward", out, wanted)
    agree("gradient of x", grad_x, wanted_x)
    agree("gradient of flow", grad_flow, wanted_flow, 5e-5)


def check_renormalize(
    kernels: ModuleType, shape: tuple[int, ...], spatial: bool, channels_last: bool = False,
    dtype: torch.dtype = torch.float32, mean: float = 0.0, seed: int = 0, skew: bool = False,
) -> None:  # fmt: skip
    """Forward and all gradients."""
    modulation = shape if spatial else (*shape[:2], 1, 1)
    x = numbers(*shape, seed=seed, dtype=dtype, channels_last=channels_last)
    x += mean
    gamma, beta = (numbers(*modulation, seed=seed + n, dtype=dtype) for n in (1, 2))
    grad = numbers(*shape, seed=seed + 3, dtype=dtype)
    if skew:
        x, gamma, beta, grad = askew(x, gamma, beta, grad)
    wide = double(x, gamma, beta)
    wanted = renormalize(*wide)
    wanted_grads = torch.autograd.grad(wanted, wide, grad.double())
    with fenced_outputs():
        out, means, rstd = kernels.forward(x, gamma, beta)
        grad_x, grad_gamma, grad_beta = kernels.backward(grad, x, gamma, means, rstd)
    agree("forward", out, wanted)
    # Sums over a map of terms of both signs.
    tolerance = 5e-5 if dtype is torch.float32 else None
    variance, mean_of_map = torch.var_mean(wide[0].detach(), (2, 3), correction=0)
    deviation = (variance + EPS).sqrt()
    agree("mean", means, mean_of_map)
    agree("1 / deviation", rstd, 1 / deviation)
    # What is left of x's gradient can be nothing, as it is for maps of one pixel; its terms round all the same.
    largest_term = float((grad.double() * gamma.double() / deviation[..., None, None]).abs().max())
    agree("gradient of x", grad_x, wanted_grads[0], tolerance, largest_term)
    agree("gradient of gamma", grad_gamma, wanted_grads[1], tolerance)
    if modulation != shape:
        agree("gradient of beta", grad_beta, wanted_grads[2], tolerance)


def check_ssim(
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
    wanted = ssim(wide_p, wide_t)
    (wanted_grad,) = torch.autograd.grad(wanted, wide_p, grad.double())
    with fenced_outputs():
        values, maps = kernels.forward(predictions, target, True)
        alone, _ = kernels.forward(predictions, target, False)
        found = kernels.backward(grad, predictions, target, maps)
    # E[x²] - E[x]² is part of the definition, and costs a digit.
    agree("forward", values, wanted, 1e-4)
    agree("forward without maps", alone, wanted, 1e-4)
    agree("gradient", found, wanted_grad, 1e-4 if dtype is torch.float32 else None)


def _flow_checks() -> Iterator[Check]:
    shapes: list[tuple[tuple[int, ...], tuple[int, int], dict[str, Any]]] = [
        ((1, 1, 1, 1), (1, 1), {}),
        ((1, 3, 5, 7), (2, 3), {}),
        ((2, 2, 4, 6), (3, 2), {"clamp": True, "spread": 1.5}),
        ((1, 2, 13, 11), (13, 11), {}),
        ((1, 2, 4, 3), (9, 8), {}),
        ((1, 2, 1, 7), (3, 3), {}),
        ((1, 2, 7, 1), (1, 4), {}),
        ((1, 9, 6, 50), (4, 1), {"clamp": True}),
        ((1, 1, 2, 70), (2, 19), {}),
        ((1, 35, 6, 7), (3, 2), {"channels_last": True}),
        ((2, 3, 5, 6), (3, 4), {"skew": True}),
        ((2, 3, 5, 6), (3, 4), {"dtype": torch.float16}),
        ((2, 3, 5, 6), (3, 4), {"dtype": torch.bfloat16, "channels_last": True}),
    ]
    for x_shape, cells, options in shapes:
        label = ", ".join([f"x {x_shape}, flow {cells}", *(f"{k} {v}" for k, v in options.items())])
        yield Check(label, lambda k, a=x_shape, b=cells, o=options: check_flow_warp(k, a, b, **o))
    for clamp in (False, True):
        yield Check(f"wild flow, clamp {clamp}", lambda k, clamp=clamp: check_wild_flow(k, clamp))


def _renormalize_checks() -> Iterator[Check]:
    shapes: list[tuple[tuple[int, ...], dict[str, Any]]] = [
        ((1, 1, 1, 1), {}),
        ((2, 3, 5, 7), {}),
        ((1, 17, 4, 4), {"mean": 100.0}),
        ((1, 2, 37, 31), {}),  # two blocks of positions and more
        ((2, 33, 5, 9), {"channels_last": True}),
        ((2, 3, 5, 7), {"skew": True}),
        ((2, 3, 5, 7), {"dtype": torch.float16}),
        ((2, 3, 5, 7), {"dtype": torch.bfloat16, "channels_last": True}),
    ]
    for shape, options in shapes:
        for spatial in (False, True):
            label = ", ".join([f"x {shape}, spatial {spatial}", *(f"{k} {v}" for k, v in options.items())])
            yield Check(label, lambda k, a=shape, s=spatial, o=options: check_renormalize(k, a, s, **o))


def _ssim_checks() -> Iterator[Check]:
    for shape in ((1, 1, 1, 1, 1), (2, 1, 2, 5, 7), (2, 2, 1, 17, 33), (1, 1, 1, 40, 16)):
        yield Check(f"predictions {shape}", lambda k, a=shape: check_ssim(k, a))
    yield Check("predictions (2, 2, 1, 9, 20), skew", lambda k: check_ssim(k, (2, 2, 1, 9, 20), skew=True))
    for dtype in (torch.float16, torch.bfloat16):
        yield Check(f"predictions (2, 1, 1, 9, 20), {dtype}", lambda k, d=dtype: check_ssim(k, (2, 1, 1, 9, 20), d))


CHECKS: dict[str, list[Check]] = {
    "flow_warp": list(_flow_checks()),
    "renormalize": list(_renormalize_checks()),
    "ssim": list(_ssim_checks()),
}
