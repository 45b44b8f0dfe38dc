"""Plots of a probe: confusion matrix, angles or ROC curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facecycle.atomic import write_atomically
from facecycle.probing.protocols.linear import ANGLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from facecycle.probing.probe import ProbeResult, Row


def _plain(text: str) -> str:
    """Return text that is drawn as it is: matplotlib reads what stands between dollars as a formula."""
    return text.encode("utf-8", "backslashreplace").decode().replace("$", r"\$")


def plot(result: ProbeResult, out: Path) -> Path:
    """Draw the plot of a task and write it as PNG into a folder; return its path."""
    draw = {"emotion": confusion_matrix, "pose": angles, "verify": roc_curves}[result.task]
    figure = draw(result)
    path = out / f"{result.task}.png"
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=100))
    return path


def _figure(width: float, height: float) -> Figure:
    # Made without pyplot, which would look for a display and keep every figure alive.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def shown_row(result: ProbeResult) -> Row:
    """Return the row whose predictions are drawn: the first feature, which is the checkpoint's own."""
    return next((row for row in result.rows if row.dimension), result.rows[0])


def confusion_matrix(result: ProbeResult) -> Figure:
    """Draw how often each class was taken for each other, in percent of the true class."""
    row = shown_row(result)
    count = len(result.classes)
    matrix = np.zeros((count, count))
    np.add.at(matrix, (result.targets[row.scores.tested], row.scores.predictions), 1)
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = _figure(5.5, 5)
    axes = figure.subplots()
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    classes = [_plain(name) for name in result.classes]
    axes.set_xticks(range(count), classes, rotation=45, ha="right")
    axes.set_yticks(range(count), classes)
    for (y, x), value in np.ndenumerate(percent):
        axes.text(x, y, f"{value:.0f}", ha="center", va="center", color="white" if value > 50 else "black")
    axes.set(xlabel="predicted", ylabel="true", title=_plain(f"{row.label}: % of the true class"))
    return figure


def angles(result: ProbeResult) -> Figure:
    """Draw predicted against true pitch, yaw and roll in degrees."""
    row = shown_row(result)
    true = result.targets[row.scores.tested]
    figure = _figure(12, 4)
    for index, (axes, angle) in enumerate(zip(figure.subplots(1, 3), ANGLES, strict=True)):
        limit = float(np.abs(true[:, index]).max()) * 1.1 + 1
        axes.plot([-limit, limit], [-limit, limit], color="0.7", linewidth=1)
        axes.scatter(true[:, index], row.scores.predictions[:, index], s=6, alpha=0.5)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel=f"true {angle} (deg)", ylabel="predicted")
        axes.set_title(_plain(f"{row.label}: MAE {row.scores.metrics[angle]:.1f}"))
    return figure


def roc_curves(result: ProbeResult) -> Figure:
    """Draw the ROC curve of every feature."""
    from sklearn.metrics import roc_curve

    figure = _figure(5.5, 5)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for row in result.rows:
        false_positive, true_positive, _ = roc_curve(result.targets, row.scores.predictions)
        axes.plot(false_positive, true_positive, label=_plain(f"{row.label} ({row.scores.metrics['auc']:.3f})"))
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="verification (AUC)")
    axes.legend(loc="lower right", fontsize=8)
    return figure
