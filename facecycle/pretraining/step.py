"""The losses of one batch and their gradients: what a training step computes before the optimizer moves anything."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from facecycle import distributed
from facecycle.api import Pairs, Views
from facecycle.config.settings import RunConfig
from facecycle.pretraining.objective import Objective
from facecycle.seeds import seeded


def training_step(
    model: nn.Module,
    objective: Objective,
    pairs: Pairs,
    config: RunConfig,
    step: int,
    process: int,
    approximate: bool,
) -> tuple[dict[str, Tensor], Views]:
    """Add the gradients of a batch to what `model` trains, in the passes that the configuration asks for.

    Args:
        model: the method, or the method in step with other processes.
        objective: the losses of the stage.
        pairs: this process's pairs, of any device.
        config: the run's.
        step: within the stage; with the seed it determines the noise.
        process: number of this process, which draws its own noise.
        approximate: compute in bfloat16.

    Returns:
        The total and each loss, means over the passes; and the views of the last pass.
    """
    noise = seeded("noise", config.seed, objective.stage, step, process)
    # Whatever a plugin draws from the global generator is tied to the step as well.
    torch.manual_seed(noise.initial_seed())
    device = next(model.parameters()).device
    passes = list(zip(pairs.first.chunk(config.accumulate), pairs.second.chunk(config.accumulate), strict=True))
    losses = []
    for number, part in enumerate(passes, 1):
        if device.type == "cuda":  # seconds to import elsewhere, for nothing
            torch.compiler.cudagraph_mark_step_begin()
        with distributed.no_sync(model) if number < len(passes) else nullcontext():
            with torch.autocast(device.type, torch.bfloat16, enabled=approximate):
                views = model(_on(Pairs(*part), device), objective.cycle, objective.wanted, noise)
                total, sums = objective(views)
            (total / len(passes)).backward()
        losses.append(torch.stack([total, *sums.values()]).detach())
    means = torch.stack(losses).mean(0)
    named = dict(zip(["total", *sums], means, strict=True))
    named["total"] = means[0]  # whatever a loss of the configuration is called
    return named, views


def _on(pairs: Pairs, device: torch.device) -> Pairs:
    # A GPU copies from pinned memory while it computes, and changes the layout itself.
    first, second = (x.to(device, non_blocking=True) for x in (pairs.first, pairs.second))
    return Pairs(*(x.contiguous(memory_format=torch.channels_last) for x in (first, second)))
