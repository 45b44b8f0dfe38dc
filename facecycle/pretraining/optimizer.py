"""The optimizer of a stage: its learning rate as a function of the step, and its state as named tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from facecycle.config.settings import OptimizerConfig

WARM_UP = 0.1
FINAL = 0.01


def learning_rate(config: OptimizerConfig, step: int, total: int, epoch_length: int) -> float:
    """Return the learning rate of a step.

    A single rate is the peak of one cycle: a linear rise over the first tenth of the stage, then half a
    cosine down to a hundredth. A list of (epoch, rate) holds each rate from its epoch on.
    """
    if isinstance(config.lr, list):
        epoch = step // epoch_length
        return next(rate for first, rate in reversed(config.lr) if epoch >= first)
    rise = max(1, round(WARM_UP * total))
    if step < rise:
        return config.lr * (step + 1) / rise
    done = (step - rise) / max(1, total - rise)
    return config.lr * (FINAL + (1 - FINAL) * (1 + math.cos(math.pi * done)) / 2)


def make_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Create the optimizer of a stage; the learning rate is set before every step."""
    trained = list(parameters)
    # On a GPU one kernel for all parameters. On a CPU it gains 2 %, and computes nonsense in silence where a state is
    # laid out in another way than its parameter (torch 2.14; findings/fused_adam_layouts.sh).
    on_gpu = all(p.is_cuda for p in trained)
    shared: dict[str, Any] = {"lr": 0.0, "weight_decay": config.weight_decay, "fused": on_gpu}
    if config.name == "sgd":
        return torch.optim.SGD(trained, momentum=config.momentum, **shared)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(trained, betas=config.betas, **shared)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as `<parameter number>.<entry>` tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{entry}": value.detach().cpu().contiguous()
        for number, entries in state.items()
        for entry, value in entries.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned, laid out as the parameters are: fused optimizers demand it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, entry = name.partition(".")
        like = parameters[int(number)]
        placed = torch.empty_like(like, device=value.device).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(number), {})[entry] = placed.detach()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
