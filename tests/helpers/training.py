"""A run of few steps on narrow networks, and what it leaves."""

from __future__ import annotations

import signal
from pathlib import Path

import torch
from safetensors.torch import load_file

from facecycle.checkpoints import places
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.config.settings import RunConfig
from facecycle.pretraining.run import Pretraining
from facecycle.pretraining.run_folder import RunFolder

TINY = [
    "method.options={width=4, motion_width=16, generator_blocks=1, renormalizer_blocks=1}",
    "encoder.name='timm:mobilenetv3_small_050'",
    "pairs=2",
    "size=32",
    "log_every=1",
    "checkpoint_every=3",
    "data=[{name='synthetic', options={identities=8, test_identities=20, takes=2, frames=2}}]",
    "stages.direct.steps=4",
    "stages.expression.steps=3",
    "stages.identity.steps=2",
]


def tiny(*more: str) -> RunConfig:
    return resolve([*preset_layers("small"), set_layer(TINY), set_layer(more)])


class Quiet:
    """A listener that can send a signal after so many steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.notes: list[str] = []
        self.left = stop_after

    def stage(self, name: str, first: int, total: int) -> None:
        pass

    def step(self, name: str, done: int, losses: dict[str, float], images_per_second: float) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGTERM)

    def note(self, text: str) -> None:
        self.notes.append(text)


def train(config: RunConfig, out: Path, listener: Quiet | None = None) -> Pretraining:
    run = Pretraining(config, RunFolder(out), listener or Quiet())
    run.folder.create(config)
    run.outcome = run.run()  # type: ignore[attr-defined]
    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(places.find(run))
