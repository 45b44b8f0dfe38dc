"""Losses and gradients of one batch, by however many processes.

Both cycles of the paper's objective on narrow networks, in float64, for absolute differences near zero have gradients
that turn with the rounding; without the generator's noise, which every process draws for itself.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from facecycle import distributed
from facecycle.api import Pairs
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.data.batches import Batches
from facecycle.networks import build_method
from facecycle.pretraining.step import Objective, select_trainable
from facecycle.pretraining.videos import joined_tracks

PAIRS = 8
SETTINGS = [
    "encoder.name=facecycle",
    "method.options={width=8, motion_width=16, generator_blocks=1, renormalizer_blocks=1}",
    "data=[{name='synthetic', options={identities=12, test_identities=20, takes=2, frames=2}}]",
    f"pairs={PAIRS}",
    "size=32",
    "stages.expression.losses.perceptual.options={network='mobilenetv3_small_050', pretrained=false}",
    "stages.identity.losses.perceptual.options={network='mobilenetv3_small_050', pretrained=false}",
]


def write_losses(out: str) -> None:
    """Compute the batch of step 0 of each stage; the first process writes what it found to a file."""
    distributed.join()
    config = resolve([*preset_layers("paper"), set_layer(SETTINGS)])
    data = joined_tracks(config)
    found: dict[str, torch.Tensor] = {}
    for name, stage in config.stages.items():
        method = build_method(config, weights_follow=True).double()
        trained = select_trainable(method, stage.cycle)
        torch.manual_seed(distributed.rank())  # as a stage before this one leaves it
        objective = Objective(config, name, method)
        for term in objective.terms.values():
            if isinstance(term.loss, nn.Module):
                term.loss.double()
        batches = Batches(data, config, name, stage, rank=distributed.rank(), world=distributed.world_size())
        model = distributed.data_parallel(method)
        pairs = batches.batch(0)
        pairs = Pairs(pairs.first.double(), pairs.second.double())
        total, sums = objective(model(pairs, stage.cycle, objective.wanted, None))
        total.backward()
        found[f"{name}/total"] = distributed.reduce_mean(total.detach())
        found |= {f"{name}/{label}": distributed.reduce_mean(value.detach()) for label, value in sums.items()}
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        found[f"{name}/gradient"] = torch.cat([gradient.flatten() for gradient in gradients])
    if distributed.is_main():
        save_file(found, Path(out))
