"""Image files as frames: decoded once, bad ones named and remembered, changes seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from conftest import picture

from facecycle.data.frames import FrameFiles
from facecycle.data.images import read_square


def test_frames_are_decoded_once_and_bad_ones_named(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{n}.png", n) for n in range(4)]
    paths[2].write_text("no image")
    files = FrameFiles(paths, tmp_path)
    before, bad = files.images([3, 2, 0, 3], 16)
    assert [b.name if b else None for b in bad] == [None, "2.png", None, None]
    assert before[1].max() == 0
    assert torch.equal(before[0], before[3])
    assert torch.equal(before[2], read_square(paths[0], 16))
    for path in paths:
        path.unlink()
    after, bad = files.images([3, 2, 0, 3], 16)
    assert torch.equal(after, before)
    assert bad[1] is not None


def test_without_room_in_memory_frames_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = FrameFiles([picture(tmp_path / f"{n}.png", n) for n in range(3)], tmp_path)
    cached, _ = files.images([2, 0], 16)
    monkeypatch.setattr("facecycle.data.frames.CACHE_BYTES", 0)
    direct, _ = files.images([2, 0], 16)
    assert torch.equal(cached, direct)


@pytest.mark.parametrize("room", [0, 2**30])
def test_a_bad_frame_stays_bad_at_every_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr("facecycle.data.frames.CACHE_BYTES", room)
    path = tmp_path / "a.png"
    path.write_text("no image")
    files = FrameFiles([path], tmp_path)
    _, bad = files.images([0], 16)
    picture(path)
    pixels, again = files.images([0], 8)
    assert bad == again
    assert pixels.max() == 0


def test_the_fingerprint_follows_names_sizes_and_times(tmp_path: Path) -> None:
    paths = [picture(tmp_path / name, 1) for name in ("a.png", "b.png")]
    print_of = lambda files: FrameFiles(files, tmp_path).fingerprint()  # noqa: E731
    before = print_of(paths)
    assert print_of(paths) == before
    assert print_of(paths[::-1]) != before
    assert print_of(paths[:1]) != before
    os.utime(paths[0], ns=(1, 1))
    touched = print_of(paths)
    assert touched != before
    paths[0].unlink()
    assert print_of(paths) not in {before, touched}
