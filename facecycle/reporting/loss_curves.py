"""The losses of a run, drawn."""

from __future__ import annotations

import io
from typing import Any

from facecycle.pretraining.run_folder import NO_LOSSES
from facecycle.probing.plots import _figure, _plain

MOST = 32
"""Stages of a run that are drawn, and curves of a stage."""


def loss_curves(lines: list[dict[str, Any]]) -> bytes:
    """Draw the losses of a run against its steps, one panel a stage; returns a PNG."""
    stages = list(dict.fromkeys(str(line.get("stage")) for line in lines))[:MOST]
    hidden = {"stage", "step", *NO_LOSSES}
    figure = _figure(4.5 * len(stages), 3.5)
    for axes, stage in zip(figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True):
        mine = [line for line in lines if str(line.get("stage")) == stage]
        for name in sorted({k for line in mine for k in line} - hidden)[:MOST]:
            points = [(line["step"], line[name]) for line in mine if isinstance(line.get(name), float)]
            if points and "/" not in name:
                axes.plot(*zip(*points, strict=True), label=_plain(name), linewidth=1)
        axes.set(xlabel="step", title=_plain(stage))
        axes.legend(fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
