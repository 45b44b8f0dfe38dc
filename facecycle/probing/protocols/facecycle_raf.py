"""The protocol `facecycle-raf`: the paper's linear classifier, trained by SGD on augmented images of a frozen encoder.

Source: FaceCycle (ICCV 2021), section 4.2, and its public code: the flattened conv feature at 100 px, one linear
layer, SGD with lr 30 (x0.1 every 80 epochs), momentum 0.9, weight decay 1e-4, batches of 256, 300 epochs, last
epoch. Colour changes come in a fixed order, where the public code draws the order too.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facecycle.cache import cache_home
from facecycle.checkpoints.model_file import save_tensors
from facecycle.config.settings import AugmentationConfig
from facecycle.data.augment import DRAWS, augment, greyscale
from facecycle.data.images import normalise
from facecycle.errors import DataError, RunError
from facecycle.probing.features import FeatureRow, extract_all
from facecycle.probing.protocols.linear import hits
from facecycle.probing.protocols.scores import Scores, bootstrap
from facecycle.seeds import seeded

SIZE = 100
BATCH = 256
EPOCHS = 300
AUGMENTATION = AugmentationConfig(
    crop_scale=(0.8, 1.2), crop_ratio=(0.8, 1.2), jitter=(0.05, 0.05, 0.05, 0.01), jitter_probability=0.8
)
GREY_PROBABILITY = 0.2
RECIPE = 1
"""Raise it when the same inputs give another classifier, so that a kept one is not taken up again."""


def facecycle_raf(
    row: FeatureRow,
    pixels: Tensor,
    mark: str,
    targets: np.ndarray,
    folds: np.ndarray,
    groups: np.ndarray,
    epochs: int = EPOCHS,
    say: Callable[[str], None] = lambda text: None,
) -> Scores:
    """Train on the samples of fold -1 and test on all others; no gradient reaches the encoder.

    The classifier is kept on disk after every epoch, so that a run that was stopped goes on where it was.

    Args:
        row: the frozen feature.
        pixels: uint8 images (n, 3, 100, 100).
        mark: identifies the images, for the file that is kept.
        targets: (n,) class ids.
        folds: (n,) -1 is training only.
        groups: (n,) whom each sample shows, for the interval.
        epochs: length of the training.
        say: told the loss once in a while.

    Raises:
        DataError: there is nothing to train on, or nothing to test on.
    """
    train, test = np.flatnonzero(folds < 0), np.flatnonzero(folds >= 0)
    if not len(train) or not len(test):
        raise DataError(
            "the protocol facecycle-raf needs a training split and a test split",
            hint="RAF-DB has both; other data: --data TRAINING --test TESTED.",
        )
    classes = int(targets.max()) + 1
    tested = extract_all(row, pixels[test])
    classifier = nn.Linear(tested.shape[1], classes)
    nn.init.kaiming_uniform_(classifier.weight, generator=seeded("classifier", 0))
    nn.init.zeros_(classifier.bias)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=30, momentum=0.9, weight_decay=1e-4)
    truth = hashlib.sha256(targets.astype(np.int64).tobytes() + folds.astype(np.int64).tobytes()).hexdigest()
    path = _kept_file(f"{RECIPE}|{row.key}|{mark}|{truth}|{epochs}|{tuple(pixels.shape)}")
    first = _continue(path, classifier, optimizer)
    labels = torch.from_numpy(targets)
    for epoch in range(first, epochs):
        # The public code counts epochs from 1, so the first stretch has 79.
        optimizer.param_groups[0]["lr"] = 30 * 0.1 ** ((epoch + 1) // 80)
        draws = seeded("facecycle-raf", 0, epoch)
        for chosen in torch.from_numpy(train)[torch.randperm(len(train), generator=draws)].split(BATCH):
            with torch.inference_mode():
                features = row.extract(_augmented(pixels[chosen], draws))
            loss = nn.functional.cross_entropy(classifier(features.clone()), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _keep(path, classifier, optimizer, epoch + 1)
        say(f"{row.label}: epoch {epoch + 1} of {epochs}, loss {loss.item():.3f}")
    with torch.inference_mode():
        predicted = classifier(tested).argmax(1).numpy()
    correct = hits(predicted, targets[test])["accuracy"]
    interval = bootstrap(correct, groups[test])
    accuracy = {"accuracy": float(correct.mean())}
    return Scores(accuracy, {0: accuracy}, {}, {"accuracy": interval} if interval else {}, test, predicted)


def _augmented(pixels: Tensor, generator: torch.Generator) -> Tensor:
    images = augment(pixels, AUGMENTATION, torch.rand(DRAWS, len(pixels), generator=generator))
    return normalise(greyscale(images, torch.rand(len(images), generator=generator) < GREY_PROBABILITY))


def _kept_file(text: str) -> Path:
    return cache_home() / "classifiers" / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"


def _keep(path: Path, classifier: nn.Linear, optimizer: torch.optim.SGD, epoch: int) -> None:
    tensors = {**classifier.state_dict(), "epoch": torch.tensor(epoch)}
    for name, parameter in classifier.named_parameters():
        tensors[f"momentum.{name}"] = optimizer.state[parameter]["momentum_buffer"]
    # A full disk costs the way back to this epoch, not the result.
    with contextlib.suppress(RunError):
        save_tensors(path, tensors)


def _continue(path: Path, classifier: nn.Linear, optimizer: torch.optim.SGD) -> int:
    """Take up what an earlier run kept; returns the first epoch that is left."""
    try:
        kept = load_file(path)
        epoch = int(kept.pop("epoch"))
        momentum = {name: kept.pop(f"momentum.{name}") for name, _ in classifier.named_parameters()}
        classifier.load_state_dict(kept)
    except (OSError, SafetensorError, KeyError, RuntimeError):
        return 0
    for name, parameter in classifier.named_parameters():
        optimizer.state[parameter]["momentum_buffer"] = momentum[name]
    return epoch
