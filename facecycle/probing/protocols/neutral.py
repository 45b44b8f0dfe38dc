"""The protocol `neutral`: is a neutral face neutral, frontal, and still the same person?

Emotion, identity and pose are read from HoG features of the pictures, an instrument that no checkpoint made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from facecycle.api import KnowsNeutral, Labelled
from facecycle.errors import ConfigError, DataError
from facecycle.probing.protocols.base import Metric, ProbeProtocol
from facecycle.probing.protocols.cosine_10fold import cosine_folds
from facecycle.probing.protocols.linear import logistic_regression
from facecycle.probing.protocols.linear_pose import ALPHA_GRID

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from facecycle.probing.probe import Samples, Subject
    from facecycle.probing.result import Result, Row

MADE = ("frontal", "neutral")
SHOWN = 8

Measured = dict[str, tuple[float, tuple[float, float] | None]]
"""Panel to the value of a metric and its interval."""


class Neutral(ProbeProtocol):
    """A checkpoint's neutral faces, measured as far as the data set knows the truth.

    L1 and SSIM against the true neutral face, pixels in [0, 1], where the data set renders it
    (`neutral_images`); emotion and verification accuracy of the pictures, of which the first should fall to
    chance and the second should stay; and the deviation over the faces of the yaw that a ridge regression
    trained on the inputs finds, which should shrink.
    """

    name = "neutral"
    task = "neutral"
    labels = ("pose", "emotion", "verify")
    data = "class-folders"
    selection = (
        "HoG features at 64 px of each panel; emotion by the protocol linear, verification by cosine-10fold, "
        "yaw by a ridge regression trained on the inputs"
    )
    interval = "bootstrap over subjects; verification: Student interval over folds"
    metrics = {
        "l1": Metric("L1 to truth", 4),
        "ssim": Metric("SSIM to truth", 3),
        "emotion": Metric("emotion (%)", 1, percent=True),
        "verification": Metric("verification (%)", 1, percent=True),
        "yaw": Metric("yaw spread (deg)", 2),
    }

    def score(self, subject: Subject, samples: Sequence[Samples], say: Callable[[str], None]) -> list[Row]:
        """Measure the inputs and each panel that is made of them.

        Raises:
            ConfigError: the checkpoint did not train the panels.
        """
        from facecycle import distributed
        from facecycle.networks import choose_device
        from facecycle.pictures import panels_of
        from facecycle.probing.result import Row
        from facecycle.seeds import seeded

        loaded = subject.loaded
        assert loaded is not None, "neutral faces are a checkpoint's"
        if {loaded.method.panels_from[panel] for panel in MADE} - loaded.checkpoint.trained:
            raise ConfigError(f"{loaded.checkpoint.path} did not train the cycle that makes neutral faces")
        if not distributed.is_main():
            return []
        method = loaded.method.to(choose_device())
        rows = {panel: Row(feature=panel, dimensions=0, metrics={}) for panel in ("input", *MADE)}
        for faces in samples:
            pixels = faces.pixels(subject.size)
            panels = {"input": pixels, **panels_of(method, pixels, None, seeded("neutral", 0), MADE)}
            measured = _read_labels(faces, panels)
            if faces is samples[0]:
                measured |= _compare(faces, panels, rows)
            for metric, values in measured.items():
                for panel, (value, interval) in values.items():
                    rows[panel].metrics[metric] = value
                    if interval is not None:
                        rows[panel].intervals[metric] = interval
        return list(rows.values())

    def draw(self, result: Result, file: Path) -> None:
        """Draw a few faces beside their panels, and the truth where it is known."""
        from facecycle.pictures import contact_sheet

        contact_sheet([shown for row in result.rows for shown in row.pictures.items()]).save(file, format="PNG")


def _read_labels(faces: Samples, panels: Mapping[str, Tensor]) -> dict[str, Measured]:
    """Read the labels of a task from the HoG features of every panel."""
    from torchvision.transforms.v2.functional import resize

    from facecycle.probing.features import baseline_features, extract

    hog, labels = baseline_features()[0], faces.labels
    found = {}
    for panel, pixels in panels.items():
        # The pictures are looked at by the instrument at its own size.
        at_size = pixels if pixels.shape[-1] == hog.size else resize(pixels, [hog.size, hog.size], antialias=True)
        found[panel] = extract(hog, at_size).numpy()
    if faces.task == "pose":
        return {"yaw": _yaw_spread(labels, found)}
    if faces.task == "emotion":
        metric, scored = "emotion", {panel: logistic_regression(x, labels) for panel, x in found.items()}
    else:
        first, second = faces.places()
        metric = "verification"
        scored = {panel: cosine_folds(x[first], x[second], labels) for panel, x in found.items()}
    return {metric: {p: (row.metrics["accuracy"], row.intervals.get("accuracy")) for p, row in scored.items()}}


def _yaw_spread(labels: Labelled, found: Mapping[str, np.ndarray]) -> Measured:
    """Return the deviation of the yaw of the tested faces in every panel, read by a model of the others' inputs."""
    import numpy as np

    from facecycle.probing.folds import bootstrap

    tested = labels.folds >= 0
    if not tested.any() or len(set(labels.folds.tolist())) < 2:
        raise DataError("pose needs samples to train on and samples to test", hint="Use data with folds.")
    yaw = {panel: np.zeros(len(labels.folds)) for panel in found}
    for fold in sorted(set(labels.folds[tested].tolist())):
        train, test = labels.folds != fold, labels.folds == fold
        shown = (features[test] for features in found.values())
        for panel, values in zip(found, read_yaw(found["input"][train], labels.targets[train, 1], *shown), strict=True):
            yaw[panel][test] = values
    spread: Measured = {}
    for panel, values in yaw.items():
        squares = (values[tested] - values[tested].mean()) ** 2
        bounds = bootstrap(squares, labels.groups[tested])
        interval = (math.sqrt(bounds[0]), math.sqrt(bounds[1])) if bounds else None
        spread[panel] = float(values[tested].std()), interval
    return spread


