"""Checkpoint folders of a small network."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from facecycle.checkpoints import model_file
from facecycle.config.layers import preset_layers, resolve

CONFIG = resolve(preset_layers("small"))
METADATA = {"config": CONFIG.model_dump_json(), "trained": json.dumps(["expression"])}


def saved(run: Path, step: int = 1) -> nn.Linear:
    torch.manual_seed(step)
    network = nn.Linear(3, 2)
    state = {"position": {"step": step}}
    model_file.save(run / "checkpoints" / f"step-{step}", network, {"0.step": torch.ones(1)}, state, METADATA)
    return network
