"""What all checks share: tensors whose surroundings are watched, agreement with float64, and what a mutant is."""

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


@dataclass(frozen=True)
class Mutant:
    """A fault, put into an op's kernels in place of `old`; `occurrence` counts from 0."""

    fault: str
    old: str
    new: str
    occurrence: int = 0

    def source(self, text: str) -> str:
        """Return the broken source. Raises `ValueError` when there is nothing to break."""
        parts = text.split(self.old)
        if len(parts) < self.occurrence + 2:
            raise ValueError(f"{self.fault}: the kernels do not hold {self.old!r}")
        head, tail = parts[: self.occurrence + 1], parts[self.occurrence + 1 :]
        return self.old.join(head) + self.new + self.old.join(tail)


@dataclass(frozen=True)
class Call:
    """A call of a public op, and what must agree with it: its formula, and the op as torch has it registered.

    Attributes:
        op: the public function; `custom` is the one that compiles, where the function goes round it.
        formula: the reference.
        registered: the op in `torch.ops.facecycle`, called with `inputs` and `extra`.
        inputs: tensors in the dtype that was asked for, which want gradients, and flags.
    """

    name: str
    op: Callable[..., Any]
    custom: Callable[..., Any]
    formula: Callable[..., Any]
    registered: Any
    inputs: tuple[Any, ...]
    extra: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Launch:
    """A launch to compile: its case, whether vector loads are possible, and a function of the op's kernels."""

    case: str
    vectors: bool
    run: Callable[[ModuleType], Any]


def draw(*shape: int, seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return N(0, scale²) on the CPU that wants gradients."""
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * scale
    return values.requires_grad_()


def meta(*shape: int, dtype: torch.dtype = torch.float32, channels_last: bool = False) -> Tensor:
    """Return a tensor without memory, to compile for."""
    x = torch.empty(*shape, dtype=dtype, device="meta")
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


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
