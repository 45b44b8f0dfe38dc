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
from facecycle.probing.protocols.cosine_10fold import Cosine10Fold
from facecycle.probing.protocols.linear import Linear
from facecycle.probing.protocols.linear_pose import ALPHA_GRID

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from facecycle.api import Method
    from facecycle.probing.probe import Samples
    from facecycle.probing.result import Result, Row
    from facecycle.probing.subject import Subject

MADE = ("frontal", "neutral")
"""Panels that are measured of a method that does not say which of its own show a face without its expression."""
SHOWN = 8
READERS: dict[str, tuple[str, ProbeProtocol]] = {
    "emotion": ("emotion", Linear()),
    "verify": ("verification", Cosine10Fold()),
}
"""Task to the metric that it gives, and the protocol that reads it."""


class Neutral(ProbeProtocol):
    """A checkpoint's neutral faces, measured as far as the data set knows the truth.

    L1 and SSIM compare them with the true neutral face, pixels in [0, 1], where the data set renders it. Emotion
    accuracy should fall to chance, and verification accuracy should stay. A ridge regression that was trained on the
    inputs reads the yaw of every picture, whose deviation over the faces should shrink.
    """

    name = "neutral"
    task = "neutral"
    pictures = True
    labels = ("pose", "emotion", "verify")
    data = "class-folders"
    selection = (
        "HoG features at 64 px of each panel; emotion by the protocol linear, verification by cosine-10fold, "
        "yaw by a ridge regression trained on the inputs"
    )
    interval = "bootstrap over subjects; verification: Student interval over folds"
    metrics = {
        "l1": Metric("L1 to truth", 4, lower_is_better=True),
        "ssim": Metric("SSIM to truth", 3),
        "emotion": Metric("emotion (%)", 1, percent=True, lower_is_better=True),
        "verification": Metric("verification (%)", 1, percent=True),
        "yaw": Metric("yaw spread (deg)", 2, lower_is_better=True),
    }
    headline = "l1"

    def score(self, subject: Subject, samples: Sequence[Samples], say: Callable[[str], None]) -> list[Row]:
        """Measure the inputs and each panel that is made of them.

        Raises:
            ConfigError: the checkpoint did not train the panels.
        """
        import torch

        from facecycle import distributed
        from facecycle.networks import choose_device
        from facecycle.probing.result import Row
        from facecycle.runtimes.by_torch import panels_of
        from facecycle.seeds import seeded

        measured = {label: _measured(loaded.method) for label, loaded in subject.checkpoints.items()}
        for label, loaded in subject.checkpoints.items():
            makes = loaded.method.panels_from
            if {makes.get(panel) for panel in measured[label]} - loaded.checkpoint.trained:
                raise ConfigError(f"{loaded.checkpoint.path} did not train the cycle that makes neutral faces")
        if not distributed.is_main():
            return []
        several = len(subject.checkpoints) > 1
        rows = {"input": Row(feature="input", dimensions=0)}
        for label, panel in ((label, panel) for label, panels in measured.items() for panel in panels):
            name = f"{label}: {panel}" if several else panel
            rows[name] = Row(feature=name, checkpoint=label if several else "", dimensions=0)
        for faces in samples:
            pixels = faces.pixels(subject.size)
            panels = {"input": pixels}
            for label, loaded in subject.checkpoints.items():
                method = loaded.method.to(choose_device())
                made = panels_of(method, pixels, None, seeded("neutral", 0), measured[label])
                panels |= {f"{label}: {p}" if several else p: torch.from_numpy(made[p]) for p in measured[label]}
            found = _hog_features(panels)
            if faces.task == "pose":
                _spread_of_yaw(faces.labels, found, rows)
            else:
                metric, reader = READERS[faces.task]
                for panel, row in rows.items():
                    scores = reader.fit(found[panel], faces.labels)
                    found_of = scores.metrics["accuracy"], scores.intervals.get("accuracy")
                    row.add(metric, *found_of, scores.items["accuracy"])
            if faces is samples[0]:
                _compare(faces, panels, rows)
        return list(rows.values())

    def draw(self, result: Result, file: Path) -> None:
        """Draw a few faces beside their panels, and the truth where it is known."""
        from facecycle.pictures import contact_sheet

        contact_sheet(list(result.rows[0].pictures.items())).save(file, format="PNG")


