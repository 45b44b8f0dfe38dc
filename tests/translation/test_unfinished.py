"""A video whose making was stopped or killed goes on where it was, ends the same, and never mixes two makings."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.clips import FACE, shifted, write_video
from PIL import Image

from facecycle.atomic import lock, move
from facecycle.checkpoints.places import SHIPPED
from facecycle.errors import DataError, FacecycleError, RunError
from facecycle.runtimes.base import Runtime
from facecycle.runtimes.by_onnx import OnnxRuntime
from facecycle.translation import video as module
from facecycle.translation.files import Wanted
from facecycle.translation.video import translate_video

HIDDEN = ".clip-pasted.mp4.unfinished"
ENDING = """
import os, sys
import facecycle.translation.video as video
video.PART = 8
save, number = video.save, int(sys.argv.pop(1))
def ending(path, arrays):
    save(path, arrays)
    if path.name == "frames-000000008.npz":
        os.kill(os.getpid(), number)
video.save = ending
from facecycle_cli.main import run
run()
"""


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return OnnxRuntime(SHIPPED)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames, of which three are parts of eight, at uneven times, with a tone."""
    times = np.cumsum(np.random.default_rng(0).integers(10, 90, 20)).tolist()
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", [shifted(n) for n in range(20)], times, sound=1)


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 8)


@pytest.fixture
def whole(runtime: Runtime, clip: Path, tmp_path: Path) -> bytes:
    """The file that a command makes which nobody stops."""
    return translate_video(runtime, clip, tmp_path / "whole").path.read_bytes()


def stopping_at(text: str) -> Callable[[str], None]:
    def tell(told: str) -> None:
        if text in told:
            raise KeyboardInterrupt

    return tell


def stopped(runtime: Runtime, clip: Path, out: Path, text: str = " 13 of 20", driver: Path | None = None) -> list[str]:
    """Stop a command where it tells a text; return what it says."""
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        translate_video(runtime, clip, out, driver=driver, tell=stopping_at(text), say=said.append)
    return said


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_stopped_command_goes_on_where_it_was(runtime: Runtime, clip: Path, tmp_path: Path, whole: bytes) -> None:
    out, told = tmp_path / "out", list[str]()
    assert stopped(runtime, clip, out) == [
        f"{out}/clip-pasted.mp4 is not finished; the same command goes on where it was"
    ]
    assert names(out) == [HIDDEN]
    assert names(out / HIDDEN) == ["face.npz", "frames-000000000.npz", "plan.json"]
    assert stopped(runtime, clip, out, " 19 of 20")[0] == f"{clip}: goes on after 8 of 20 frames"
    made = translate_video(runtime, clip, out, tell=told.append)
    assert [text.partition(",")[0] for text in told] == [f"clip.mp4: {n} of 20 frames" for n in range(17, 21)]
    assert (made.frames, made.moved, made.cut_short) == (20, 20, 0)
    assert made.path.read_bytes() == whole
    assert names(out) == ["clip-pasted.mp4"]


