"""What a run writes and says: a folder of configuration, metrics and logs, and a monitor that judges each step."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from facecycle.atomic import explained, lock, remove_leftovers, write_text
from facecycle.config.layers import file_layer, resolve
from facecycle.config.settings import RunConfig
from facecycle.errors import ConfigError, DataError

if TYPE_CHECKING:
    from facecycle.data.batches import FrameTally

CONFIG = "config.json"
METRICS = "metrics.jsonl"
BOARD = "tensorboard"
BAD_FRAMES = "bad_frames.txt"
JUDGED_AFTER = 500
"""Frames that are read before it is judged whether too many are bad."""
SHOWN = 5
"""Bad frames that an error names; the file has them all."""
COLLAPSED = 1e-3
"""A code or flow whose deviation over the batch is below this no longer tells faces apart."""
COLLAPSE_PATIENCE = 100
"""Steps a stage is given before it can be called collapsed."""


class RunFolder:
    """Where a run writes; everything but the checkpoints. Of several processes the first one `writes`, others read."""

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self._metrics: IO[str] | None = None
        self._board: Any = None
        self._lock: contextlib.ExitStack | None = None
        self._listed = 0
        self._hook: Callable[[threading.ExceptHookArgs], object] | None = None

    def refuse_taken(self) -> None:
        """Refuse a folder that holds a run.

        Raises:
            ConfigError: it does.
        """
        if self.writes and (self.path / CONFIG).exists():
            raise ConfigError(
                f"{self.path} already holds a run",
                hint="Add --resume to continue it, or choose another --out.",
            )

    def create(self, config: RunConfig) -> None:
        """Create the folder and write the resolved configuration; from then on it holds a run.

        Raises:
            ConfigError: it already holds another run.
            RunError: it cannot be written.
        """
        self.refuse_taken()
        self.write_config(config)

    def write_config(self, config: RunConfig) -> None:
        """Write the resolved configuration.

        Raises:
            RunError: it cannot be written.
        """
        if self.writes:
            write_text(self.path / CONFIG, config.model_dump_json(indent=1) + "\n")

    def config(self) -> RunConfig:
        """Read the configuration back."""
        return resolve([file_layer(self.path / CONFIG)])

    def lock(self) -> None:
        """Keep other processes from writing here, until `close` or the end of this one, however it ends.

        Raises:
            RunError: another process does.
        """
        if self._lock is not None or not self.writes:
            return
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock(self.path))
            self._lock = stack.pop_all()

    def open_logs(self, step: int) -> None:
        """Open the logs to continue after `step` steps; later lines of an interrupted run are dropped.

        Raises:
            RunError: another process writes here, or the disk refuses.
        """
        if not self.writes:
            return
        from torch.utils.tensorboard import SummaryWriter

        self.lock()
        path = self.path / METRICS
        with explained(path):
            for folder in (self.path, self.path / "samples"):
                remove_leftovers(folder)
            if path.exists():
                lines = path.read_text("utf-8", errors="replace").splitlines()
                write_text(path, "".join(f"{line}\n" for line in lines if _step_of(line) < step))
            self._metrics = path.open("a")
        self._hook = threading.excepthook
        threading.excepthook = self._leave_to_caller
        with explained(self.path / BOARD):
            self._board = SummaryWriter(str(self.path / BOARD), purge_step=step)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line of metrics; numbers also go to TensorBoard under the stage's name.

        Raises:
            RunError: the disk refuses.
        """
        if not self.writes:
            return
        assert self._metrics is not None, "open_logs comes first"
        with explained(self.path / METRICS):
            self._metrics.write(json.dumps(record) + "\n")
            self._metrics.flush()
        with explained(self.path / BOARD):
            for key, value in record.items():
                if isinstance(value, float):
                    self._board.add_scalar(f"{record['stage']}/{key}", value, record["step"])

    def list_bad_frames(self, names: dict[str, str]) -> None:
        """Write the names of frames that cannot be read, each with the reason, when there are new ones.

        Raises:
            RunError: the disk refuses.
        """
        if self.writes and len(names) > self._listed:
            write_text(self.path / BAD_FRAMES, "".join(f"{name}: {reason}\n" for name, reason in names.items()))
            self._listed = len(names)

    def close(self) -> None:
        """Flush and close the logs, and let other processes write here.

        Raises:
            RunError: the disk refuses the rest of the logs.
        """
        with contextlib.ExitStack() as stack:
            if self._lock is not None:
                stack.push(self._lock)
                self._lock = None
            if self._hook is not None:
                stack.callback(setattr, threading, "excepthook", self._hook)
                self._hook = None
            if self._board is not None:
                stack.enter_context(explained(self.path / BOARD))
                stack.callback(self._board.close)
            if self._metrics is not None:
                stack.enter_context(explained(self.path / METRICS))
                stack.callback(self._metrics.close)

    def _leave_to_caller(self, failure: threading.ExceptHookArgs) -> None:
        """Print no traceback for what the disk refuses TensorBoard's thread: `log` raises it in the run itself."""
        refused = isinstance(failure.exc_value, OSError) and type(failure.thread).__name__ == "_AsyncWriterThread"
        if not refused and self._hook is not None:
            self._hook(failure)


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # A line cut short by a kill belongs to no step that is kept.
        return 2**63


