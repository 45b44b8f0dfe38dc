"""The protocol `facecycle-raf`: the paper's linear classifier, trained by SGD on augmented images of a frozen encoder.

Source: FaceCycle (ICCV 2021), section 4.2, and its public code: the flattened conv feature at 100 px, one linear
layer, SGD with lr 30 (x0.1 every 80 epochs), momentum 0.9, weight decay 1e-4, batches of 256, 300 epochs, last
epoch. Colour changes come in a fixed order, where the public code draws the order too.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from facecycle.cache import cache_home
from facecycle.config.settings import AugmentationConfig
from facecycle.errors import DataError, RunError
from facecycle.probing.protocols.linear import Linear, hits

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from facecycle.api import Labelled
    from facecycle.probing.extraction import Feature
    from facecycle.probing.probe import Samples
    from facecycle.probing.result import Row
    from facecycle.probing.subject import Subject

BATCH = 256
EPOCHS = 300
AUGMENTATION = AugmentationConfig(
    crop_scale=(0.8, 1.2), crop_ratio=(0.8, 1.2), jitter=(0.05, 0.05, 0.05, 0.01), jitter_probability=0.8
)
GREY_PROBABILITY = 0.2
RECIPE = 1
"""Raise it when the same inputs give another classifier, so that a kept one is not taken up again."""


class FaceCycleRaf(Linear):
    """Accuracy over the test split of a classifier that was trained on the training split."""

    name = "facecycle-raf"
    selection = f"none: {EPOCHS} epochs of SGD on augmented images, last epoch"
    interval = "bootstrap over test images, or over people where they are known"
    maps = True
    size = 100

    def score(self, subject: Subject, samples: Sequence[Samples], say: Callable[[str], None]) -> list[Row]:
        """Train and test a classifier on each feature; the commonest class comes first."""
        from facecycle import distributed

        (faces,) = samples
        if not distributed.is_main():
            return []
        rows = self.blind(faces.labels)
        for feature in subject.features:
            pixels = faces.pixels(feature.size)
            rows.append(sgd_classifier(feature, pixels, faces.mark, faces.labels, say=say))
        return rows


def sgd_classifier(
    feature: Feature,
    pixels: Tensor,
    mark: str,
    labels: Labelled,
    epochs: int = EPOCHS,
    say: Callable[[str], None] = lambda text: None,
) -> Row:
    """Train on the samples of fold -1 and test on all others; no gradient reaches the encoder.

    The classifier is kept on disk after every epoch, so that a run that was stopped goes on where it was.

    Args:
        feature: the frozen feature.
        pixels: uint8 images (n, 3, 100, 100).
        mark: identifies the images, for the file that is kept.
        labels: class ids and folds.
        epochs: length of the training.
        say: told the loss once in a while.

    Raises:
        DataError: there is nothing to train on, or nothing to test on, or features are not finite.
    """
    import numpy as np
    import torch
    from torch import nn

    from facecycle.checkpoints.tensor_file import save_tensors
    from facecycle.probing.extraction import extract, refuse_non_finite
    from facecycle.probing.folds import measured
    from facecycle.probing.result import Row
    from facecycle.seeds import seeded

    targets, folds = labels.targets, labels.folds
    train, test = np.flatnonzero(folds < 0), np.flatnonzero(folds >= 0)
    if not len(train) or not len(test):
        raise DataError(
            "the protocol facecycle-raf needs a training split and a test split",
            hint="RAF-DB has both; other data: --data TRAINING --test TESTED.",
        )
    (tested,) = extract([feature], pixels[test])
    refuse_non_finite(feature.label, tested)
    classifier = nn.Linear(tested.shape[1], int(targets.max()) + 1)
    nn.init.kaiming_uniform_(classifier.weight, generator=seeded("classifier", 0))
    nn.init.zeros_(classifier.bias)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=30, momentum=0.9, weight_decay=1e-4)
    truth = hashlib.sha256(targets.astype(np.int64).tobytes() + folds.astype(np.int64).tobytes()).hexdigest()
    text = f"{RECIPE}|{feature.key}|{mark}|{truth}|{epochs}|{tuple(pixels.shape)}"
    path = cache_home() / "classifiers" / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"
    state = {name: parameter.detach() for name, parameter in classifier.named_parameters()}
    for name, parameter in classifier.named_parameters():
        state[f"momentum.{name}"] = torch.zeros_like(parameter)
        optimizer.state[parameter]["momentum_buffer"] = state[f"momentum.{name}"]
    first = _continue(path, state)
    true = torch.from_numpy(targets)
    for epoch in range(first, epochs):
        # The public code counts epochs from 1, so the first stretch has 79.
        optimizer.param_groups[0]["lr"] = 30 * 0.1 ** ((epoch + 1) // 80)
        draws = seeded("facecycle-raf", 0, epoch)
        for chosen in torch.from_numpy(train)[torch.randperm(len(train), generator=draws)].split(BATCH):
            with torch.inference_mode():
                features = feature.read(_augmented(pixels[chosen], draws), frozenset({feature.name}))[feature.name]
            refuse_non_finite(feature.label, features)
            loss = nn.functional.cross_entropy(classifier(features.clone()), true[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with contextlib.suppress(RunError):  # a full disk costs the way back to this epoch, not the result
            save_tensors(path, {**state, "epoch": torch.tensor(epoch + 1)})
        say(f"{feature.label}: epoch {epoch + 1} of {epochs}, loss {loss.item():.3f}")
    with torch.inference_mode():
        predicted = classifier(tested).argmax(1).numpy()
    row = Row(feature=feature.label, checkpoint=feature.checkpoint, dimensions=tested.shape[1])
    row = measured(row, test, predicted, labels, hits)
    row.folds[0] = row.metrics
    return row


def _augmented(pixels: Tensor, generator: torch.Generator) -> Tensor:
    import torch

    from facecycle.data.augment import DRAWS, augment, greyscale
    from facecycle.data.images import normalise

    images = augment(pixels, AUGMENTATION, torch.rand(DRAWS, len(pixels), generator=generator))
    return normalise(greyscale(images, torch.rand(len(images), generator=generator) < GREY_PROBABILITY))


def _continue(path: Path, state: dict[str, Tensor]) -> int:
    """Take up what an earlier run kept; returns the first epoch that is left."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with contextlib.suppress(OSError, SafetensorError, KeyError):
        kept = load_file(path)
        for name, tensor in state.items():
            tensor.copy_(kept[name])
        return int(kept["epoch"])
    return 0
