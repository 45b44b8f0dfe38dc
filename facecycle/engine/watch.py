"""Watching a stage: logs its steps, tells a listener, and says when they stop making sense."""

from __future__ import annotations

import time
from typing import Protocol

from facecycle.api import Views
from facecycle.config import RunConfig
from facecycle.engine.run_folder import RunFolder
from facecycle.errors import RunError

NON_FINITE_LIMIT = 10
"""Steps in a row whose loss may be non-finite before the run stops."""
COLLAPSED = 1e-3
"""A code or flow whose deviation over the batch is below this no longer tells faces apart."""
COLLAPSE_PATIENCE = 100
"""Steps a stage is given before it can be called collapsed."""


class Listener(Protocol):
    """What a run tells whoever watches it."""

    def stage(self, name: str, first: int, total: int) -> None: ...

    def step(self, name: str, done: int, metrics: dict[str, float]) -> None: ...

    def note(self, text: str) -> None: ...


class Watch:
    """Logs the steps of a stage, and says when they stop making sense."""

    def __init__(self, stage: str, config: RunConfig, folder: RunFolder, listener: Listener) -> None:
        self.stage = stage
        self.config = config
        self.folder = folder
        self.listener = listener
        self.non_finite = 0
        self.warned = False
        self.images = 0
        self.since = time.monotonic()

    def after_step(self, step: int, total_steps: int, metrics: dict[str, float] | None) -> None:
        """Log the metrics of a step, or note that it had none because its loss was not finite.

        Args:
            step: number of the step within the stage.
            total_steps: steps of the run before it.
            metrics: what `Pretraining` measured.

        Raises:
            RunError: the loss was not finite for too many steps in a row.
        """
        self.images += 2 * self.config.pairs
        if metrics is None:
            self.non_finite += 1
            self.listener.note(f"stage {self.stage}, step {step}: the loss is not finite; step skipped")
            if self.non_finite >= NON_FINITE_LIMIT:
                raise RunError(
                    f"the loss of stage {self.stage} was not finite for {self.non_finite} steps in a row",
                    hint="Lower the learning rate: --set stages.<stage>.optimizer.lr=…",
                )
            return
        self.non_finite = 0
        if step % self.config.log_every == 0:
            now = time.monotonic()
            metrics["images_per_second"] = self.images / max(now - self.since, 1e-9)
            self.images, self.since = 0, now
            self.folder.log({"step": total_steps, "stage": self.stage, **metrics})
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
    """Return the mean standard deviation over the batch of each monitored tensor."""
    return {
        f"deviation/{name}": value.detach().float().std(dim=0, unbiased=False).mean().item()
        for name, value in views.monitored.items()
    }
