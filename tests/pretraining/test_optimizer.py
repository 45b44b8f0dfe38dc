"""The optimizer of a stage moves as torch's does, and its state is put back."""

from __future__ import annotations

import torch

from facecycle.config.settings import OptimizerConfig
from facecycle.pretraining.optimizer import make_optimizer, optimizer_tensors, restore_optimizer


def test_sgd_moves_as_torch_says() -> None:
    weights = torch.nn.Parameter(torch.ones(2))
    optimizer = make_optimizer(OptimizerConfig(name="sgd", lr=1e-3, momentum=0.5), [weights])
    optimizer.param_groups[0]["lr"] = 0.1
    for _ in range(2):
        weights.grad = torch.ones(2)
        optimizer.step()
    assert torch.allclose(weights.detach(), torch.full((2,), 1 - 0.1 - 0.15))
    again = make_optimizer(OptimizerConfig(name="sgd", lr=1e-3, momentum=0.5), [weights])
    restore_optimizer(again, optimizer_tensors(optimizer))
    assert torch.equal(optimizer_tensors(again)["0.momentum_buffer"], torch.full((2,), 1.5))
