"""Views to one number: the losses of a stage, applied to the views its configuration names."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facecycle import registry
from facecycle.api import Loss, Method, Views
from facecycle.config.settings import StageConfig
from facecycle.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class _Term:
    label: str
    loss: Loss
    weight: float
    views: dict[str, float]


class Objective:
    """The losses of one stage.

    Attributes:
        stage, cycle: the names of the stage, and of the method's cycle that it trains.
        wanted: the views that some loss looks at.
    """

    def __init__(
        self, stage: StageConfig, stage_name: str, method: Method, device: torch.device, seed: int = 0
    ) -> None:
        """Build the losses; `seed` decides on the weights of those that draw some."""
        self.stage, self.cycle = stage_name, stage.cycle
        check_losses(stage_name, stage, method)
        self.terms: list[_Term] = []
        for label, config in stage.losses.items():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                loss = registry.build("loss", config.name, config.options)
            if isinstance(loss, nn.Module):
                loss.to(device)
            self.terms.append(_Term(label, loss, config.weight, dict(config.views)))
        self.wanted = frozenset(view for term in self.terms for view in term.views)

    def __call__(self, views: Views) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted total, and each loss's sum over its weighted views, both with gradients."""
        sums = {term.label: self._sum_over_views(term, views) for term in self.terms}
        total = torch.stack([term.weight * sums[term.label] for term in self.terms]).sum()
        return total, sums

    @staticmethod
    def _sum_over_views(term: _Term, views: Views) -> Tensor:
        # Views with one target go through the loss together: it looks at the target once.
        by_target: dict[str, list[str]] = defaultdict(list)
        for name in term.views:
            by_target[views.views[name].target if term.loss.needs_target else ""].append(name)
        parts = []
        for target, names in by_target.items():
            predictions = torch.stack([views.views[name].prediction for name in names])
            values = term.loss(predictions, views.targets[target] if target else None)
            weights = torch.tensor([term.views[name] for name in names]).to(values)
            parts.append((values * weights).sum())
        return torch.stack(parts).sum()


def check_losses(name: str, stage: StageConfig, method: Method) -> None:
    """Refuse losses of a stage whose plugin, options or views do not exist, or that look at no view.

    Raises:
        ConfigError, PluginError: names the loss and the view.
    """
    known = method.view_names[stage.cycle]
    for label, loss in stage.losses.items():
        registry.configure("loss", loss.name, loss.options)
        if not loss.views:
            raise ConfigError(
                f"stages.{name}.losses.{label} looks at no view", hint=f"Remove it: stages.{name}.losses.{label}=none"
            )
        for view in loss.views:
            if view not in known:
                raise ConfigError(
                    f"stages.{name}.losses.{label}.views.{view}: the {stage.cycle} cycle has no such view",
                    hint=did_you_mean(view, known) or f"Views: {', '.join(sorted(known))}.",
                )
    if not stage.losses:
        raise ConfigError(f"stages.{name} has no loss left to train with")
