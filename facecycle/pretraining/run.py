"""Pretraining: stages of steps over pairs, with checkpoints, metrics and sample grids along the way."""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from facecycle import distributed
from facecycle.checkpoints import header, model_file, places
from facecycle.checkpoints.header import Checkpoint
from facecycle.checkpoints.places import Name
from facecycle.config.settings import RunConfig, StageConfig, ours
from facecycle.data.batches import Batches, FrameTally, sum_of
from facecycle.data.frames import passed_over
from facecycle.data.joined import JoinedTracks, described
from facecycle.errors import CheckpointError, FacecycleError
from facecycle.machine import computes_bfloat16
from facecycle.networks import build_method, choose_device, provenance
from facecycle.pictures import contact_sheet, drawn, panel_array, write_picture
from facecycle.pretraining import non_finite
from facecycle.pretraining.checks import check_cycles, check_shares, check_stages, check_tracks
from facecycle.pretraining.optimizer import learning_rate, make_optimizer, optimizer_tensors, restore_optimizer
from facecycle.pretraining.resume import newest_whole
from facecycle.pretraining.run_folder import Listener, Monitor, RunFolder
from facecycle.pretraining.step import Objective, select_trainable, take_step
from facecycle.pretraining.videos import joined_tracks
from facecycle.seeds import seeded

SAMPLES = 8


