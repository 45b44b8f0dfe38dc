"""Which implementation of the ops runs where, and why; and the layout of their results."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")


@cache
def why_not_triton() -> str | None:
    """Return why the Triton kernels cannot run on this machine, or None where they can."""
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    return None


def runs_triton(x: Tensor) -> bool:
    """Tell whether a tensor's op goes to Triton: on CUDA, in the precisions the kernels know."""
    return why_not_triton() is None and x.dtype in {torch.float32, torch.float16, torch.bfloat16}


def memory_format(x: Tensor) -> torch.memory_format:
    """Return the layout of x (B, C, H, W), which an op's result shares: channels_last, or else contiguous."""
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format


def without_autocast(function: Callable[P, T]) -> Callable[P, T]:
    """Keep autocast away from a function whose first argument is a tensor.

    It would compute the products of matrices in half precision, and with them the places that a warp reads at.
    """

    @wraps(function)
    def exact(*args: P.args, **kwargs: P.kwargs) -> T:
        with torch.autocast(args[0].device.type, enabled=False):  # type: ignore[attr-defined]
            return function(*args, **kwargs)

    return exact
