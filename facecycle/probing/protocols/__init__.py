"""Evaluation protocols by name: features and labels to numbers. Nothing is ever selected on a test fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from facecycle.api import Task
from facecycle.probing.protocols import facecycle_raf, linear

_INNER = f"by {linear.INNER_FOLDS}-fold cross-validation inside each training split (seed 0), groups kept together"
_ALPHA = f"alpha from {[round(a, 2) for a in linear.ALPHA_GRID]} {_INNER}"


@dataclass(frozen=True)
class Protocol:
    """A named procedure; a number means nothing without it.

    Attributes:
        task: whose labels it needs.
        selection: how whatever is chosen is chosen, for the report.
        interval: what its confidence intervals are drawn over.
        features: features of a checkpoint it looks at by default.
        size: side of the images in pixels; None is the checkpoint's own.
        data_options: options of the data sets that belong to the protocol.
        test_options: the same, of the tested data set alone.
    """

    task: Task
    selection: str
    interval: str
    features: tuple[str, ...]
    size: int | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    test_options: Mapping[str, Any] = field(default_factory=dict)


PROTOCOLS: dict[str, Protocol] = {
    "linear": Protocol(
        "emotion",
        f"C from {list(linear.C_GRID)} {_INNER}",
        "bootstrap over test subjects",
        ("expression", "conv"),
    ),
    "facecycle-raf": Protocol(
        "emotion",
        f"none: {facecycle_raf.EPOCHS} epochs of SGD on augmented images, last epoch",
        "bootstrap over test images, or over people where they are known",
        ("conv",),
        size=facecycle_raf.SIZE,
    ),
    "linear-pose": Protocol("pose", _ALPHA, "bootstrap over test subjects", ("expression", "conv")),
    "facecycle-pose": Protocol(
        "pose",
        f"{_ALPHA}; FSA-Net files with channels as stored (BGR), test set unfiltered",
        "bootstrap over test images",
        ("conv",),
        data_options={"channels": "as-stored"},
        test_options={"filtered": False},
    ),
    "cosine-10fold": Protocol(
        "verify",
        "one threshold per fold, chosen on the other folds; features centred by the other folds' mean",
        "Student interval over folds",
        ("identity", "identity_conv", "conv"),
    ),
}
DEFAULTS: dict[Task, str] = {"emotion": "linear", "pose": "linear-pose", "verify": "cosine-10fold"}
