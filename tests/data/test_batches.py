"""A batch of pairs: the frames it names, normalised, mirrored and changed as its configuration says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from helpers.common import picture
from helpers.training import tiny
from torch import Tensor

from facecycle.api import BadFrame, Labelled, Task, Track
from facecycle.data.batches import Batches
from facecycle.data.joined import JoinedTracks
from facecycle.errors import DataError, NotOffered
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


def rows(batches: Batches, step: int) -> torch.Tensor:
    """The frames that a step names, (P, 2 + K, 3, H, W)."""
    count, images = batches.pairs, shown(batches, step)
    pairs = images[: 2 * count].unflatten(0, (2, count)).transpose(0, 1)
    return torch.cat([pairs, images[2 * count :].unflatten(0, (count, -1))], 1)


def test_further_frames_stand_beside_their_pair_and_every_frame_has_its_place(tmp_path: Path) -> None:
    batches = batches_of(tmp_path, *UNCHANGED, "stages.direct.pairing=sequence", "stages.direct.frames=3")
    batch = batches.batch(5)
    assert batch.further is not None
    assert batch.places is not None
    stacked = torch.cat([torch.stack([batch.first, batch.second], 1), batch.further], 1)
    assert torch.allclose(stacked, rows(batches, 5), atol=1e-5)
    assert batch.places.tolist() == [[0, 1, 2]] * 4
    assert sorted(batch.tracks.tolist()) == [0, 1, 2, 3]  # type: ignore[union-attr]


def test_people_of_two_data_sets_are_different(tmp_path: Path) -> None:
    data = batches_of(tmp_path).data.datasets
    joined = JoinedTracks([*data, *data])
    assert joined.people.tolist() == list(range(8))


class Made:
    """A data set of two frames, whose images are given."""

    licence = "none"

    def __init__(self, pixels: Tensor, *tracks: Track) -> None:
        self.pixels, self.own = pixels, list(tracks)

    def tracks(self) -> list[Track]:
        return self.own

    def labelled(self, task: Task) -> Labelled:
        raise NotOffered(task)

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        return self.pixels, [None] * len(frames)

    def fingerprint(self) -> str:
        return ""


@pytest.mark.parametrize("pixels", [torch.rand(2, 3, 16, 16), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)])
def test_images_that_are_not_as_asked_for_are_refused(pixels: Tensor) -> None:
    track = Track("a", "a", range(2))
    for data in ([Made(pixels, track)], [Made(pixels, track)] * 2):
        with pytest.raises(DataError, match=r"Made gives images \(2, 3, .*, where \(2, 3, 16, 16\) of torch.uint8"):
            JoinedTracks(data).images([0, 1], 16)


def test_a_track_without_frames_is_refused() -> None:
    with pytest.raises(DataError, match="the track a of Made has no frames"):
        JoinedTracks([Made(torch.empty(0), Track("a", "a", ()))])


def test_a_frame_that_cannot_be_read_is_replaced_by_the_one_before_it(tmp_path: Path) -> None:
    batches = batches_of(tmp_path, *UNCHANGED, "stages.direct.pairing=sequence", "stages.direct.frames=3")
    for name in ("0/1.png", "2/6.png", "2/7.png"):
        (tmp_path / name).write_text("no image")
    batch = batches.batch(0)
    assert batch.places is not None
    assert batch.tracks is not None
    found = dict(zip(batch.tracks.tolist(), batch.places.tolist(), strict=True))
    assert found == {0: [0, 0, 2], 1: [0, 1, 2], 2: [2, 2, 2], 3: [0, 1, 2]}


def test_short_tracks_are_left_out_of_sequences_alone(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / "short" / f"{number}.png")
    batches = batches_of(tmp_path, "stages.direct.pairing=sequence", "stages.direct.frames=3", "pairs=2")
    assert batches.epoch_length == 2
    seen = {track for step in range(6) for track in batches.batch(step).tracks.tolist()}  # type: ignore[union-attr]
    assert seen == {0, 1, 2, 3}
    assert batches_of(tmp_path, "pairs=1").epoch_length == 5
