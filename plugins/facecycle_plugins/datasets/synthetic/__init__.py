"""The data set `synthetic`: rendered faces with known identity, expression and pose."""

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from facecycle.api import BadFrame, Labelled, Task, Track, Verification
from facecycle.api import Options as BaseOptions
from facecycle.data.labels.verification import MOST_PAIRS, pairs_by_identity
from facecycle_plugins.datasets.synthetic.faces import (
    EXPRESSIONS,
    Faces,
    draw_frame,
    draw_identity,
    draw_scene,
    neutral,
    stack,
)
from facecycle_plugins.datasets.synthetic.render import render

VERSION = 1
"""Raise it when the same seed gives other pictures."""
FOLDS = 10


class SyntheticOptions(BaseOptions):
    """Options of the data set `synthetic`."""

    identities: int = Field(400, ge=1)
    """People to train on."""
    test_identities: int = Field(100, ge=2 * FOLDS)
    """Further people, whom only probes are tested on."""
    takes: int = Field(3, ge=2)
    """Takes of each person, each with its own light and background; a take is a track."""
    frames: int = Field(4, ge=1)
    """Frames of each take."""
    seed: int = Field(0, ge=0)
    """Seed of everything."""


class SyntheticDataset:
    """Frames are numbered person by person and take by take; the people of probes' tests come last.

    Labels of pose follow the convention of `facecycle.api.Labelled`; the renderer's own yaw has the other sign.
    """

    facecycle_api = (1, 0)
    Options = SyntheticOptions
    licence = "rendered by facecycle, MIT"

    def __init__(self, options: SyntheticOptions) -> None:
        self.options = options

    @cached_property
    def _drawn(self) -> tuple[Faces, np.ndarray]:
        """Every face's parameters and expression; a few thousand faces take about a second."""
        options = self.options
        rows = []
        for person in range(options.identities + options.test_identities):
            # Training people have even numbers, test people odd ones: no choice of sizes mixes them.
            test = person - options.identities
            number = 2 * person if test < 0 else 2 * test + 1
            identity = draw_identity(options.seed, number)
            for take in range(options.takes):
                scene = draw_scene(options.seed, number, take)
                for frame in range(take * options.frames, (take + 1) * options.frames):
                    rows.append({**identity, **scene, **draw_frame(options.seed, number, frame)})
        return stack(rows), np.array([int(row["expression"]) for row in rows])

    def _take(self, person: int, take: int) -> tuple[int, ...]:
        start = (person * self.options.takes + take) * self.options.frames
        return tuple(range(start, start + self.options.frames))

    def tracks(self) -> list[Track]:
        """One track a take of a training person."""
        return [
            Track(f"person{person:05d}/{take}", f"person{person:05d}", self._take(person, take))
            for person in range(self.options.identities)
            for take in range(self.options.takes)
        ]

    def labelled(self, task: Task) -> Labelled | Verification:
        """Return labels: trained on the people of `tracks`, tested on others."""
        options = self.options
        if task == "verify":
            # One frame a take: within a take the background would give the person away.
            tested = range(options.identities, options.identities + options.test_identities)
            people = [tuple(self._take(person, take)[0] for take in range(options.takes)) for person in tested]
            return pairs_by_identity(people, FOLDS, options.seed, MOST_PAIRS, "synthetic")
        faces, expressions = self._drawn
        frames = np.arange(len(faces))
        groups = frames // (options.takes * options.frames)
        folds = np.where(groups < options.identities, -1, 0)
        note = f"rendered faces; trained on {options.identities} people, tested on {options.test_identities} others"
        if task == "emotion":
            return Labelled(frames, expressions, folds, groups, EXPRESSIONS, note)
        return Labelled(frames, faces.pose.double().numpy() * [1, -1, 1], folds, groups, note=note, convention="zyx")

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Render frames as RGB uint8 (n, 3, size, size); none is ever bad."""
        return render(self._drawn[0].take(torch.tensor(list(frames), dtype=torch.long)), size), [None] * len(frames)

    def neutral_images(self, frames: Sequence[int], size: int) -> Tensor:
        """Render the true neutral faces of frames: same person and light, no expression, no turn."""
        return render(neutral(self._drawn[0].take(torch.tensor(list(frames), dtype=torch.long))), size)

    def fingerprint(self) -> str:
        """Return a digest of the options and the renderer's version."""
        return hashlib.sha256(f"{VERSION}{self.options.model_dump_json()}".encode()).hexdigest()
