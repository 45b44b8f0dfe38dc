"""A batch of pairs: the frames it names, normalised, mirrored and changed as its configuration says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.common import picture
from helpers.training import tiny

from facecycle.data.batches import Batches
from facecycle.data.joined import JoinedTracks
from facecycle.registry import build

UNCHANGED = [
    "augmentation.crop_scale=[1, 1]",
    "augmentation.crop_ratio=[1, 1]",
    "augmentation.jitter_probability=0",
    "augmentation.mirror_probability=0",
]


def batches_of(folder: Path, *settings: str) -> Batches:
    for number in range(12):
        picture(folder / f"{number // 3}" / f"{number}.png", number)
    config = tiny("pairs=4", *settings)
    data = JoinedTracks([build("dataset", "tracks", {"path": str(folder)})])
    return Batches(data, config, "direct", config.stages["direct"])


def shown(batches: Batches, step: int) -> torch.Tensor:
    """The frames that a step names, in ImageNet normalisation: the first images, then the second."""
    pixels, _ = batches.data.images(batches.prepare_and_fetch(step).frames, batches.config.size)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (pixels / 255 - mean) / std


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_batch_shows_the_frames_it_names_or_the_mirror_images_of_the_first(tmp_path: Path, mirrored: bool) -> None:
    batches = batches_of(tmp_path, *UNCHANGED, f"stages.direct.mirror_pair={int(mirrored)}")
    first, second = shown(batches, 3).chunk(2)
    pairs = batches.batch(3)
    assert torch.allclose(pairs.first, first, atol=1e-5)
    assert torch.allclose(pairs.second, first.flip(-1) if mirrored else second, atol=1e-5)
    assert not torch.allclose(pairs.second, pairs.first, atol=0.1)


def test_images_of_a_batch_are_augmented(tmp_path: Path) -> None:
    batches = batches_of(tmp_path, "stages.direct.mirror_pair=0")
    pairs = batches.batch(3)
    for image, frame in zip(torch.cat([pairs.first, pairs.second]), shown(batches, 3), strict=True):
        assert not torch.allclose(image, frame, atol=1e-3)
