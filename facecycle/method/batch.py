"""What a method computes over a batch, wherever its images lie."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


class _SumOverProcesses(torch.autograd.Function):
    """The sum of every process's tensor; each of them gets the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


def batch_mean(x: Tensor) -> Tensor:
    """Return the mean (1, ...) over the images of x (B, ...), of all processes that train together.

    Gradients reach the images of all of them. Every process has the same number.
    """
    mean = x.mean(dim=0, keepdim=True)
    if not (distributed.is_available() and distributed.is_initialized()):
        return mean
    exact = mean.to(torch.promote_types(mean.dtype, torch.float32))
    return _SumOverProcesses.apply(exact) / distributed.get_world_size()
