"""Pretraining: stages of steps over pairs, with checkpoints, metrics and sample grids along the way."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facecycle import checkpoint
from facecycle.api import Pairs
from facecycle.config import RunConfig, StageConfig
from facecycle.data.batches import Batches, JoinedTracks
from facecycle.data.pairs import seeded, steps_per_epoch
from facecycle.engine.build import build_method, build_tracks, choose_device, provenance
from facecycle.engine.objective import Objective
from facecycle.engine.pictures import contact_sheet, panel_pixels, write_png
from facecycle.engine.run_folder import RunFolder
from facecycle.engine.schedule import (
    learning_rate,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    stage_steps,
)
from facecycle.engine.watch import Listener, Watch, deviations

SAMPLES = 8


@dataclasses.dataclass
class Position:
    """How far a run has come; with the seed it determines everything that follows."""

    stage: int = 0
    step: int = 0
    total_steps: int = 0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended: its last checkpoint, the frames it could not read, the signal that stopped it."""

    model: Path
    bad_frames: dict[str, str]
    stopped_by: int | None


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying from them; a second one kills as usual."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # signals belong to the main thread
        return
    previous = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, frame: Any) -> None:
        received.append(number)
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Pretraining:
    """One run over its stages; `weights_follow` says that `resume` or `start_from` comes next."""

    def __init__(
        self, config: RunConfig, folder: RunFolder, listener: Listener, *, weights_follow: bool = False
    ) -> None:
        self.config = config
        self.folder = folder
        self.listener = listener
        self.device = choose_device()
        self.data: JoinedTracks = build_tracks(config)
        # Convolutions over channels-last tensors are faster on CPUs and GPUs alike.
        self.method = build_method(config, weights_follow=weights_follow).to(
            self.device, memory_format=torch.channels_last
        )
        self.approximate = config.precision == "bfloat16" or (config.precision == "auto" and self.device.type == "cuda")
        if self.approximate:
            listener.note("precision: bfloat16 autocast, approximate; --set precision=float32 is exact")
        self.position = Position()
        self.trained: set[str] = set()
        self.parent = ""
        self.bad_frames: dict[str, str] = {}
        self._optimizer_state: dict[str, torch.Tensor] = {}

    def start_from(self, path: Path) -> None:
        """Start with the weights of another run's checkpoint."""
        found = checkpoint.read(path)
        checkpoint.load_weights(self.method, found)
        self.trained |= found.trained
        self.parent = found.sha256()

    def resume(self) -> None:
        """Continue from the newest checkpoint of the run folder."""
        folder = checkpoint.latest_folder(self.folder.path)
        found = checkpoint.read(folder)
        checkpoint.load_weights(self.method, found)
        self._optimizer_state, state = checkpoint.read_resume(folder)
        self.position = Position(**state["position"])
        self.bad_frames = dict(state["bad_frames"])
        self.trained = set(found.trained)
        self.parent = found.metadata.get("parent", "")

    def run(self) -> Outcome:
        """Run what is left of every stage.

        Raises:
            RunError: the loss stayed non-finite.
            CheckpointError: a checkpoint cannot be written.
        """
        self.folder.open_logs(self.position.total_steps)
        stages = list(self.config.stages.items())
        try:
            with _stop_requests() as received:
                while self.position.stage < len(stages) and not received:
                    name, stage = stages[self.position.stage]
                    self._run_stage(name, stage, received)
        finally:
            self.folder.close()
        model = checkpoint.find(self.folder.path)
        return Outcome(model, self.bad_frames, received[0] if received else None)

    def _run_stage(self, name: str, stage: StageConfig, received: list[int]) -> None:
        epoch = steps_per_epoch(len(self.data.tracks), self.config.pairs)
        total = stage_steps(stage, epoch)
        objective = Objective(stage, name, self.method, self.device)
        optimizer = make_optimizer(stage.optimizer, self._select_trainable(stage))
        if self._optimizer_state:
            restore_optimizer(optimizer, self._optimizer_state)
            self._optimizer_state = {}
        batches = Batches(self.data, self.config, name, stage)
        batches.bad_frames = self.bad_frames
        self.listener.stage(name, self.position.step, total)
        watch = Watch(name, self.config, self.folder, self.listener)
        for step, pairs in batches.iterate(self.position.step, total):
            optimizer.param_groups[0]["lr"] = learning_rate(stage.optimizer, step, total, epoch)
            metrics = self._step(step, name, stage, objective, optimizer, pairs)
            watch.after_step(step, self.position.total_steps, metrics)
            self.trained.add(stage.cycle)
            self.position = Position(self.position.stage, step + 1, self.position.total_steps + 1)
            last = step + 1 == total
            if (step + 1) % self.config.sample_every == 0 or last:
                self._write_samples(name, batches, objective.wanted)
            if received or ((step + 1) % self.config.checkpoint_every == 0 and not last):
                self._save(optimizer)
            if received:
                self.listener.note(f"stopped by signal {received[0]} after step {step + 1} of stage {name}")
                return
        self.position = Position(self.position.stage + 1, 0, self.position.total_steps)
        self._save(None)

    def _select_trainable(self, stage: StageConfig) -> list[nn.Parameter]:
        """Let gradients and running statistics move in the cycle's networks only."""
        self.method.requires_grad_(False).eval()
        chosen: dict[int, nn.Parameter] = {}
        for module in self.method.trainable(stage.cycle):
            module.requires_grad_(True).train()
            chosen.update((id(p), p) for p in module.parameters())
        return list(chosen.values())

    def _step(
        self,
        step: int,
        name: str,
        stage: StageConfig,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        pairs: Pairs,
    ) -> dict[str, float] | None:
        """Take one step; returns its metrics, or None where the loss was not finite and nothing moved."""
        noise = seeded("noise", self.config.seed, name, step)
        # Whatever a plugin draws from the global generator is tied to the step as well.
        torch.manual_seed(noise.initial_seed())
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.approximate):
            views = self.method(_on(pairs, self.device), stage.cycle, objective.wanted, noise)
            total, sums = objective(views)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.get_total_norm(
            p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None
        )
        if not (math.isfinite(total.item()) and math.isfinite(norm.item())):
            return None
        optimizer.step()
        metrics = {"total": total.item(), "gradient_norm": norm.item(), "lr": optimizer.param_groups[0]["lr"]}
        metrics.update({label: value.item() for label, value in sums.items()})
        metrics.update(deviations(views))
        return metrics

    def _write_samples(self, name: str, batches: Batches, wanted: frozenset[str]) -> None:
        """Write a grid of the first faces of the stage's first batch, so that grids can be compared.

        Panels of cycles not trained yet, and views that this stage does not train, are left out.
        """
        pairs = batches.batch(0)
        images = pairs.first[:SAMPLES].to(self.device)
        left_out = self.method.view_names[batches.stage.cycle] - wanted
        names = [k for k, v in self.method.panels_from.items() if v in self.trained and k not in left_out]
        was_training = [m for m in self.method.modules() if m.training]
        self.method.eval()
        with torch.inference_mode():
            panels = self.method.translate(images, None, seeded("samples", self.config.seed), frozenset(names))
        for module in was_training:
            module.training = True
        shown = {"input": images, **panels}
        size = self.config.size
        columns = [(k, panel_pixels(k, v.cpu(), size)) for k, v in shown.items()]
        path = self.folder.path / "samples" / f"{self.position.total_steps:06d}-{name}.png"
        write_png(path, contact_sheet(columns, cell=96))

    def _save(self, optimizer: torch.optim.Optimizer | None) -> None:
        metadata = {
            "config": self.config.model_dump_json(),
            "trained": json.dumps(sorted(self.trained)),
            "components": json.dumps(provenance(self.config)),
            "environment": json.dumps(checkpoint.environment()),
            "parent": self.parent,
            "step": str(self.position.total_steps),
            "licence": "; ".join(sorted({d.licence for d in self.data.datasets})),
        }
        state = {"position": dataclasses.asdict(self.position), "bad_frames": self.bad_frames}
        tensors = optimizer_tensors(optimizer) if optimizer is not None else {}
        folder = self.folder.path / "checkpoints" / f"step-{self.position.total_steps:06d}"
        checkpoint.save(folder, self.method, tensors, state, metadata)


def _on(pairs: Pairs, device: torch.device) -> Pairs:
    first, second = (x.to(device, memory_format=torch.channels_last) for x in (pairs.first, pairs.second))
    return Pairs(first, second)
