"""Checkpoint folders of a small network, and the first weights of a rival."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from facecycle.checkpoints import model_file
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.networks import build_method, load
from facecycle.runtimes.by_torch import TorchRuntime

CONFIG = resolve(preset_layers("small"))
METADATA = {"config": CONFIG.model_dump_json(), "trained": json.dumps(["expression"])}


def saved(run: Path, step: int = 1) -> nn.Linear:
    torch.manual_seed(step)
    network = nn.Linear(3, 2)
    state = {"position": {"step": step}}
    model_file.save(run / "checkpoints" / f"step-{step}", network, {"0.step": torch.ones(1)}, state, METADATA)
    return network


def rival(method: str, folder: Path) -> TorchRuntime:
    """Return a rival's first weights, as a runtime."""
    settings = ["size=32", "encoder.name='timm:mobilenetv3_small_050'"]
    if method != "simclr":
        settings = ["size=32", "encoder.options.layers=3"]
    config = resolve([*preset_layers(method), set_layer(settings)])
    network = build_method(config)
    trained = json.dumps(list(network.view_names))
    path = folder / "model.safetensors"
    model_file.save_model(path, network, {"config": config.model_dump_json(), "trained": trained})
    return TorchRuntime(load(path))