def _measured(method: Method) -> Sequence[str]:
    """Return the panels of a method that show a face without its expression."""
    panels: Sequence[str] = getattr(method, "probed", {}).get(Neutral.task, MADE)
    return panels


def _hog_features(panels: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Look at the pictures of every panel with the instrument, at its own size."""
    from facecycle.data.images import resize
    from facecycle.probing.extraction import extract
    from facecycle.probing.features import baseline_features

    hog = baseline_features()[0]
    found = {}
    for panel, pixels in panels.items():
        found[panel] = extract([hog], resize(pixels, hog.size))[0].numpy()
    return found


def _spread_of_yaw(labels: Labelled, found: Mapping[str, np.ndarray], rows: Mapping[str, Row]) -> None:
    """Measure the deviation of the yaw of the tested faces, read by a model that was trained on the others' inputs."""
    import numpy as np

    from facecycle.probing.folds import bootstrap

    folds = np.unique(labels.folds[labels.folds >= 0])
    if not len(folds) or len(np.unique(labels.folds)) < 2:
        raise DataError("pose needs samples to train on and samples to test", hint="Use data with folds.")
    tested = np.concatenate([np.flatnonzero(labels.folds == fold) for fold in folds])
    parts = []
    for fold in folds:
        train, test = labels.folds != fold, labels.folds == fold
        shown = (found[panel][test] for panel in rows)
        parts.append(read_yaw(found["input"][train], labels.targets[train, 1], *shown))
    for row, part in zip(rows.values(), zip(*parts, strict=True), strict=True):
        yaw = np.concatenate(part).astype(float)
        bounds = bootstrap((yaw - yaw.mean()) ** 2, labels.groups[tested])
        row.add("yaw", yaw.std(), bounds and (math.sqrt(bounds[0]), math.sqrt(bounds[1])))


def read_yaw(features: np.ndarray, yaw: np.ndarray, *shown: np.ndarray) -> list[np.ndarray]:
    """Return the yaw that a ridge regression, trained on features (n, D) of a known yaw, reads from others."""
    from sklearn.linear_model import RidgeCV

    from facecycle.probing.folds import standardise

    scaled, *others = standardise(*(each.copy() for each in (features, *shown)))
    model = RidgeCV(ALPHA_GRID).fit(scaled, yaw)
    return [model.predict(other) for other in others]


def _compare(faces: Samples, panels: Mapping[str, Tensor], rows: Mapping[str, Row]) -> None:
    """Compare the pictures of the tested faces with the truth where it is known, and keep some to look at."""
    import numpy as np
    from skimage.metrics import structural_similarity

    from facecycle.probing.folds import bootstrap

    labels = faces.labels
    tested = np.flatnonzero(labels.folds >= 0) if isinstance(labels, Labelled) else np.arange(len(faces.frames))
    people = labels.groups[tested] if isinstance(labels, Labelled) else tested
    shown = {panel: pixels[tested] for panel, pixels in panels.items()}
    if isinstance(faces.dataset, KnowsNeutral):
        shown["truth"] = faces.dataset.neutral_images(faces.frames[tested].tolist(), panels["input"].shape[-1])
        truth = shown["truth"].float().div(255)
        for panel, row in rows.items():
            images = shown[panel].float().div(255)
            l1 = (images - truth).abs().mean(dim=(1, 2, 3)).numpy().astype(float)
            pairs = zip(images.numpy(), truth.numpy(), strict=True)
            ssim = np.array([structural_similarity(a, b, channel_axis=0, data_range=1.0) for a, b in pairs], float)
            row.add("l1", l1.mean(), bootstrap(l1, people), (l1, people))
            row.add("ssim", ssim.mean(), bootstrap(ssim, people), (ssim, people))
    rows["input"].pictures = {name: pixels[:SHOWN] for name, pixels in shown.items()}
