"""What every protocol says of itself, and what it is asked to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facecycle.api import Task

if TYPE_CHECKING:
    import numpy as np

    from facecycle.probing.extraction import Feature
    from facecycle.probing.probe import Samples
    from facecycle.probing.result import Result, Row
    from facecycle.probing.subject import Subject

INNER_FOLDS = 3
CHOSEN_INSIDE = f"by {INNER_FOLDS}-fold cross-validation inside each training split (seed 0), groups kept together"


@dataclass(frozen=True)
class Metric:
    """How a metric is printed: the title of its column, its decimals, and whether it is a share to show in percent."""

    title: str
    decimals: int
    percent: bool = False
    lower_is_better: bool = False


class ProbeProtocol(ABC):
    """A named procedure; a number means nothing without it. Nothing is ever selected on a test fold.

    The command line lists the protocols, so what takes long to import is imported inside methods.

    Attributes:
        name: what `--protocol` and a result call it.
        task: what `--task` calls it, together with others that measure the same.
        labels: the tasks whose labels it reads, as far as the data set has them.
        data: the kind of data set that reads a path without a kind.
        selection: how whatever is chosen is chosen, for the report.
        interval: what its confidence intervals are drawn over.
        metrics: what it measures, and how that is printed.
        headline: the metric that says which of two features is better.
        pictures: True where it looks at pictures of a checkpoint, and at no features.
        maps: True where it looks at feature maps alone, by default, and at no code.
        size: side of the images in pixels; None is the checkpoint's own.
        data_options: options of the data sets that belong to the protocol.
        test_options: the same, of the tested data set alone.
    """

    name: str
    task: str
    labels: tuple[Task, ...]
    data: str
    selection: str
    interval: str
    metrics: Mapping[str, Metric]
    headline: str
    pictures: bool = False
    maps: bool = False
    size: int | None = None
    data_options: Mapping[str, Any] = {}
    test_options: Mapping[str, Any] = {}

    def score(self, subject: Subject, samples: Sequence[Samples], say: Callable[[str], None]) -> list[Row]:
        """Score what is probed, in the first of several processes; the others help to extract features.

        Args:
            subject: the features, or the checkpoints whose pictures are measured.
            samples: one for each kind of labels that the data set has.
            say: told how a long protocol comes along.

        Raises:
            DataError: the labels cannot be used.
        """
        from facecycle import distributed
        from facecycle.probing.extraction import extract_once, refuse_non_finite, shared_passes

        (faces,) = samples
        rows: dict[Feature, Row] = {}
        for together in shared_passes(subject.features):
            found = extract_once(together, faces.pixels(together[0].size), faces.mark)
            while distributed.is_main() and together:
                feature, values = together.pop(0), found.pop(0)  # so that each is freed when it was scored
                refuse_non_finite(feature.label, values, faces.name)
                rows[feature] = self.fit(values, faces.labels)
                rows[feature].feature, rows[feature].checkpoint = feature.label, feature.checkpoint
        if not distributed.is_main():
            return []
        return [*self.blind(faces.labels), *(rows[feature] for feature in subject.features)]

    def blind(self, labels: Any) -> list[Row]:
        """Return the row of what ignores the images, where there is such a baseline."""
        return []

    def fit(self, features: np.ndarray, labels: Any) -> Row:
        """Score features (n, D) of the labels' frames; of pairs, each frame once, in rising order."""
        raise NotImplementedError

    @abstractmethod
    def draw(self, result: Result, file: Path) -> None:
        """Draw the picture of a result, as PNG."""
