"""Which implementation of the ops runs where, and why; and the layout of their results."""

from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.library import CustomOpDef

OLDEST = (8, 0)
"""Compute capability of the oldest NVIDIA GPUs that Triton supports; those before have no bfloat16 either."""
P = ParamSpec("P")
T = TypeVar("T")


@cache
def why_not_triton() -> str | None:
    """Return why the Triton kernels cannot run on this machine, or None where they can."""
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    if torch.version.hip is None and (found := torch.cuda.get_device_capability()) < OLDEST:
        return f"the GPU's compute capability is {found[0]}.{found[1]}, and Triton needs {OLDEST[0]}.{OLDEST[1]}"
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    return None


def on_cuda(op: CustomOpDef, module: str, function: str) -> None:
    """Let a custom op run a module's Triton function on CUDA tensors, and its own code where Triton does not run.

    The module is imported when it is needed: on other machines there may be no Triton to import.
    """

    @op.register_kernel("cuda")
    def run(*args: Any) -> Any:
        if why_not_triton() or args[0].dtype not in {torch.float32, torch.float16, torch.bfloat16}:
            return op._init_fn(*args)
        with torch.cuda.device(args[0].device):  # Triton launches on the current device, whatever the tensor's
            return getattr(import_module(module), function)(*args)


def has_tangent(*tensors: Tensor) -> bool:
    """Tell whether forward derivatives are asked for, as by `torch.func.jvp`.

    Custom ops have none, and torch would take them for zero, so a plain reference computes instead.
    """
    return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)


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
