"""Videos are read upright, with their own times, to their end; what is missing in them is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.clips import FACE, MEADOW, cut, read, shifted, with_unknown_codec, write_sound, write_video

from facecycle.data.video import ahead, frames, is_video, missing
from facecycle.errors import DataError

FRONT = {"movflags": "+faststart"}


def found(path: Path) -> tuple[int, float]:
    """Return how many frames a video holds, and when the last is shown."""
    seconds = [frame.seconds for frame in frames(path)]
    return len(seconds), seconds[-1]


def test_what_is_called_as_videos_are(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    names = ("a.MP4", "b.webm", "c.jpg", "folder.mp4", "d")
    assert [is_video(tmp_path / name) for name in names] == [True, True, False, False, False]


def test_frames_come_with_the_times_that_they_are_shown_at(tmp_path: Path) -> None:
    times = [0, 40, 55, 200, 1300, 1310]
    seconds, pictures, _ = read(write_video(tmp_path / "a.mp4", [shifted(n) for n in range(6)], times))
    assert seconds == pytest.approx([time / 1000 for time in times], abs=1e-3)
    for number, picture in enumerate(pictures):
        assert abs(picture.astype(int) - shifted(number)).mean() < 6


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_phone_that_was_held_otherwise_is_turned(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "a.mp4", [np.rot90(FACE, -rotation // 90)], rotation=rotation)
    (frame,) = frames(path)
    assert frame.pixels.shape == FACE.shape
    assert abs(frame.pixels.astype(int) - FACE).mean() < 6


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
def test_nothing_is_missing_in_a_whole_file(tmp_path: Path, suffix: str) -> None:
    codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(suffix, "libx264")
    sound = 0 if suffix in (".webm", ".avi") else 3.5  # longer than the pictures
    path = write_video(tmp_path / f"a{suffix}", [shifted(n) for n in range(50)], sound=sound, codec=codec)
    assert found(path) == (50, pytest.approx(1.96, abs=2e-3))
    assert missing(path, *found(path)) == 0
    assert missing(path, 25, 0.96) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("name", "options"), [("a.mp4", FRONT), ("a.mkv", {}), ("a.avi", {})])
def test_a_file_that_was_cut_short_yields_what_it_holds(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    pictures = [np.random.default_rng(n).integers(0, 256, FACE.shape, dtype=np.uint8) for n in range(50)]
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = cut(write_video(tmp_path / name, pictures, codec=codec, options=options), 0.5)
    count, end = found(path)
    assert 10 < count < 40
    assert missing(path, count, end) == pytest.approx((50 - count) / 25, abs=0.05)


def test_frames_that_were_trimmed_away_are_not_missing(tmp_path: Path) -> None:
    """Phones trim a clip by a list of what is to be shown; the frames before stay in the file."""
    path = write_video(
        tmp_path / "a.mp4",
        [shifted(n) for n in range(50)],
        [40 * n - 800 for n in range(50)],
        codec="mpeg4",
        options={"avoid_negative_ts": "disabled", "use_editlist": "1"},
    )
    count, end = found(path)
    assert count == 30
    assert missing(path, count, end) == 0


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_damaged_bytes_cost_frames_or_are_said(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    path = write_video(tmp_path / f"a{suffix}", [shifted(n)[:88, :96] for n in range(6)])
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    counts = set()
    for _ in range(30):
        data = whole.copy()
        data[rng.integers(0, len(data), 50)] = rng.integers(0, 256, 50)
        path.write_bytes(data.tobytes())
        try:
            counts.add(len(list(frames(path))))
        except DataError:
            counts.add(-1)
    assert -1 in counts  # as its title says: nothing else was raised, though much was damaged
    assert max(counts) <= 6


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    whole = write_video(tmp_path / "a.mp4", [MEADOW] * 3)
    for path, message in (
        (tmp_path / "text.mp4", r"text\.mp4: not a video"),
        (tmp_path / "empty.mp4", r"empty\.mp4: not a video"),
        (tmp_path / "gone.mp4", r"there is no file .*gone\.mp4"),
        (cut(whole, 0.5), r"cut\.mp4: not a video"),  # its index was to come last
        (write_sound(tmp_path / "heard.mp4"), r"heard\.mp4: there is no video stream"),
        (with_unknown_codec(whole), r"odd\.mp4: no decoder"),
    ):
        with pytest.raises(DataError, match=message):
            list(frames(path))


def test_what_a_thread_raises_is_raised_where_its_items_are_used() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("the sixth")

    found: list[int] = []
    with pytest.raises(ValueError, match="the sixth"):
        found.extend(ahead(items(), 2))
    assert next(ahead(iter(range(1000)), 2)) == 0  # what is left over ends its thread


def test_a_name_is_a_file_and_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.mp4", [FACE] * 2).rename("12:30.mp4")
    assert list(frames(Path("12:30.mp4")))
    for name in ("gone.mp4", "concat:12:30.mp4", "http://127.0.0.1:9/clip.mp4"):
        with pytest.raises(DataError, match="there is no file"):
            list(frames(Path(name)))


def test_a_list_of_other_files_is_no_video(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", [FACE] * 2)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile clip.mp4\n")
    with pytest.raises(DataError, match="not a video that can be read"):
        list(frames(tmp_path / "list.mp4"))