def test_the_time_left_is_said_once_a_second_batch_was_timed(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    told: list[str] = []
    translate_video(runtime, clip, tmp_path, tell=told.append)
    moved = [text for text in told if " of 20 frames" in text]
    assert [" s left" in text for text in moved] == [False] * 15 + [True] * 5
    assert moved[-1] == "clip.mp4: 20 of 20 frames, 0 s left"


def test_one_that_was_stopped_while_parts_were_joined_goes_on(
    runtime: Runtime, clip: Path, tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "move", stop)
    with pytest.raises(KeyboardInterrupt):
        translate_video(runtime, clip, tmp_path)
    monkeypatch.setattr(module, "move", move)
    told: list[str] = []
    made = translate_video(runtime, clip, tmp_path, tell=told.append)
    assert told == []
    assert made.path.read_bytes() == whole


def test_one_that_was_stopped_before_anything_was_kept_leaves_nothing(
    runtime: Runtime, clip: Path, tmp_path: Path
) -> None:
    assert stopped(runtime, clip, tmp_path, "looked for a face up to frame 3") == []
    assert names(tmp_path) == []


def test_a_driver_is_looked_at_once(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    driver = write_video(tmp_path / "driver.mkv", [np.ascontiguousarray(shifted(n)[:, ::-1]) for n in range(6)])
    whole = translate_video(runtime, clip, tmp_path / "whole", driver=driver).path.read_bytes()
    stopped(runtime, clip, tmp_path / "out", driver=driver)
    told: list[str] = []
    made = translate_video(runtime, clip, tmp_path / "out", driver=driver, tell=told.append)
    assert not any("driver.mkv" in text for text in told)
    assert made.path.read_bytes() == whole


def test_what_was_kept_of_other_settings_is_thrown_away(
    runtime: Runtime, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "clip.mp4"
    own.write_bytes(clip.read_bytes())
    Image.fromarray(FACE[:, ::-1]).save(tmp_path / "other.png")

    def again(*names: str, wanted: Wanted = Wanted(), driver: Path | None = None) -> None:
        said, told = list[str](), list[str]()

        def tell(text: str) -> None:
            told.append(text)
            stopping_at(" 13 of 20")(text)

        with pytest.raises(KeyboardInterrupt):
            translate_video(runtime, own, tmp_path / "out", wanted, driver, tell, said.append)
        assert told[0] == "clip.mp4: looked for a face up to frame 1"
        if names:
            assert said[0].endswith(f"it is made from its beginning, because this has changed: {', '.join(names)}")

    again()
    again("--strength", wanted=Wanted(strength=0.5))
    again("--driver", "--detector", "--strength", wanted=Wanted(detector="centre"), driver=tmp_path / "other.png")
    again("--driver", "--detector")
    os.utime(own, ns=(1, 1))
    again("the video")
    monkeypatch.setattr(OnnxRuntime, "sha256", lambda self: "other")
    again("the weights")
    monkeypatch.setattr(module, "version", lambda name: "0.0.1")
    again("the program")
    (tmp_path / "out" / HIDDEN / "plan.json").unlink()
    again()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_ends_leaves_a_hidden_folder_alone(
    clip: Path, tmp_path: Path, whole: bytes, number: signal.Signals
) -> None:
    out = tmp_path / "out"

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", ENDING, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    ended = run(int(number), "translate", clip, "--out", out)
    assert ended.returncode == (128 + number if number == signal.SIGTERM else -number), ended.stderr
    assert ("the same command goes on where it was" in ended.stdout) == (number == signal.SIGTERM)
    assert names(out) == [HIDDEN]
    finished = run(int(number), "translate", clip, "--out", out)
    assert finished.returncode == 0, finished.stderr
    assert "goes on after 16 of 20 frames" in finished.stdout
    assert names(out) == ["clip-pasted.mp4"]
    assert (out / "clip-pasted.mp4").read_bytes() == whole


def test_an_older_video_stands_until_the_new_one_is_whole(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.mp4").write_text("older")
    (tmp_path / "clip-pasted.mp4").symlink_to("far/a.mp4")
    stopped(runtime, clip, tmp_path)
    assert (tmp_path / "clip-pasted.mp4").read_text() == "older"
    translate_video(runtime, clip, tmp_path)
    assert (tmp_path / "clip-pasted.mp4").is_symlink()
    assert names(tmp_path / "far") == ["a.mp4"]
    assert (tmp_path / "far" / "a.mp4").stat().st_size > 1000


def test_two_processes_do_not_make_one_video(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    with lock(tmp_path / HIDDEN), pytest.raises(RunError, match="another process is writing to"):
        translate_video(runtime, clip, tmp_path)


def test_a_folder_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, flock = tmp_path / "folder", fcntl.flock

    def late(descriptor: int, how: int) -> None:
        """Come when the one who had the folder has removed it, which was opened before."""
        monkeypatch.setattr(fcntl, "flock", flock)
        folder.rmdir()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with lock(folder), pytest.raises(RunError, match="another process"), lock(folder):
        raise AssertionError("two have it")
    with lock(folder):
        pass


def test_a_damaged_part_is_named_and_all_is_made_again(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    stopped(runtime, clip, tmp_path)
    part = tmp_path / HIDDEN / "frames-000000000.npz"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(DataError, match=r"frames-000000000\.npz is damaged[\s\S]*begins again"):
        translate_video(runtime, clip, tmp_path)
    assert not (tmp_path / HIDDEN).exists()


def test_a_mistake_costs_nothing_of_what_was_kept(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    out, meadow = tmp_path / "out", tmp_path / "meadow.png"
    Image.fromarray(np.full_like(FACE, 90)).save(meadow)
    (tmp_path / "none.mp4").write_text("no video")
    stopped(runtime, clip, out)
    before = names(out / HIDDEN)
    for driver in (tmp_path / "gone.png", tmp_path / "gone.mp4", meadow, tmp_path / "none.mp4"):
        with pytest.raises(DataError, match=driver.name):
            translate_video(runtime, clip, out, driver=driver)
    with pytest.raises(FacecycleError, match="Did you mean yunet"):
        translate_video(runtime, clip, out, Wanted(detector="yunnet"))
    assert names(out / HIDDEN) == before
    assert len(before) > 1


def test_a_mistake_leaves_nothing(runtime: Runtime, tmp_path: Path) -> None:
    meadow = write_video(tmp_path / "in" / "meadow.mp4", [np.full_like(FACE, 90)] * 3)
    with pytest.raises(DataError, match="no face was found"):
        translate_video(runtime, meadow, tmp_path / "out")
    assert names(tmp_path / "out") == []
