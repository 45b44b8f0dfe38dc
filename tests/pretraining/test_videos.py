"""Videos as data: cropped once, to tracks in the cache, which are trained on while the run names the videos."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

import pytest
from helpers.clips import FACE, MEADOW, shifted, write_video
from helpers.common import Command, refused
from helpers.training import TINY, tiny

from facecycle.atomic import lock
from facecycle.cache import cache_home
from facecycle.config.settings import RunConfig
from facecycle.errors import DataError
from facecycle.faces import crop_folder
from facecycle.pretraining.videos import joined_tracks


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # processes take seconds to begin


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The videos that are cropped from now on."""
    names, crop = list[str](), crop_folder.crop_video

    def crop_video(work, name):  # type: ignore[no-untyped-def]
        names.append(name)
        return crop(work, name)

    monkeypatch.setattr(crop_folder, "crop_video", crop_video)
    return names


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos of a face, of eleven frames, one without any, and one that is none."""
    root = tmp_path / "in"
    for name in ("p1/a.mp4", "p2/b.mkv"):
        write_video(root / name, [shifted(n) for n in range(11)])
    write_video(root / "meadow.mp4", [MEADOW] * 2)
    (root / "text.mov").write_text("no video")
    return root


def config_of(path: Path, *more: str) -> RunConfig:
    return tiny(f"data=[{{name='tracks', options={{path='{path}'}}}}]", *more)


def test_videos_are_cropped_once(videos: Path, seen: list[str]) -> None:
    said, again = list[str](), list[str]()
    joined = joined_tracks(config_of(videos), said.append)
    assert [(track.name, track.identity, len(track.frames)) for track in joined.tracks] == [
        ("p1/a", "p1", 3),
        ("p2/b", "p2", 3),
    ]
    (out,) = (cache_home() / "crops").iterdir()
    assert said[0] == f"{videos}: its faces are cropped once, to tracks in {out}; a command that is stopped goes on"
    assert any(line.startswith("unreadable  text.mov: not a video") for line in said)
    assert "no face  meadow.mp4 in 1 frames" in said
    assert f"{out}: crops of 6 of 7 images; 1 without a face, 1 unreadable" in said
    assert sorted(seen) == ["meadow.mp4", "p1/a.mp4", "p2/b.mkv", "text.mov"]
    joined_tracks(config_of(videos), again.append)
    assert (
        again[0] == f"{videos}: its faces were cropped before, to the tracks in {out}; what has changed is cropped now"
    )
    assert len(seen) == 4
    pixels, bad = joined.images([0, 5], 32)
    assert (pixels.shape, bad) == ((2, 3, 32, 32), [None, None])


def test_larger_images_are_cropped_anew(videos: Path, seen: list[str]) -> None:
    for more, count in (("size=64", 4), ("size=128", 4), ("size=160", 8)):
        joined_tracks(config_of(videos, more), lambda line: None)
        assert len(seen) == count


def test_a_video_that_came_or_was_replaced_is_cropped_alone_and_tracks_of_one_that_is_gone_go(
    videos: Path, seen: list[str]
) -> None:
    joined_tracks(config_of(videos))
    seen.clear()
    write_video(videos / "p1" / "c.mp4", [FACE] * 6)
    assert [track.name for track in joined_tracks(config_of(videos)).tracks] == ["p1/a", "p1/c", "p2/b"]
    assert seen == ["p1/c.mp4"]
    write_video(videos / "p2" / "b.mkv", [FACE] * 6)
    (videos / "p1" / "a.mp4").unlink()
    tracks = joined_tracks(config_of(videos)).tracks
    assert [(track.name, len(track.frames)) for track in tracks] == [("p1/c", 2), ("p2/b", 2)]
    assert seen == ["p1/c.mp4", "p2/b.mkv"]


def test_a_stopped_command_goes_on(videos: Path, seen: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(line: str) -> None:
        if line == "2 of 4 videos are cropped":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        joined_tracks(config_of(videos), stop)
    assert len(seen) == 2
    said: list[str] = []
    assert len(joined_tracks(config_of(videos), said.append).tracks) == 2
    assert len(seen) == len(set(seen)) == 4
    assert any("(2 of 4 files had been done before)" in line for line in said)


def test_a_command_says_that_it_waits_for_another(videos: Path) -> None:
    joined_tracks(config_of(videos))
    (out,), said = (cache_home() / "crops").iterdir(), list[str]()
    with contextlib.ExitStack() as other:
        other.enter_context(lock(out))
        guard = threading.Timer(60, other.close)  # to fail, and not to wait for ever, where nothing is said
        other.callback(guard.cancel)
        guard.start()

        def say(line: str) -> None:
            said.append(line)
            if line.startswith("waiting"):
                other.close()

        joined_tracks(config_of(videos), say)
    assert said[1] == f"waiting for another process that is writing to {out}"
    assert sum(line.startswith("waiting") for line in said) == 1


def test_videos_without_a_face_are_one_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "meadow.mp4", [MEADOW] * 3)
    for _ in range(2):
        with pytest.raises(DataError, match=r"no face was found in any image of .*meadow\.mp4"):
            joined_tracks(config_of(path), lambda line: None)


def test_what_is_no_video_is_refused_without_a_word_of_faces(tmp_path: Path) -> None:
    path, said = tmp_path / "text.mp4", list[str]()
    path.write_text("no video")
    with pytest.raises(DataError, match=r"nothing of .*text\.mp4 can be read") as error:
        joined_tracks(config_of(path), said.append)
    assert "--detector" not in str(error.value.hint)
    assert any(line.startswith("unreadable  text.mp4: not a video") for line in said)


def test_a_run_says_that_it_was_trained_on_videos_and_is_resumed(
    inside: Command, tmp_path: Path, seen: list[str]
) -> None:
    write_video(tmp_path / "a.mp4", [FACE] * 11)
    settings = [word for text in TINY if not text.startswith(("data", "stages")) for word in ("--set", text)]
    first = inside("pretrain", "--data", "a.mp4", "--out", "run", "--cycle", "expression", "--steps", 1, *settings)
    assert first.returncode == 0, first.stderr
    assert "data: 1 tracks of 1 people, 3 images" in first.stdout
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"] == [{"name": "tracks", "options": {"path": "a.mp4"}}]
    again = inside("pretrain", "--resume", "--out", "run")
    assert again.returncode == 0, again.stderr
    assert "a.mp4: its faces were cropped before" in again.stdout
    assert seen == ["a.mp4"]
    refused(inside("data", "check", "tracks", "a.mp4"), "a.mp4 is a video", "facecycle data crop a.mp4")
