"""Videos become tracks of aligned faces: some frames per second, one person, and nothing ends the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.clips import FACE, MEADOW, cut, shifted, with_unknown_codec, write_sound, write_video
from helpers.common import Command, refused
from PIL import Image
from pyarrow import parquet

from facecycle.data.video import frames
from facecycle.errors import DataError, RunError
from facecycle.faces import crop_folder as module
from facecycle.faces.crop import crop
from facecycle.faces.crop_folder import crop_folder
from facecycle.faces.crop_video import JUMPED
from facecycle.faces.detection import detect
from facecycle.faces.similarity import align


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def rows(out: Path) -> list[dict]:  # type: ignore[type-arg]
    return parquet.read_table(out / "faces.parquet").to_pylist()  # type: ignore[no-any-return]


def test_a_video_becomes_a_track_of_five_frames_per_second(tmp_path: Path) -> None:
    path = write_video(tmp_path / "in" / "p1" / "talk.mkv", [shifted(n) for n in range(26)])
    Image.fromarray(FACE).save(tmp_path / "in" / "p1" / "img.png")
    result = crop_folder(tmp_path / "in", tmp_path / "out", size=48)
    names = [f"p1/talk/{number:06d}.jpg" for number in (0, 5, 10, 15, 20, 25)]
    assert files(tmp_path / "out") == {*names, "p1/img.png", "faces.parquet"}
    assert (result.images, result.crops, result.unreadable) == (7, 7, {})

    photograph, *table = rows(tmp_path / "out")
    assert photograph["frame"] is None
    assert [(row["path"], row["frame"], row["crop"]) for row in table[:2]] == [
        ("p1/talk.mkv", 0, names[0]),
        ("p1/talk.mkv", 5, names[1]),
    ]
    pixels = list(frames(path))[10].pixels
    (face,) = detect(pixels)  # a frame is aligned as a photograph is
    assert np.allclose(table[2]["landmarks"], np.asarray(face.landmarks).ravel(), atol=1e-3)
    saved = np.asarray(Image.open(tmp_path / "out" / names[2])).astype(int)
    assert abs(saved - crop(pixels, align(face), 48)).mean() < 2


def test_the_rate_holds_where_frames_come_at_uneven_times(tmp_path: Path) -> None:
    times = [500, 540, 760, 780, 1250, 1480, 1490, 2501]
    path = write_video(tmp_path / "a.mp4", [FACE] * len(times), times)
    result = crop_folder(path, tmp_path / "out", size=32, fps=2)
    taken = [row["frame"] for row in rows(tmp_path / "out")]
    first = next(iter(frames(path))).seconds
    assert taken == [0, 4, 7]  # the first of every half second that has any, counted from the first frame
    assert (first, result.crops) == (pytest.approx(0.5), 3)


def test_bad_videos_are_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "in"
    whole = write_video(root / "a.mp4", [FACE] * 8)
    noisy = [FACE + np.random.default_rng(n).integers(0, 9, FACE.shape, dtype=np.uint8) for n in range(50)]
    cut(write_video(root / "noisy.mkv", noisy), 0.6)
    with_unknown_codec(whole)
    write_sound(root / "heard.m4v")
    write_video(root / "none.mp4", [])
    write_video(root / "some.mp4", [FACE] * 6 + [MEADOW] * 11)
    (root / "text.mov").write_text("no video")
    result = crop_folder(root, tmp_path / "out", size=32)
    said = result.unreadable
    assert said.keys() == {"cut.mkv", "odd.mp4", "heard.m4v", "none.mp4", "text.mov"}
    assert said["cut.mkv"].startswith("it was cut short, ")
    assert said["odd.mp4"].startswith("no decoder")
    assert said["heard.m4v"].startswith("there is no video stream")
    assert said["text.mov"].startswith("not a video")
    assert result.no_face == {"some.mp4": 2}
    of_some = {name for name in files(tmp_path / "out") if name.startswith("some/")}
    assert of_some == {"some/000000.jpg", "some/000005.jpg"}
    assert "cut/000005.jpg" in files(tmp_path / "out")
    assert result.crops == sum(row["status"] == "ok" for row in rows(tmp_path / "out"))


def test_a_video_that_came_whole_since_takes_the_place_of_its_beginning(tmp_path: Path) -> None:
    root, out, fresh = tmp_path / "in", tmp_path / "out", tmp_path / "fresh"
    noisy = [FACE + np.random.default_rng(n).integers(0, 9, FACE.shape, dtype=np.uint8) for n in range(50)]
    part = cut(write_video(root / "whole.mkv", noisy), 0.6)
    crop_folder(root, out, size=32, fps=12.5)
    write_video(part, noisy[:20])
    crop_folder(root, out, size=32, fps=12.5)
    crop_folder(root, fresh, size=32, fps=12.5)
    assert files(out) == files(fresh)
    assert rows(out) == rows(fresh)


def test_crops_of_a_broken_video_go_with_it(tmp_path: Path) -> None:
    root, out, fresh = tmp_path / "in", tmp_path / "out", tmp_path / "fresh"
    noisy = [FACE + np.random.default_rng(n).integers(0, 9, FACE.shape, dtype=np.uint8) for n in range(50)]
    part = cut(write_video(root / "whole.mkv", noisy), 0.6)
    Image.fromarray(FACE).save(root / "a.png")
    crop_folder(root, out, size=32)
    assert len(files(out)) > 2
    part.unlink()
    crop_folder(root, out, size=32)
    crop_folder(root, fresh, size=32)
    assert files(out) == files(fresh)


def test_the_face_is_followed_and_a_jump_is_doubted(tmp_path: Path) -> None:
    small = np.asarray(Image.fromarray(FACE).resize((146, 134)))

    def both(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        wide = np.full((180, 400, 3), 90, np.uint8)
        wide[: len(left), : left.shape[1]] = left
        wide[: len(right), 400 - right.shape[1] :] = right
        return wide

    # First the left face is larger, then the right one, and then the left one is gone.
    pictures = [both(FACE, small)] * 2 + [both(small, FACE)] * 2 + [both(MEADOW, FACE)] * 2
    crop_folder(write_video(tmp_path / "a.mp4", pictures), tmp_path / "out", size=32, fps=25)
    table = rows(tmp_path / "out")
    assert [row["x"] < 200 for row in table] == [True] * 4 + [False] * 2
    assert [JUMPED in row["warnings"] for row in table] == [False] * 4 + [True, False]
    assert [row["faces"] for row in table] == [2] * 4 + [1] * 2


@pytest.mark.parametrize("photographs", [0, 1])
def test_a_killed_command_goes_on_and_other_settings_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photographs: int
) -> None:
    if photographs:  # were cropped before videos came
        (tmp_path / "in").mkdir()
        Image.fromarray(FACE).save(tmp_path / "in" / "c.png")
        crop_folder(tmp_path / "in", tmp_path / "out", size=32)
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / "in" / name, [FACE] * 6)
    read = module.crop_video
    seen: list[str] = []

    def crop_video(work, name):  # type: ignore[no-untyped-def]
        if seen == ["a.mp4"]:
            seen.append("killed")
            raise KeyboardInterrupt
        seen.append(name)
        return read(work, name)

    monkeypatch.setattr(module, "crop_video", crop_video)
    with pytest.raises(KeyboardInterrupt):
        crop_folder(tmp_path / "in", tmp_path / "out", size=32)
    with pytest.raises(RunError, match="differ in: fps"):
        crop_folder(tmp_path / "in", tmp_path / "out", size=32, fps=1)
    result = crop_folder(tmp_path / "in", tmp_path / "out", size=32)
    assert seen == ["a.mp4", "killed", "b.mp4"]
    assert (result.before, result.crops) == (1 + photographs, 4 + photographs)


def test_tracks_do_not_share_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "in"
    write_video(root / "a.mp4", [FACE])
    write_video(root / "a.mkv", [FACE])
    with pytest.raises(DataError, match="would be called a"):
        crop_folder(root, tmp_path / "out")
    (root / "a.mkv").unlink()
    (root / "a").mkdir()
    Image.fromarray(FACE).save(root / "a" / "1.jpg")
    with pytest.raises(DataError, match="would be called a"):
        crop_folder(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_commands_lead_from_videos_to_training(inside: Command, tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "p1" / "a.mp4", [FACE] * 12 + [MEADOW] * 5)
    hint = "facecycle data crop in -o crops/"
    refused(inside("data", "check", "tracks", "in"), "in holds videos (1) and no images", hint)
    done = inside(*hint.split()[1:], "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "no face  p1/a.mp4 in 1 frames" in done.stdout
    assert "crops of 3 of 4 images; 1 without a face, 0 unreadable" in done.stdout
    checked = inside("data", "check", "tracks", "crops")
    assert "1 tracks" in checked.stdout or "tracks: 1" in checked.stdout, checked.stdout
