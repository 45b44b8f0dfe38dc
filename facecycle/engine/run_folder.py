"""The folder of a run: its configuration, metrics as JSON lines, TensorBoard logs and sample grids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

from facecycle.config import RunConfig, file_layer, resolve
from facecycle.errors import ConfigError, RunError
from facecycle.files import write_text

CONFIG = "config.json"
METRICS = "metrics.jsonl"


class RunFolder:
    """Where a run writes; everything but the checkpoints."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics: IO[str] | None = None
        self._board: Any = None

    def create(self, config: RunConfig) -> None:
        """Create the folder and write the resolved configuration.

        Raises:
            ConfigError: it already holds another run.
            RunError: it cannot be written.
        """
        if (self.path / CONFIG).exists():
            raise ConfigError(
                f"{self.path} already holds a run",
                hint="Add --resume to continue it, or choose another --out.",
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot create the run folder {self.path}: {error.strerror}") from error
        write_text(self.path / CONFIG, config.model_dump_json(indent=1) + "\n")

    def config(self) -> RunConfig:
        """Read the configuration back."""
        return resolve([file_layer(self.path / CONFIG)])

    def open_logs(self, step: int) -> None:
        """Open the logs to continue after `step` steps; later lines of an interrupted run are dropped."""
        from torch.utils.tensorboard import SummaryWriter

        path = self.path / METRICS
        if path.exists():
            kept = [line for line in path.read_text("utf-8", errors="replace").splitlines() if _step_of(line) < step]
            write_text(path, "".join(f"{line}\n" for line in kept))
        self._metrics = path.open("a")
        self._board = SummaryWriter(str(self.path / "tensorboard"), purge_step=step + 1)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line of metrics; numbers also go to TensorBoard under the stage's name."""
        assert self._metrics is not None, "open_logs comes first"
        self._metrics.write(json.dumps(record) + "\n")
        self._metrics.flush()
        for key, value in record.items():
            if isinstance(value, float):
                self._board.add_scalar(f"{record['stage']}/{key}", value, record["step"])

    def close(self) -> None:
        """Flush and close the logs."""
        if self._metrics is not None:
            self._metrics.close()
            self._board.close()


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # A line cut short by a kill belongs to no step that is kept.
        return 2**63
