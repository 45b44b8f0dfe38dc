"""The data set `synthetic`: rendered faces with known identity, expression and pose."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from facecycle.api import BadFrame, Labelled, Task, Track, Verification
from facecycle.api import Options as BaseOptions
from facecycle.data.verification import pairs_by_identity
from facecycle_plugins.datasets.synthetic.faces import EXPRESSIONS, Faces, draw_identity, draw_take, neutral, stack
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
    frames_per_identity: int = Field(12, ge=2)
    """Frames of each person."""
    seed: int = Field(0, ge=0)
    """Seed of everything."""


class SyntheticDataset:
    """Frame f shows person f // frames_per_identity; the people of probes' tests come last.

    Pose is pitch, yaw, roll in degrees, positive when the face looks up, turns to the right of the image
    and tilts clockwise.
    """

    facecycle_api = (1, 0)
    Options = SyntheticOptions
    licence = "rendered by facecycle, MIT"

    def __init__(self, options: SyntheticOptions) -> None:
        self.options = options

    @cached_property
    def _drawn(self) -> tuple[Faces, np.ndarray]:
        """Every face's parameters and expression; a few thousand faces take under a second."""
        options = self.options
        people, takes = [], []
        for person in range(options.identities + options.test_identities):
            # Training and test people count from opposite ends, so that no choice of sizes mixes them.
            test = person - options.identities
            number = 2 * person if test < 0 else 2 * test + 1
            identity = draw_identity(options.seed, number)
            for frame in range(options.frames_per_identity):
                people.append(identity)
                takes.append(draw_take(options.seed, number, frame))
        expressions = np.array([int(take["expression"]) for take in takes])
        return stack(people, takes), expressions

    def _frames(self, first: int, count: int) -> list[tuple[int, ...]]:
        per = self.options.frames_per_identity
        return [tuple(range(person * per, (person + 1) * per)) for person in range(first, first + count)]

    def tracks(self) -> list[Track]:
        """One track a training person."""
        people = self._frames(0, self.options.identities)
        return [Track(f"person{i:05d}", f"person{i:05d}", frames) for i, frames in enumerate(people)]

    def labelled(self, task: Task) -> Labelled | Verification:
        """Return labels: trained on the people of `tracks`, tested on others."""
        options = self.options
        if task == "verify":
            return pairs_by_identity(self._frames(options.identities, options.test_identities), FOLDS, options.seed)
        faces, expressions = self._drawn
        frames = np.arange(len(faces))
        groups = frames // options.frames_per_identity
        folds = np.where(groups < options.identities, -1, 0)
        note = f"rendered faces; trained on {options.identities} people, tested on {options.test_identities} others"
        if task == "emotion":
            return Labelled(frames, expressions, folds, groups, EXPRESSIONS, note)
        return Labelled(frames, faces.pose.double().numpy(), folds, groups, note=note)

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Render frames as RGB uint8 (n, 3, size, size); none is ever bad."""
        return render(self._drawn[0].take(torch.tensor(list(frames), dtype=torch.long)), size), [None] * len(frames)

    def neutral_images(self, frames: Sequence[int], size: int) -> Tensor:
        """Render the true neutral faces of frames: same person and light, no expression, no turn."""
        return render(neutral(self._drawn[0].take(torch.tensor(list(frames), dtype=torch.long))), size)

    def fingerprint(self) -> str:
        """Return a digest of the options and the renderer's version."""
        return hashlib.sha256(f"{VERSION}{self.options.model_dump_json()}".encode()).hexdigest()
