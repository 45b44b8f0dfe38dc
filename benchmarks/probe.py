"""Probing against the loop it replaces: python benchmarks/probe.py [IMAGES].

The loop runs the encoder in every epoch with gradients on and backpropagates through it, as the public reference
does for RAF-DB; ours runs it once, in inference mode, with channels-last convolutions.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from common import Result, interleave, ratio, seconds
from torch import nn

from facecycle.api import Labelled
from facecycle.data.images import from_uint8
from facecycle.probing.extraction import extract, network_features
from facecycle.probing.protocols.linear import Linear
from facecycle.registry import build

SIZE = 100
BATCH = 64
ROUNDS = 3
CLASSES = 7
RAF_DB = 12_271 + 3_068
EPOCHS = 300


def loop(encoder: nn.Module, classifier: nn.Linear, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """One epoch as the reference does it; returns the features it computed on the way."""
    seen = []
    for images, labels in zip(pixels.split(BATCH), targets.split(BATCH), strict=True):
        features = encoder(from_uint8(images)).flatten(1)
        encoder.zero_grad()
        classifier.zero_grad()
        nn.functional.cross_entropy(classifier(features), labels).backward()
        seen.append(features.detach())
    return torch.cat(seen)


def measure(count: int = 256) -> list[Result]:
    """Check that both compute the same features, time them in turn, and time the protocol `linear` on RAF-DB's size."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    targets = torch.randint(0, CLASSES, (count,), generator=generator)
    torch.manual_seed(0)
    plain, ours = build("encoder", "facecycle"), build("encoder", "facecycle")
    ours.load_state_dict(plain.state_dict())
    whole = network_features(ours, lambda images, _: {"conv": ours(images)}, SIZE, [("conv", "", "conv")])
    (features,) = extract(whole, pixels)
    classifier = nn.Linear(features.shape[1], CLASSES)
    error = (features - loop(plain, classifier, pixels, targets)).abs().max() / features.abs().max()
    assert error < 1e-4, f"the features differ by {error:.1e} of the largest"
    taken = interleave(
        {
            "loop": lambda: seconds(lambda: loop(plain, classifier, pixels, targets)),
            "once": lambda: seconds(lambda: extract(whole, pixels)),
        },
        ROUNDS,
    )
    one = ratio("probe: features, one epoch", taken["loop"], taken["once"])
    rate = count / statistics.median(taken["once"])
    print(f"paper's encoder, {SIZE} px, {features.shape[1]}-d, {torch.get_num_threads()} threads, {ROUNDS} rounds")
    print(f"loop with gradients   {count / statistics.median(taken['loop']):8.1f} images/s")
    print(f"features, once        {rate:8.1f} images/s")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, RAF_DB)
    means = rng.normal(size=(CLASSES, features.shape[1])) * 0.03
    found = (rng.normal(size=(RAF_DB, features.shape[1])) + means[labels]).astype(np.float32)
    folds = np.where(np.arange(RAF_DB) < 12_271, -1, 0)
    start = time.perf_counter()
    row = Linear().fit(found, Labelled(np.arange(RAF_DB), labels, folds, np.arange(RAF_DB)))
    fit = time.perf_counter() - start
    extraction = RAF_DB / rate
    print(
        f"protocol linear, {RAF_DB:,} images: {extraction:.0f} s for features (at the rate above) + {fit:.0f} s for "
        f"the classifiers = {(extraction + fit) / 60:.1f} min (drawn features: {row.metrics['accuracy']:.0%} right)"
    )
    # The loop runs the encoder in every epoch, and the probe once.
    every = replace(one, name=f"probe: features, {EPOCHS} epochs", ratio=EPOCHS * one.ratio)
    return [one, replace(every, low=EPOCHS * one.low, high=EPOCHS * one.high, target=100.0)]


if __name__ == "__main__":
    for result in measure(*map(int, sys.argv[1:2])):
        print(result.line())
