"""Image files as frames: decoded once, bad ones named and remembered, changes seen."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch
from helpers.common import picture
from helpers.forked import python, start

from facecycle.cache import cache_home
from facecycle.data import frame_cache
from facecycle.data.frame_cache import limit, open_cache
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


def test_without_room_frames_are_the_same_and_nothing_is_kept(tmp_path: Path) -> None:
    files = FrameFiles([picture(tmp_path / f"{n}.png", n) for n in range(3)], tmp_path)
    cached, _ = files.images([2, 0], 16)
    with limit(0):
        again = FrameFiles(files.paths, tmp_path)
        direct, _ = again.images([2, 0], 16)
        assert torch.equal(cached, direct)
        files.paths[2].unlink()
        assert again.images([2], 16)[1] != [None]
    after = FrameFiles(files.paths[:1], tmp_path)  # the bound ends with its block
    after.images([0], 16)
    files.paths[0].unlink()
    assert after.images([0], 16)[1] == [None]


def test_a_system_that_cannot_reserve_room_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delattr(os, "posix_fallocate")
    monkeypatch.setattr(frame_cache, "CHUNK", 1000)
    mapped = open_cache("fingerprint", 2, 16)
    assert mapped is not None
    (file,) = (cache_home() / "frames").iterdir()
    assert file.stat().st_blocks * 512 >= file.stat().st_size == 2 * (3 * 16 * 16 + 1)
    mapped[0][1, 2] = 7
    again = open_cache("fingerprint", 2, 16)
    assert again is not None
    assert again[0][1, 2].eq(7).all()


@pytest.mark.parametrize("room", [0, 1])
def test_a_bad_frame_stays_bad_at_every_size(tmp_path: Path, room: int) -> None:
    path = tmp_path / "a.png"
    path.write_text("no image")
    files = FrameFiles([path], tmp_path)
    with limit(room):
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


def test_another_process_finds_the_frames_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [picture(tmp_path / f"{n}.png", n) for n in range(3)]
    before, _ = FrameFiles(paths, tmp_path).images([0, 2], 16)
    monkeypatch.setattr("facecycle.data.frames.read_square", lambda *_: pytest.fail("decoded again"))
    after, bad = FrameFiles(paths, tmp_path).images([2, 0], 16)
    assert torch.equal(after, before.flip(0))
    assert bad == [None, None]


def test_a_changed_image_is_decoded_again(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 1)
    before, _ = FrameFiles([path], tmp_path).images([0], 16)
    picture(path, 2)
    after, _ = FrameFiles([path], tmp_path).images([0], 16)
    assert not torch.equal(after, before)


def test_two_processes_fill_the_cache_together(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{n}.png", n) for n in range(40)]
    expected = torch.stack([read_square(path, 16) for path in paths])
    code = (
        "import sys, random; from pathlib import Path; from facecycle.data.frames import FrameFiles;"
        "root = Path(sys.argv[1]); files = FrameFiles([root / f'{n}.png' for n in range(40)], root);"
        "order = random.Random(int(sys.argv[2])).sample(range(40), 40);"
        "[files.images([n], 16) for n in order]"
    )
    both = [start(tmp_path / f"said-{seed}", python, code, tmp_path, seed) for seed in (1, 2)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    found, _ = FrameFiles(paths, tmp_path).images(range(40), 16)
    assert torch.equal(found, expected)


def test_the_cache_stays_below_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with limit(5000 / 2**30):
        for name in "abcd":  # 769 bytes at 16 px, 3,073 at 32 px
            path = picture(tmp_path / f"{name}.png", ord(name))
            for size in (16, 32):
                found, _ = FrameFiles([path], tmp_path).images([0], size)
                assert torch.equal(found[0], read_square(path, size))
    kept = list((tmp_path / "cache" / "facecycle" / "frames").iterdir())
    assert 0 < sum(file.stat().st_size for file in kept) <= 5000


def test_frames_that_the_cache_has_no_room_for_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "facecycle")
    for room, said in ((0, []), (1000 / 2**30, ["cache: 2 frames of 16 pixels need 0.0 GB"])):
        with limit(room):
            FrameFiles([picture(tmp_path / name) for name in ("a.png", "b.png")], tmp_path).images([0], 16)
        assert [message.partition(",")[0] for message in caplog.messages] == said


def test_without_room_on_the_disk_frames_are_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    path = picture(tmp_path / "a.png", 1)
    files = FrameFiles([path], tmp_path)
    before, _ = files.images([0], 16)
    path.unlink()
    after, _ = files.images([0], 16)
    assert torch.equal(after, before)
