"""Videos keep their times, their sound and their size, and their faces move; what cannot be read is one message."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.clips import FACE, MEADOW, read, shifted, write_sound, write_video
from helpers.common import Command, refused
from PIL import Image

from facecycle.checkpoints.places import SHIPPED
from facecycle.data.video import ahead
from facecycle.errors import ConfigError, DataError
from facecycle.faces.similarity import Similarity
from facecycle.runtimes.base import Runtime
from facecycle.runtimes.by_onnx import OnnxRuntime
from facecycle.translation.files import Wanted
from facecycle.translation.video import Track, translate_video


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
    with pytest.raises(DataError, match=r"meadow\.mp4: no face was found in any of 3 frames"):
        translate_video(runtime, meadow, tmp_path)


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


def test_odd_sides_and_other_containers(runtime: Runtime, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", [FACE[:-1, :-1]] * 3, codec="ffv1")
    made = translate_video(runtime, path, tmp_path)
    assert made.path.name == "a-pasted.mkv"
    assert read(made.path)[1][0].shape == FACE.shape


@pytest.mark.parametrize("damage", ["text", "sound", "empty", "cut"])
def test_what_is_no_video_is_said(runtime: Runtime, clip: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.mp4"
    if damage == "text":
        path.write_text("no video")
    elif damage == "empty":
        path.touch()
    elif damage == "cut":
        path.write_bytes(clip.read_bytes()[:4000])
    else:
        write_sound(path)
    with pytest.raises(DataError, match=r"a\.mp4: (not a video|there is no)"):
        translate_video(runtime, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_stopped_command_leaves_no_part_of_a_video(runtime: Runtime, clip: Path, tmp_path: Path) -> None:
    def stop(text: str) -> None:
        if " 9 of 12" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translate_video(runtime, clip, tmp_path / "out", tell=stop)
    assert list((tmp_path / "out").iterdir()) == []


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


def test_the_command_takes_videos(command: Command, clip: Path, tmp_path: Path) -> None:
    result = command("translate", clip, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "video: " in result.stdout
    assert (tmp_path / "out" / "clip-pasted.mp4").stat().st_size > 1000
    Image.fromarray(FACE).save(tmp_path / "a.png")
    refused(command("translate", tmp_path / "a.png", "--driver", clip), "drives videos alone")


def test_places_are_smoothed_over_time_and_short_gaps_are_bridged() -> None:
    rng = np.random.default_rng(0)
    seconds = np.arange(100) / 25
    steady = np.stack([100 + 20 * seconds, 80 + 5 * np.sin(seconds), np.full(100, np.log(60)), np.zeros(100)], axis=1)
    found = steady + rng.normal(0, (1.5, 1.5, 0.02, 1), steady.shape)
    found[10:14] = found[50:70] = np.nan
    places = Track(seconds, found)
    smooth = places.smooth()
    assert smooth.shake() < 0.2 * places.shake()
    assert np.abs(smooth.places[5:50, :2] - steady[5:50, :2]).max() < 3
    assert isinstance(smooth.similarity(12), Similarity)
    assert smooth.similarity(60) is None


def test_what_a_thread_raises_is_raised_where_its_items_are_used() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("the sixth")

    found: list[int] = []
    with pytest.raises(ValueError, match="the sixth"):
        found.extend(ahead(items(), 2))
    assert next(ahead(iter(range(1000)), 2)) == 0  # what is left over ends its thread


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
