"""The monitor of a stage: logs its steps, tells a listener, and says when they stop making sense."""

from __future__ import annotations

import time
from typing import Protocol

from facecycle.api import Views
from facecycle.config.settings import RunConfig
from facecycle.data.batches import FrameTally
from facecycle.errors import DataError
from facecycle.pretraining.run_folder import BAD_FRAMES, RunFolder

JUDGED_AFTER = 500
"""Frames that are read before it is judged whether too many are bad."""
SHOWN = 5
"""Bad frames that an error names; the file has them all."""
COLLAPSED = 1e-3
"""A code or flow whose deviation over the batch is below this no longer tells faces apart."""
COLLAPSE_PATIENCE = 100
"""Steps a stage is given before it can be called collapsed."""


class Listener(Protocol):
    """What a run tells whoever watches it."""

    def stage(self, name: str, first: int, total: int) -> None: ...

    def step(self, name: str, done: int, metrics: dict[str, float]) -> None: ...

    def note(self, text: str) -> None: ...


class Monitor:
    """Logs the steps of a stage, and says when they stop making sense."""

    def __init__(self, stage: str, config: RunConfig, pairs: int, folder: RunFolder, listener: Listener) -> None:
        self.stage = stage
        self.config = config
        self.pairs = pairs
        self.folder = folder
        self.listener = listener
        self.non_finite = 0
        self.warned = False
        self.images = 0
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
        self.images += 2 * self.pairs
        if metrics is None:
            self.non_finite += 1
            self.listener.note(f"stage {self.stage}, step {step}: the loss is not finite; step skipped")
            self.folder.log({"step": total_steps, "stage": self.stage, "skipped_steps": skipped})
            return
        self.non_finite = 0
        if step % self.config.log_every == 0:
            now = time.monotonic()
            seconds = max(now - self.since, 1e-9)
            metrics["images_per_second"] = self.images / seconds
            metrics["waiting_for_data"] = (waited - self.waited) / seconds
            self.images, self.since, self.waited = 0, now, waited
            self.folder.log({"step": total_steps, "stage": self.stage, "skipped_steps": skipped, **metrics})
            self._warn_of_collapse(step, metrics)
        self.listener.step(self.stage, step + 1, metrics)

    def _warn_of_collapse(self, step: int, metrics: dict[str, float]) -> None:
        dead = [k for k, v in metrics.items() if k.startswith("deviation/") and v < COLLAPSED]
        if dead and step >= COLLAPSE_PATIENCE and not self.warned:
            self.warned = True
            names = ", ".join(k.removeprefix("deviation/") for k in dead)
            self.listener.note(
                f"stage {self.stage}, step {step}: {names} is the same for every face of the batch; the "
                "run has collapsed. Lower the learning rate, or train the direct path longer first."
            )


def deviations(views: Views) -> dict[str, float]:
    """Return the mean standard deviation of each monitored tensor over a batch, or over a process's part of one."""
    return {
        f"deviation/{name}": value.detach().float().std(dim=0, unbiased=False).mean().item()
        for name, value in views.monitored.items()
    }
