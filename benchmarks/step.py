"""The step of one stage as a run takes it, before the optimizer: what the benchmarks of training share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from facecycle.api import Pairs
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.config.settings import RunConfig
from facecycle.networks import build_method
from facecycle.pretraining.step import Objective, select_trainable


def config_of(preset: str, *settings: str) -> RunConfig:
    """Return a preset's configuration with some settings; perceptual networks have no weights to fetch."""
    random = ["perceptual=random"] if preset in {"paper", "base"} else []
    return resolve([*preset_layers(preset), set_layer([*random, *settings])])


class Step:
    """A stage's networks, laid out and trained as in a run, and its losses.

    Attributes:
        method: the networks; those of the stage's cycle are trained.
        parameters: what is trained.
    """

    def __init__(self, config: RunConfig, stage: str = "expression", method: Any = None, device: str = "cpu") -> None:
        made = method or build_method(config, weights_follow=True)
        self.config = config
        self.method = made.to(device, memory_format=torch.channels_last)
        self.objective = Objective(config, stage, self.method)
        self.parameters = select_trainable(self.method, self.objective.cycle)

    def images(self, seed: int = 0) -> Tensor:
        """Return random images of the configuration's number and size, both halves of its pairs (2P, 3, S, S)."""
        shape = (2 * self.config.pairs, 3, self.config.size, self.config.size)
        images = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return images.to(self.parameters[0].device, memory_format=torch.channels_last)

    def loss(self, full: Tensor, noise: torch.Generator | None = None, approximate: bool = False) -> Tensor:
        """Return the total loss of both halves of the pairs (2P, 3, S, S)."""
        full = full.contiguous(memory_format=torch.channels_last)
        with torch.autocast(full.device.type, torch.bfloat16, enabled=approximate):
            views = self.method(Pairs(*full.chunk(2)), self.objective.cycle, self.objective.wanted, noise)
            return self.objective(views)[0]