def read_yaw(features: np.ndarray, yaw: np.ndarray, *shown: np.ndarray) -> list[np.ndarray]:
    """Return the yaw that a ridge regression, trained on features (n, D) of a known yaw, reads from others."""
    from sklearn.linear_model import RidgeCV

    from facecycle.probing.folds import standardise

    scaled, *others = standardise(features, *shown)
    model = RidgeCV(ALPHA_GRID).fit(scaled, yaw)
    return [model.predict(other) for other in others]


def _compare(faces: Samples, panels: Mapping[str, Tensor], rows: Mapping[str, Row]) -> dict[str, Measured]:
    """Compare the pictures of the tested faces with the truth where it is known, and keep some to look at."""
    import numpy as np
    from skimage.metrics import structural_similarity

    from facecycle.probing.folds import bootstrap

    labels = faces.labels
    tested = np.flatnonzero(labels.folds >= 0) if isinstance(labels, Labelled) else np.arange(len(faces.frames))
    people = labels.groups[tested] if isinstance(labels, Labelled) else tested
    for panel, row in rows.items():
        row.pictures[panel] = panels[panel][tested[:SHOWN]]
    if not isinstance(faces.dataset, KnowsNeutral):
        return {}
    truth = faces.dataset.neutral_images(faces.frames[tested].tolist(), panels["input"].shape[-1])
    rows[MADE[-1]].pictures["truth"] = truth[:SHOWN]
    b = truth.float().div(255)
    found: dict[str, Measured] = {"l1": {}, "ssim": {}}
    for panel in panels:
        a = panels[panel][tested].float().div(255)
        l1 = (a - b).abs().mean(dim=(1, 2, 3)).numpy().astype(float)
        similar = [
            structural_similarity(x.numpy(), y.numpy(), channel_axis=0, data_range=1.0)
            for x, y in zip(a, b, strict=True)
        ]
        for metric, values in (("l1", l1), ("ssim", np.array(similar, float))):
            found[metric][panel] = float(values.mean()), bootstrap(values, people)
    return found
