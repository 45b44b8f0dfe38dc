"""A training step: the numbers it computes in, its losses and their gradients, and what it moves."""

from __future__ import annotations

import math
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from facecycle import distributed, registry
from facecycle.api import Loss, Pairs, View, Views
from facecycle.config.settings import RunConfig
from facecycle.errors import ConfigError, PluginError
from facecycle.seeds import seeded

IMAGES = 5
"""Dimensions of views that are images or flows, (V, B, C, H, W)."""


def select_trainable(method: Any, cycle: str) -> list[nn.Parameter]:
    """Let gradients and running statistics move in the cycle's networks only; return their parameters."""
    method.requires_grad_(False).eval()
    chosen: dict[int, nn.Parameter] = {}
    for network in method.trainable(cycle):
        network.requires_grad_(True).train()
        chosen.update((id(p), p) for p in network.parameters())
    return list(chosen.values())


def _values(loss: Loss, predictions: Tensor, target: Tensor | None, names: list[str]) -> Tensor:
    """Return the loss (V,) of views (V, B, ...) that share a target.

    Raises:
        ConfigError: the loss cannot compare what these views are, such as an image loss of embeddings.
    """
    fault = ""
    try:
        values = loss(predictions, target)
    except ValueError as error:  # how a loss says what it compares
        fault = str(error)
    except (IndexError, RuntimeError) as error:
        # An image loss fails in the middle of embeddings. Of images that is its own fault, which its traceback shows.
        if predictions.dim() == IMAGES or isinstance(error, torch.OutOfMemoryError):
            raise
        fault = str(error)
    else:
        if values.shape == (len(names),):
            return values
        fault = f"it gives {tuple(values.shape)} for {len(names)} views"
    raise ConfigError(
        f"the loss {type(loss).__name__} does not compare views such as {names[0]}, whose numbers for each image have "
        f"the shape {tuple(predictions.shape[2:])}: {fault}",
        hint="Images are (3, H, W), flows (2, h, w) and embeddings (D,). Choose another loss, or another view.",
    )


@dataclass(frozen=True)
class _Term:
    loss: Loss
    weight: float
    views: dict[str, float]


class Objective:
    """The losses of one stage, applied to the views that its configuration names.

    Attributes:
        stage, cycle: the names of the stage, and of the method's cycle that it trains.
        wanted: the views that some loss looks at.
    """

    def __init__(self, config: RunConfig, stage: str, method: Any) -> None:
        """Build the losses where the method's networks are; the run's seed decides on weights that some draw."""
        settings = config.trained_stages[stage]
        self.stage, self.cycle = stage, settings.cycle
        self.terms: dict[str, _Term] = {}
        for label, chosen in settings.losses.items():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                loss = registry.build("loss", chosen.name, chosen.options)
            if isinstance(loss, nn.Module):
                loss.to(next(method.parameters()).device)
            self.terms[label] = _Term(loss, chosen.weight, dict(chosen.views))
        self.wanted = frozenset(view for term in self.terms.values() for view in term.views)

    def __call__(self, views: Views) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted total, and each loss's sum over its weighted views, both with gradients."""
        sums = {label: _sum_over_views(term, views) for label, term in self.terms.items()}
        total = torch.stack([term.weight * sums[label] for label, term in self.terms.items()]).sum()
        return total, sums


def _sum_over_views(term: _Term, views: Views) -> Tensor:
    # Views with one target go through the loss together: it looks at the target once.
    by_target: dict[str, list[str]] = defaultdict(list)
    for name in term.views:
        by_target[_view(views, name).target if term.loss.needs_target else ""].append(name)
    parts = []
    for target, names in by_target.items():
        predictions = torch.stack([views.views[name].prediction for name in names])
        values = _values(term.loss, predictions, _target(views, target) if target else None, names)
        weights = torch.tensor([term.views[name] for name in names]).to(values)
        parts.append((values * weights).sum())
    return torch.stack(parts).sum()


def _view(views: Views, name: str) -> View:
    if name not in views.views:
        raise PluginError(f"the method names a view {name!r}, and did not compute it", hint=registry.OFFERED)
    return views.views[name]


def _target(views: Views, name: str) -> Tensor:
    if name not in views.targets:
        raise PluginError(f"the method compares views with {name!r}, and did not give it", hint=registry.OFFERED)
    return views.targets[name]


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
    passes = [pairs.apply(partial(_part, number, config.accumulate)) for number in range(config.accumulate)]
    losses = []
    for number, part in enumerate(passes, 1):
        if device.type == "cuda":  # seconds to import elsewhere, for nothing
            torch.compiler.cudagraph_mark_step_begin()
        with distributed.no_sync(model) if number < len(passes) else nullcontext():
            with torch.autocast(device.type, torch.bfloat16, enabled=approximate):
                views = model(part.apply(partial(_placed, device)), objective.cycle, objective.wanted, noise)
                total, sums = objective(views)
            (total / len(passes)).backward()
        losses.append(torch.stack([total, *sums.values()]).detach())
    means = torch.stack(losses).mean(0)
    # A loss of the configuration may be called `total` too.
    return dict(zip(["total", *sums], means, strict=True)) | {"total": means[0]}, views


def _part(number: int, parts: int, x: Tensor) -> Tensor:
    return x.chunk(parts)[number]


def _placed(device: torch.device, x: Tensor) -> Tensor:
    """Return a tensor of a batch where it is computed with, images channels last."""
    # A GPU copies from pinned memory while it computes, and changes the layout itself.
    there = x.to(device, non_blocking=True)
    return there.contiguous(memory_format=torch.channels_last) if there.dim() == 4 else there


def take_step(
    model: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    pairs: Pairs,
    config: RunConfig,
    step: int,
    approximate: bool,
) -> dict[str, float] | None:
    """Take a `training_step` and move what it trains.

    Returns:
        The total and the losses first, all means over the processes, then what else was measured; None where the loss
        or its gradient was not finite and nothing moved.
    """
    # Batch norm's running statistics move in the forward pass already.
    live = [buffer for m in model.modules() if m.training for buffer in m.buffers(recurse=False)]
    kept = [buffer.clone() for buffer in live]
    optimizer.zero_grad(set_to_none=True)
    losses, views = training_step(model, objective, pairs, config, step, distributed.rank(), approximate)
    norm = nn.utils.get_total_norm(p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None)
    values = dict(zip(losses, distributed.reduce_mean(torch.stack(list(losses.values()))).tolist(), strict=True))
    if not (math.isfinite(values["total"]) and math.isfinite(norm.item())):
        for buffer, before in zip(live, kept, strict=True):
            buffer.copy_(before)
        return None
    optimizer.step()
    return {**values, "gradient_norm": norm.item(), "lr": optimizer.param_groups[0]["lr"], **deviations(views)}


def deviations(views: Views) -> dict[str, float]:
    """Return the mean standard deviation of each monitored tensor over a batch, or over a process's part of one."""
    return {
        f"deviation/{name}": value.detach().float().std(dim=0, unbiased=False).mean().item()
        for name, value in views.monitored.items()
    }
