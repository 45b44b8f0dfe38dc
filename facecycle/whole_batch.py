"""What is computed over the images of all processes that train together: a mean, and a tensor of all their rows.

Methods and losses of plugins may use both. Gradients reach the images of every process.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


class _SumOverProcesses(torch.autograd.Function):
    """The sum of every process's tensor; each gets the sum of the gradients. Torch deprecates its own function."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _SumOverProcesses.forward(ctx, gradient)


def _alone() -> bool:
    return not (distributed.is_available() and distributed.is_initialized())


def batch_mean(x: Tensor) -> Tensor:
    """Return the mean (1, ...) over the images of x (B, ...), of all processes that train together."""
    mean = x.mean(dim=0, keepdim=True)
    if _alone():
        return mean
    exact = mean.to(torch.promote_types(mean.dtype, torch.float32))
    return _SumOverProcesses.apply(exact) / distributed.get_world_size()


def gather(x: Tensor) -> Tensor:
    """Return the rows of x (B, ...) of all processes, (processes · B, ...), in the order of the processes.

    Each process has as many. A loss of them all is the same in each, and its gradients, which are averaged over the
    processes, are those of one process with the whole batch.
    """
    if _alone():
        return x
    parts = x.new_zeros(distributed.get_world_size(), *x.shape)
    here = torch.arange(len(parts), device=x.device) == distributed.get_rank()
    # Numbers that are not finite stay with their process: a product with 0 would spread them.
    parts = torch.where(here.view(-1, *[1] * x.dim()), x, parts)
    return _SumOverProcesses.apply(parts).flatten(0, 1)
