"""Videos keep their times, their sound and their size, and their faces move; what cannot be read is one message."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.clips import FACE, MEADOW, cut, read, shifted, with_unknown_codec, write_sound, write_video
from helpers.common import Command, refused
from PIL import Image

from facecycle.checkpoints.places import SHIPPED
from facecycle.data.images import Crop
from facecycle.errors import ConfigError, DataError
from facecycle.runtimes.base import Runtime
from facecycle.runtimes.by_onnx import OnnxRuntime
from facecycle.translation.files import Wanted
from facecycle.translation.video import translate_video


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return OnnxRuntime(SHIPPED)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of a face, shown at uneven times, with a tone of a second."""
    times = [0, 40, 90, 200, 240, 280, 350, 400, 440, 480, 600, 640]
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", [shifted(n) for n in range(12)], times, sound=1)


def test_times_sound_and_size_stay(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    made = translate_video(runtime, clip, tmp_path, Wanted(strength=0))
    assert made.path == tmp_path / "clip-pasted.mp4"
    assert (made.frames, made.moved, made.cut_short) == (12, 12, 0)
    (times, pictures, sound), (other_times, others, other_sound) = read(clip), read(made.path)
    assert times == pytest.approx(other_times, abs=1e-3)
    assert sound == other_sound
    assert len(sound) > 10
    for picture, other in zip(pictures, others, strict=True):
        assert picture.shape == other.shape
        assert abs(picture.astype(int) - other).mean() < 3  # it is compressed again


def test_faces_move_and_what_is_beside_them_does_not(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    still = read(translate_video(runtime, clip, tmp_path / "still", Wanted(strength=0)).path)[1]
    moved = read(translate_video(runtime, clip, tmp_path / "moved").path)[1]
    off = np.mean([abs(a.astype(int) - b) for a, b in zip(still, moved, strict=True)], axis=(0, 3))
    assert off[:, :30].mean() < 1
    assert off[60:130, 80:120].mean() > 3


def test_frames_without_a_face_stay_and_are_counted(runtime: Runtime, tmp_path: Path) -> None:
    pictures = [MEADOW if 8 <= number < 24 else FACE for number in range(32)]
    made = translate_video(runtime, write_video(tmp_path / "a.mp4", pictures), tmp_path)
    assert made.frames == 32
    assert 12 <= made.moved <= 16  # where there was none, every fifth frame is searched
    meadow = write_video(tmp_path / "meadow.mp4", [MEADOW] * 3)
    expected = r"meadow\.mp4: no face was found in any of 3 frames\n.*--crop X,Y,W,H .*--detector centre"
    with pytest.raises(DataError, match=expected):
        translate_video(runtime, meadow, tmp_path)
    for said in (Wanted(crop=Crop(10, 20, 90, 90)), Wanted(detector="centre")):
        assert translate_video(runtime, meadow, tmp_path, said).moved == 3


def test_a_face_wears_the_expression_of_a_photograph_or_follows_a_video(
    runtime: Runtime, clip: Path, tmp_path: Path
) -> None:
    Image.fromarray(FACE[:, ::-1]).save(tmp_path / "other.png")
    turned = write_video(tmp_path / "other.mp4", [FACE[:, ::-1], np.ascontiguousarray(shifted(2)[:, ::-1])])
    alone = read(translate_video(runtime, clip, tmp_path / "alone").path)[1]
    for driver in (tmp_path / "other.png", turned):
        driven = read(translate_video(runtime, clip, tmp_path / driver.suffix[1:], driver=driver).path)[1]
        assert len(driven) == 12
        assert np.mean([abs(a.astype(int) - b).mean() for a, b in zip(alone, driven, strict=True)]) > 0.3
    with pytest.raises(DataError, match="no face was found"):
        translate_video(runtime, clip, tmp_path, driver=write_video(tmp_path / "meadow.mp4", [MEADOW] * 2))


def test_a_video_and_its_driver_begin_together(runtime: Runtime, tmp_path: Path) -> None:
    """Whenever their clocks do: those of broadcasts count for hours."""
    driver = write_video(tmp_path / "other.mp4", [FACE, FACE[:, ::-1]])
    times = [40 * n for n in range(3)]
    made = []
    for name, begin in (("a", 0), ("b", 5000)):
        path = write_video(tmp_path / f"{name}.mkv", [FACE] * 3, [begin + time for time in times])
        made.append(read(translate_video(runtime, path, tmp_path, driver=driver).path)[1])
    for picture, other in zip(*made, strict=True):
        assert np.array_equal(picture, other)


def test_a_frame_of_a_driver_holds_until_the_next_one(runtime: Runtime, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", [FACE] * 4, [0, 160, 200, 240], codec="ffv1")
    driver = write_video(tmp_path / "other.mkv", [FACE, FACE[:, ::-1]], [0, 200], codec="ffv1")
    made = [each.astype(int) for each in read(translate_video(runtime, path, tmp_path, driver=driver).path)[1]]
    held, changed, after = (abs(one - other).mean() for one, other in pairwise(made))
    assert changed > 1
    assert max(held, after) < changed / 10


def test_odd_sides_and_other_containers(runtime: Runtime, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", [FACE[:-1, :-1]] * 3, codec="ffv1")
    made = translate_video(runtime, path, tmp_path)
    assert made.path.name == "a-pasted.mkv"
    assert read(made.path)[1][0].shape == FACE.shape


def test_what_is_no_video_is_said(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    for path, message in (
        (tmp_path / "text.mp4", r"text\.mp4: not a video"),
        (tmp_path / "empty.mp4", r"empty\.mp4: not a video"),
        (cut(tmp_path / "a.mp4", 0.5), r"cut\.mp4: not a video"),  # its index was to come last
        (write_sound(tmp_path / "heard.mp4"), r"heard\.mp4: there is no video stream"),
        (write_video(tmp_path / "none.mp4", []), r"none\.mp4: there is no"),
        (with_unknown_codec(tmp_path / "a.mp4"), r"odd\.mp4: no decoder"),
    ):
        with pytest.raises(DataError, match=message):
            translate_video(runtime, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rotation", [90, 270])
def test_a_phone_that_was_held_otherwise_is_turned(runtime: Runtime, tmp_path: Path, rotation: int) -> None:
    upright = write_video(tmp_path / "upright.mp4", [shifted(n) for n in range(6)])
    stored = [np.rot90(shifted(n), -rotation // 90) for n in range(6)]
    turned = write_video(tmp_path / "turned.mp4", stored, rotation=rotation)
    for strength in (0.0, 1.0):
        wanted = Wanted(strength=strength)
        expected = read(translate_video(runtime, upright, tmp_path / "out", wanted).path)[1]
        made = read(translate_video(runtime, turned, tmp_path / "out", wanted).path)[1]
        assert [picture.shape for picture in made] == [FACE.shape] * 6
        assert (
            np.mean([abs(a.astype(int) - b).mean() for a, b in zip(made, expected, strict=True)]) < 6
        )  # compressed twice


def test_what_a_file_that_was_cut_short_holds_is_moved(runtime: Runtime, tmp_path: Path) -> None:
    noisy = [FACE + np.random.default_rng(n).integers(0, 9, FACE.shape, dtype=np.uint8) for n in range(50)]
    path = cut(write_video(tmp_path / "a.mkv", noisy, sound=2), 0.7)
    made = translate_video(runtime, path, tmp_path / "out")
    assert 5 < made.frames < 45
    assert made.moved == made.frames == len(read(made.path)[0])
    # Of the last frames those are missing that others were to be told from.
    assert made.cut_short == pytest.approx((50 - made.frames) / 25, abs=0.15)


def test_frames_without_order_in_time_are_said(runtime: Runtime, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", [shifted(n) for n in range(12)])
    with pytest.raises(DataError, match=r"a\.avi: its frames are in another order[\s\S]*ffmpeg -i a\.avi new\.mp4"):
        translate_video(runtime, path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_sound_that_a_file_cannot_hold_is_said(runtime: Runtime, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mov", [FACE] * 3, sound=1, sound_codec="adpcm_ima_qt")
    with pytest.raises(DataError, match=r"a\.mov: an MP4 file cannot hold its sound \(adpcm_ima_qt\)"):
        translate_video(runtime, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_stopped_command_ends_its_threads(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    before = threading.active_count()

    def stop(text: str) -> None:
        if " 9 of 12" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        translate_video(runtime, clip, tmp_path / "out", tell=stop)
    assert raised.tb is not None  # which keeps generators alive, whose threads would read what is closed, and crash
    assert threading.active_count() == before


def test_what_is_for_photographs_is_refused(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    for wanted in (Wanted(face=2), Wanted(face="all"), Wanted(strengths=(0, 1))):
        with pytest.raises(ConfigError, match="are for photographs"):
            translate_video(runtime, clip, tmp_path, wanted)


def test_without_the_library_the_extra_is_named(
    runtime: Runtime, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"pip install 'facecycle\[video\]'"):
        translate_video(runtime, clip, tmp_path)


def test_a_video_is_written_to_a_folder_and_over_no_other(
    runtime: Runtime, inside: Command, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(ConfigError, match=r"(is a|below the) file"):
            translate_video(runtime, clip, out)
    refused(inside("translate", clip, "other/clip.mov"), "would be written to one file")
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "12:30.mp4")
    made = translate_video(runtime, Path("12:30.mp4"), Path())  # no protocol
    assert made.path == Path("12:30-pasted.mp4")


def test_the_command_takes_videos(command: Command, inside: Command, clip: Path, tmp_path: Path) -> None:
    broken = [tmp_path / name for name in ("clip.avi", "b.mp4")]
    for path in broken:
        path.write_bytes(b"no video")
    result = command("translate", *broken, clip, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("skipped") == 2
    assert "video: " in result.stdout
    assert (tmp_path / "out" / "clip-pasted.mp4").stat().st_size > 1000
    refused(inside("translate", *broken), f"none of the videos could be translated; {broken[0]}: ")
    refused(inside("translate", broken[0]), f"{broken[0]}")
    refused(inside("translate", *broken, "--driver", "none.jpg"), "there is no file none.jpg")
    Image.fromarray(FACE).save(tmp_path / "a.png")
    refused(inside("translate", tmp_path / "a.png", "--driver", clip), "drives videos alone")


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    short, long = (write_video(tmp_path / f"{n}.mp4", [shifted(i) for i in range(n)]) for n in (16, 120))
    code = (
        "import resource, sys; from pathlib import Path; from facecycle.checkpoints.places import SHIPPED; "
        "from facecycle.runtimes.by_onnx import OnnxRuntime; from facecycle.translation.video import translate_video; "
        "translate_video(OnnxRuntime(SHIPPED), Path(sys.argv[1]), Path(sys.argv[2])); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    measure: Callable[[Path], int] = lambda path: int(  # noqa: E731
        subprocess.run(
            [sys.executable, "-c", code, str(path), str(tmp_path)], capture_output=True, text=True, check=True
        ).stdout
    )
    assert measure(long) < 1.1 * measure(short)