@dataclasses.dataclass
class Position:
    """How far a run has come; with the seed it determines everything that follows."""

    stage: int = 0
    step: int = 0
    total_steps: int = 0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended: its last checkpoint, what it could not use, the signal that stopped it."""

    model: Path
    bad_frames: dict[str, str]
    skipped_steps: int
    stopped_by: int | None


class Pretraining:
    """One run over its stages; `weights_follow` says that `resume` or `start_from` comes next."""

    def __init__(
        self, config: RunConfig, folder: RunFolder, listener: Listener, *, weights_follow: bool = False
    ) -> None:
        self.config = config
        self.folder = folder
        self.listener = listener
        self.device = choose_device()
        check_shares(config)
        self.data: JoinedTracks = joined_tracks(config, listener.note)
        left_out = check_tracks(config, self.data.tracks)
        for line in ("data: " + described(self.data.tracks), *passed_over(self.data.datasets), *left_out):
            listener.note(line)
        method = build_method(config, weights_follow=weights_follow)
        check_stages(config, method)  # a mistake in the last stage is not found hours later
        if not weights_follow:
            check_cycles(config, method, set())
        # Convolutions over channels-last tensors are faster on CPUs and GPUs alike.
        placed = distributed.sync_batch_norm(method).to(self.device)
        self.method: Any = placed.to(memory_format=torch.channels_last)
        self.approximate = config.precision == "bfloat16" or (config.precision == "auto" and self.device.type == "cuda")
        if self.approximate:
            slow = "" if computes_bfloat16() else ", and this CPU has no instructions for it, which makes it slow"
            listener.note(f"precision: bfloat16 autocast, approximate{slow}; --set precision=float32 is exact")
        self.compiled = config.compile is True or (config.compile == "auto" and self.device.type == "cuda")
        if self.compiled:
            listener.note("networks are compiled, which takes a while; --set compile=false leaves them as they are")
            self.method.compile(mode="reduce-overhead")
        self.position = Position()
        self.trained: set[str] = set()
        self.parent = ""
        self.pretrained = config.pretrained
        self.licence = "; ".join(sorted({d.licence for d in self.data.datasets}))
        self.frames = FrameTally()
        self.skipped_steps = 0
        self._stopped_by = 0
        self._optimizer_state: dict[str, torch.Tensor] = {}

    def start_from(self, name: Name) -> None:
        """Start with the weights of another run's checkpoint; they become this run's first one.

        Raises:
            ConfigError: the folder holds a run already.
            CheckpointError, RunError: the checkpoint cannot be read or written.
        """
        found = header.read(name)
        self._load(found)
        check_cycles(self.config, self.method, found.trained)
        self.trained |= found.trained
        self.pretrained |= found.pretrained
        self.parent = found.sha256()
        # What was learned keeps its terms.
        terms = found.metadata.get("licence") or self.licence
        self.licence = terms if self.licence in terms else f"{terms}; {self.licence}"
        self.folder.lock()
        self.folder.refuse_taken()
        self._save(None)

    def _load(self, found: Checkpoint) -> None:
        theirs, own = found.config.method.name, self.config.method.name
        try:
            model_file.load_weights(self.method, found)
        except CheckpointError as error:
            if ours(theirs) == ours(own):
                raise
            hint = "Name weights of the same method, or train the other one."
            raise CheckpointError(
                f"{found.path} holds weights of the method {theirs}, and this run trains {own}", hint=hint
            ) from error

    def resume(self) -> None:
        """Continue from the newest whole checkpoint of the run folder, or from the start where there is none.

        Raises:
            CheckpointError: there are only damaged ones, or one does not fit.
            RunError: another process is writing to the run.
        """
        self.folder.lock()
        try:
            self._restore(distributed.broadcast(lambda: newest_whole(self.folder.path, self.listener.note)))
        except FacecycleError:
            self.folder.close()
            raise

    def _restore(self, folder: Path | None) -> None:
        if folder is None:
            self.listener.note("the run has no checkpoint yet: it starts again")
            return
        found = header.read(folder)
        model_file.load_weights(self.method, found)
        self._optimizer_state, state = model_file.read_resume(folder)
        self.position = Position(**state["position"])
        if distributed.is_main():  # the others count on from nothing: a checkpoint holds the sum
            self.frames = FrameTally(**state["frames"])
        had, has = (state["processes"], found.config.accumulate), (distributed.world_size(), self.config.accumulate)
        if had != has:
            before, now = (f"{count} processes of {passes} passes" for count, passes in (had, has))
            self.listener.note(f"the run had {before} and goes on with {now}: it will not be the same to the last bit")
        self.skipped_steps = state["skipped_steps"]
        self.trained, self.pretrained = set(found.trained), found.pretrained
        self.parent, self.licence = found.metadata["parent"], found.metadata["licence"]

    def run(self) -> Outcome:
        """Run what is left of every stage.

        Raises:
            RunError: the loss stayed non-finite, or the disk refuses.
            DataError: too many frames cannot be read.
        """
        stages = list(self.config.trained_stages.items())
        try:
            self.folder.open_logs(self.position.total_steps)
            with stop_requests(insist=distributed.world_size() == 1) as received:
                while self.position.stage < len(stages) and not self._stopped_by:
                    name, stage = stages[self.position.stage]
                    self._run_stage(name, stage, received)
                if self._stopped_by:
                    saved = f"saved after step {self.position.total_steps}"
                    self.listener.note(f"stopped by signal {self._stopped_by}, {saved}")
        finally:
            self.folder.close()
        model = distributed.broadcast(lambda: places.find(self.folder.path))
        return Outcome(model, self._all_frames().names, self.skipped_steps, self._stopped_by or None)

    def _run_stage(self, name: str, stage: StageConfig, received: list[int]) -> None:
        objective = Objective(self.config, name, self.method)
        optimizer = make_optimizer(stage.optimizer, select_trainable(self.method, stage.cycle))
        model = distributed.data_parallel(self.method)
        if self._optimizer_state:
            restore_optimizer(optimizer, self._optimizer_state)
            self._optimizer_state = {}
        rank, world = distributed.rank(), distributed.world_size()
        batches = Batches(self.data, self.config, name, stage, self.frames, rank, world)
        epoch = batches.epoch_length
        total = stage.steps or (stage.epochs or 0) * epoch  # a configuration has one of the two
        self.listener.stage(name, self.position.step, total)
        monitor = Monitor(name, self.config, stage.frames * batches.pairs, self.folder, self.listener)
        for step, pairs in batches.iterate(self.position.step, total):
            if step % self.config.log_every == 0:
                monitor.judge(self._all_frames())
            optimizer.param_groups[0]["lr"] = learning_rate(stage.optimizer, step, total, epoch)
            metrics = take_step(model, objective, optimizer, pairs, self.config, step, self.approximate)
            if metrics is None:
                self.skipped_steps += 1
            else:
                self.trained.add(stage.cycle)
                if hasattr(self.method, "after_step"):
                    self.method.after_step(stage.cycle)
            monitor.after_step(step, self.position.total_steps, metrics, self.skipped_steps, batches.waited)
            if monitor.stuck:
                record = {"stage": name, "step": step, "bfloat16": self.approximate}
                record |= {"process": rank, "images": batches.names(step)}
                raise non_finite.stop(
                    self.folder.path, self.method, self._metadata(), pairs, record, monitor.non_finite
                )
            self.position = Position(self.position.stage, step + 1, self.position.total_steps + 1)
            last = step + 1 == total
            # All stop after the same step, whichever of them was told to.
            self._stopped_by = distributed.reduce_max(received[0] if received else 0)
            if distributed.is_main() and ((step + 1) % self.config.sample_every == 0 or last):
                self._write_samples(name, batches, objective.wanted)
            if not last and (self._stopped_by or (step + 1) % self.config.checkpoint_every == 0):
                self._save(optimizer)
            if self._stopped_by and not last:
                return
        self.position = Position(self.position.stage + 1, 0, self.position.total_steps)
        self._save(None)

    def _write_samples(self, name: str, batches: Batches, wanted: frozenset[str]) -> None:
        """Write a grid of the first faces of the stage's first batch, so that grids can be compared.

        Panels of cycles not trained yet, and views that this stage does not train, are left out. A method whose panels
        all need drivers gets the second faces.
        """
        pairs = batches.batch(0)
        images = pairs.first[:SAMPLES].to(self.device)
        left_out = self.method.view_names[batches.stage.cycle] - wanted
        names = [k for k, v in self.method.panels_from.items() if v in self.trained and k not in left_out]
        if not names:
            return
        was_training = [m for m in self.method.modules() if m.training]
        self.method.eval()
        with torch.inference_mode():
            noise, wanted_panels = seeded("samples", self.config.seed), frozenset(names)
            shown = {"input": images, **self.method.translate(images, None, noise, wanted_panels)}
            if len(shown) == 1:
                drivers = pairs.second[:SAMPLES].to(self.device)
                shown |= {"driver": drivers, **self.method.translate(images, drivers, noise, wanted_panels)}
        for module in was_training:
            module.training = True
        size = self.config.size
        columns = [(k, drawn(k, panel_array(k, v), size)) for k, v in shown.items()]
        path = self.folder.path / "samples" / f"{self.position.total_steps:06d}-{name}.png"
        write_picture(path, contact_sheet(columns, cell=96))

    def _metadata(self) -> dict[str, str]:
        return {
            "config": self.config.model_dump_json(),
            "trained": json.dumps(sorted(self.trained)),
            "components": json.dumps(provenance(self.config)),
            "environment": json.dumps(model_file.environment()),
            "parent": self.parent,
            "step": str(self.position.total_steps),
            "licence": self.licence,
            **({"begun_with": header.PRETRAINED} if self.pretrained else {}),
        }

    def _all_frames(self) -> FrameTally:
        return sum_of(distributed.all_gather(self.frames))

    def _save(self, optimizer: torch.optim.Optimizer | None) -> None:
        frames = self._all_frames()
        if not distributed.is_main():
            return
        state = {
            "position": dataclasses.asdict(self.position),
            "frames": dataclasses.asdict(frames),
            "skipped_steps": self.skipped_steps,
            "processes": distributed.world_size(),
        }
        tensors = optimizer_tensors(optimizer) if optimizer is not None else {}
        folder = self.folder.path / "checkpoints" / f"step-{self.position.total_steps:06d}"
        model_file.save(folder, self.method, tensors, state, self._metadata(), self.config.keep)
        self.folder.list_bad_frames(frames.names)


@contextmanager
def stop_requests(insist: bool) -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying from them.

    Args:
        insist: a second one kills as usual. Under a launcher it may be the first one once more, passed on.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # signals belong to the main thread
        return
    previous = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, frame: Any) -> None:
        received.append(number)
        if insist:
            signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
