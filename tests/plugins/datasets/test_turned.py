"""Turned faces: the head moves as its angles say, everything drawn depends on the seed alone, bad files are named."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from facecycle_plugins.datasets.unlabelled.turned import turn
from helpers.common import picture

from facecycle.errors import ConfigError
from facecycle.registry import build

STILL: dict[str, object] = {"angles": (0, 0, 0), "scale": (1, 1), "shift": 0, "bend": 0, "grey": 0}


def dot(x: float, y: float) -> torch.Tensor:
    """Draw a bright dot at grid coordinates, (1, 1, 65, 65)."""
    line = torch.linspace(-1, 1, 65)
    return torch.exp(-((line[None, :] - x) ** 2 + (line[:, None] - y) ** 2) / 0.002)[None, None]


def place(image: torch.Tensor) -> tuple[float, float]:
    """Return the centre of mass of an image (1, 1, H, W), in grid coordinates."""
    line = torch.linspace(-1, 1, image.shape[-1])
    weight = image[0, 0] / image.sum()
    return float((weight * line[None, :]).sum()), float((weight * line[:, None]).sum())


def turned(
    image: torch.Tensor,
    *,
    pitch: float = 0,
    yaw: float = 0,
    roll: float = 0,
    scale: float = 1,
    bend: tuple[float, float, float, float] = (0, 0, 0, 0),
) -> torch.Tensor:
    angles = torch.tensor([[pitch, yaw, roll]]).deg2rad()
    return turn(image, image.shape[-1], angles, torch.tensor([scale]), torch.zeros(1, 2), torch.tensor([[bend]]), 0.7)


def test_no_turn_is_the_identity() -> None:
    image = torch.rand(1, 3, 33, 33, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(turned(image), image, atol=1e-4)


def test_the_nose_moves_where_the_head_turns_to() -> None:
    nose = dot(0, 0)
    left, up = turned(nose, yaw=20), turned(nose, pitch=20)
    assert place(left)[0] < -0.05
    assert abs(place(left)[1]) < 0.01
    assert place(up)[1] < -0.05
    assert abs(place(up)[0]) < 0.01
    x, y = place(turned(dot(0.5, 0), roll=30))
    assert math.degrees(math.atan2(y, x)) == pytest.approx(30, abs=2)


def test_a_turn_and_its_mirror_image_mirror_each_other() -> None:
    image = torch.rand(1, 3, 33, 33, generator=torch.Generator().manual_seed(1))
    mirrored = turned(image.flip(-1), pitch=8, yaw=-25, roll=-10).flip(-1)
    assert torch.allclose(turned(image, pitch=8, yaw=25, roll=10), mirrored, atol=1e-3)


def test_a_larger_scale_enlarges() -> None:
    assert place(turned(dot(0.3, 0), scale=1.5))[0] == pytest.approx(0.45, abs=0.02)


def test_a_bend_moves_its_place_and_leaves_the_rest() -> None:
    # On a grid of 65 the place is pixel (38, 42), column and row, and the move two pixels right and one up.
    image = torch.rand(1, 1, 65, 65, generator=torch.Generator().manual_seed(2))
    moved = turned(image, bend=(6 / 32, 10 / 32, 2 / 32, -1 / 32))
    assert moved[0, 0, 42, 38] == pytest.approx(float(image[0, 0, 43, 36]), abs=1e-4)
    assert torch.allclose(moved[..., :16, :16], image[..., :16, :16], atol=1e-4)


def test_frames_left_as_they_are_show_the_file(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / f"{number}.png", number, (48, 48))
    plain = build("dataset", "tracks", {"path": tmp_path})
    still = build("dataset", "turned", {"path": tmp_path, "turns": 3, **STILL})
    shown, _ = still.images([0, 1, 2, 3], 32)
    files, _ = plain.images([0, 0, 0, 1], 48)
    smaller = F.interpolate(files.float(), [32, 32], mode="bilinear", align_corners=True)
    assert (shown - smaller).abs().max() <= 1


def test_each_track_becomes_takes_of_turns(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "ann" / f"{number}.png", number)
        picture(tmp_path / "bob" / f"{number}.png", 10 + number)
    data = build("dataset", "turned", {"path": tmp_path, "takes": 2, "turns": 5, "grey": 0.5})
    tracks = data.tracks()
    assert [(t.name, t.identity, len(t.frames)) for t in tracks] == [
        *((f"ann#{take}", "ann", 15) for take in range(2)),
        *((f"bob#{take}", "bob", 15) for take in range(2)),
    ]
    grey = []
    for track in tracks:
        pixels, _ = data.images(list(track.frames), 32)
        spread = (pixels.amax(1) - pixels.amin(1)).flatten(1).amax(1)
        assert (spread == 0).all() or (spread > 0).all()  # a take is grey as a whole
        grey.append(bool((spread == 0).all()))
        assert len({frame.numpy().tobytes() for frame in pixels}) == 15
    assert any(grey)
    assert not all(grey)
    other = build("dataset", "turned", {"path": tmp_path, "takes": 2, "turns": 5, "seed": 1})
    assert other.fingerprint() != data.fingerprint()
    assert not torch.equal(other.images([0], 32)[0], data.images([0], 32)[0])


def test_a_range_of_scales_rises(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="the smaller number comes first"):
        build("dataset", "turned", {"path": tmp_path, "scale": (1.1, 0.9)})


def test_a_bad_file_is_named_in_each_of_its_turns(tmp_path: Path) -> None:
    picture(tmp_path / "good.png")
    (tmp_path / "torn.png").write_bytes(b"no picture")
    data = build("dataset", "turned", {"path": tmp_path, "turns": 2})
    pixels, bad = data.images([0, 1, 2, 3], 16)
    assert [problem.name if problem else None for problem in bad] == [None, None, "torn.png", "torn.png"]
    assert pixels[2:].max() == 0
