"""Features that are not finite are named by their images, and no classifier learns from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from facecycle.api import Labelled
from facecycle.errors import DataError
from facecycle.probing.extraction import Feature, refuse_non_finite
from facecycle.probing.protocols.facecycle_raf import sgd_classifier

PIXELS = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 3, 100, 100).contiguous()
FOLDS = np.r_[np.full(8, -1), 0, 0]
LABELS = Labelled(np.arange(10), np.arange(10) % 2, FOLDS, np.arange(10), classes=("a", "b"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_images_whose_features_are_not_finite_are_named(value: float) -> None:
    found = torch.ones(10, 4)
    refuse_non_finite("mean", found)
    found[3, 1] = found[7, 0] = value
    with pytest.raises(DataError, match="the feature mean is not finite for 2 of 10 images, first for image 3"):
        refuse_non_finite("mean", found)


def mean(compute: Callable[[Tensor], Tensor], key: str) -> Feature:
    return Feature("mean", key, lambda images, names: {"map": compute(images)}, 100)


def test_no_classifier_learns_from_what_is_not_finite() -> None:
    plain = mean(lambda images: images.mean(dim=(2, 3)), "plain")
    assert sgd_classifier(plain, PIXELS, "mark", LABELS, epochs=1).metrics
    with pytest.raises(DataError, match="2 of 2 images"):
        sgd_classifier(mean(lambda images: images.mean(dim=(2, 3)) / 0, "tested"), PIXELS, "mark", LABELS, epochs=1)
    tested_and_trained_on = iter([torch.ones(2, 3), torch.full((8, 3), torch.inf)])
    with pytest.raises(DataError, match="8 of 8 images"):
        sgd_classifier(mean(lambda images: next(tested_and_trained_on), "trained"), PIXELS, "mark", LABELS, epochs=1)