class Listener(Protocol):
    """What a run tells whoever watches it."""

    def stage(self, name: str, first: int, total: int) -> None: ...

    def step(self, name: str, done: int, losses: dict[str, float], images_per_second: float) -> None: ...

    def note(self, text: str) -> None: ...


class Monitor:
    """Logs the steps of a stage, and says when they stop making sense."""

    def __init__(self, stage: str, config: RunConfig, images: int, folder: RunFolder, listener: Listener) -> None:
        self.stage = stage
        self.config = config
        self.losses = ["total", *config.trained_stages[stage].losses]
        self.images_of_a_step = images
        self.folder = folder
        self.listener = listener
        self.non_finite = 0
        self.warned = False
        self.images = 0
        self.rate = 0.0
        self.since = time.monotonic()
        self.waited = 0.0

    @property
    def stuck(self) -> bool:
        """Whether the loss was not finite for too many steps in a row."""
        return self.non_finite >= self.config.non_finite_limit

    def judge(self, tally: FrameTally) -> None:
        """Stop a run that reads too many bad frames.

        Raises:
            DataError: with the share, and where the frames are listed.
        """
        if tally.read < JUDGED_AFTER or tally.bad <= self.config.bad_share * tally.read:
            return
        self.folder.list_bad_frames(tally.names)
        first = "\n".join(f"{name}: {reason}" for name, reason in list(tally.names.items())[:SHOWN])
        raise DataError(
            f"{tally.bad:,} of the {tally.read:,} images read so far are bad, more than bad_share = "
            f"{self.config.bad_share:g} allows. The first of {len(tally.names):,} files:\n{first}",
            hint=f"{self.folder.path / BAD_FRAMES} lists them all. Mend the data, or continue without them: "
            "--resume --set bad_share=0.9",
        )

    def after_step(
        self, step: int, total_steps: int, metrics: dict[str, float] | None, skipped: int, waited: float
    ) -> None:
        """Log the metrics of a step, or note that it had none because its loss was not finite.

        Args:
            step: number of the step within the stage.
            total_steps: steps of the run before it.
            metrics: what `Pretraining` measured.
            skipped: steps of the run whose loss was not finite, this one included.
            waited: seconds that the stage has waited for its data so far; logged as a share of the time.
        """
        self.images += self.images_of_a_step
        if metrics is None:
            self.non_finite += 1
            self.listener.note(f"stage {self.stage}, step {step}: the loss is not finite; step skipped")
            self.folder.log({"step": total_steps, "stage": self.stage, "skipped_steps": skipped})
            return
        self.non_finite = 0
        if step % self.config.log_every == 0:
            now = time.monotonic()
            seconds = max(now - self.since, 1e-9)
            self.rate = metrics["images_per_second"] = self.images / seconds
            metrics["waiting_for_data"] = (waited - self.waited) / seconds
            self.images, self.since, self.waited = 0, now, waited
            self.folder.log({"step": total_steps, "stage": self.stage, "skipped_steps": skipped, **metrics})
            self._warn_of_collapse(step, metrics)
        self.listener.step(self.stage, step + 1, {name: metrics[name] for name in self.losses}, self.rate)

    def _warn_of_collapse(self, step: int, metrics: dict[str, float]) -> None:
        dead = [k for k, v in metrics.items() if k.startswith("deviation/") and v < COLLAPSED]
        if dead and step >= COLLAPSE_PATIENCE and not self.warned:
            self.warned = True
            names = ", ".join(k.removeprefix("deviation/") for k in dead)
            self.listener.note(
                f"stage {self.stage}, step {step}: {names} is the same for every face of the batch; the "
                "run has collapsed. Lower the learning rate, or begin with a stage of fewer losses."
            )
