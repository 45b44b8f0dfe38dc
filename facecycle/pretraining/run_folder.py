"""The folder of a run: its configuration, metrics as JSON lines, TensorBoard logs and sample grids."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from facecycle.atomic import explained, remove_leftovers, write_text
from facecycle.config.layers import file_layer, resolve
from facecycle.config.settings import RunConfig
from facecycle.errors import ConfigError, RunError

CONFIG = "config.json"
METRICS = "metrics.jsonl"
BOARD = "tensorboard"
BAD_FRAMES = "bad_frames.txt"
NO_LOSSES = frozenset({"lr", "gradient_norm", "images_per_second", "waiting_for_data"})
"""Metrics of a step that are no losses; neither are those with a slash in their names."""


class RunFolder:
    """Where a run writes; everything but the checkpoints."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics: IO[str] | None = None
        self._board: Any = None
        self._lock: int | None = None
        self._listed = 0
        self._hook: Callable[[threading.ExceptHookArgs], object] | None = None

    def refuse_taken(self) -> None:
        """Refuse a folder that holds a run.

        Raises:
            ConfigError: it does.
        """
        if (self.path / CONFIG).exists():
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
        write_text(self.path / CONFIG, config.model_dump_json(indent=1) + "\n")

    def config(self) -> RunConfig:
        """Read the configuration back."""
        return resolve([file_layer(self.path / CONFIG)])

    def lock(self) -> None:
        """Keep other processes from writing here, until `close` or the end of this one, however it ends.

        Raises:
            RunError: another process does.
        """
        if self._lock is not None:
            return
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                raise RunError(
                    f"another process is writing to the run {self.path}",
                    hint="Wait for it, or stop it: Ctrl-C or SIGTERM makes it save first.",
                ) from error
            # Some network file systems know no locks; the run goes without.

    def open_logs(self, step: int) -> None:
        """Open the logs to continue after `step` steps; later lines of an interrupted run are dropped.

        Raises:
            RunError: another process writes here, or the disk refuses.
        """
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
        if len(names) > self._listed:
            write_text(self.path / BAD_FRAMES, "".join(f"{name}: {reason}\n" for name, reason in names.items()))
            self._listed = len(names)

    def close(self) -> None:
        """Flush and close the logs, and let other processes write here.

        Raises:
            RunError: the disk refuses the rest of the logs.
        """
        with contextlib.ExitStack() as stack:
            if self._lock is not None:
                stack.callback(os.close, self._lock)
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


class OthersFolder(RunFolder):
    """A run folder that the first process writes, as the other processes of the run see it: they only read."""

    def refuse_taken(self) -> None: ...

    def write_config(self, config: RunConfig) -> None: ...

    def lock(self) -> None: ...

    def open_logs(self, step: int) -> None: ...

    def log(self, record: dict[str, Any]) -> None: ...

    def list_bad_frames(self, names: dict[str, str]) -> None: ...


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # A line cut short by a kill belongs to no step that is kept.
        return 2**63
