"""The losses of a run, drawn."""

from __future__ import annotations

import io
from typing import Any

from facecycle.config.settings import RunConfig
from facecycle.probing.plots import _figure, _plain

MOST = 32
"""Stages of a run that are drawn, and curves of a stage."""


def loss_curves(lines: list[dict[str, Any]], config: RunConfig) -> bytes:
    """Draw the losses of a run against its steps, one panel a stage; returns a PNG."""
    stages = list(dict.fromkeys(str(line.get("stage")) for line in lines))[:MOST]
    losses = {"total", *(label for stage in config.stages.values() for label in stage.losses)}
    figure = _figure(4.5 * len(stages), 3.5)
    for axes, stage in zip(figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True):
        mine = [line for line in lines if str(line.get("stage")) == stage]
        for name in sorted({k for line in mine for k in line} & losses)[:MOST]:
            points = [(line["step"], line[name]) for line in mine if isinstance(line.get(name), float)]
            if points:
                axes.plot(*zip(*points, strict=True), label=_plain(name), linewidth=1)
        axes.set(xlabel="step", title=_plain(stage))
        if axes.lines:
            axes.legend(fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
