"""Whole folders of photographs: names and tracks stay, bad images end nothing, and a killed command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.common import Command, refused
from PIL import Image
from skimage.data import astronaut

from facecycle.api import Face
from facecycle.atomic import lock
from facecycle.errors import ConfigError, DataError, RunError
from facecycle.faces import crop_folder as module
from facecycle.faces import crop_photograph
from facecycle.faces.crop import crop
from facecycle.faces.crop_folder import crop_folder
from facecycle.faces.detection import detect
from facecycle.faces.similarity import Similarity, align

PHOTOGRAPH = Image.fromarray(astronaut()[:260, 90:350])


def folder(root: Path) -> Path:
    """Write two tracks and what else may lie in a folder."""
    for track, name, turn in (("p1/a", "1.jpg", 0), ("p1/a", "2.jpg", 5), ("p2/b", "10.png", -5), ("p2/b", "x.bmp", 0)):
        path = root / track / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PHOTOGRAPH.rotate(turn).save(path)
    Image.new("RGB", (90, 70), (40, 90, 40)).save(root / "p2" / "b" / "field.png")
    (root / "p2" / "b" / "cut.jpg").write_bytes((root / "p1" / "a" / "1.jpg").read_bytes()[:900])
    (root / "p2" / "notes.txt").write_text("no image")
    return root


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def rows(out: Path) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in pq.read_table(out / "faces.parquet").to_pylist()}


def test_tracks_keep_their_names_and_the_table_says_what_was_found(tmp_path: Path) -> None:
    root, out = folder(tmp_path / "in"), tmp_path / "out"
    result = crop_folder(root, out, size=48)
    names = {"p1/a/1.jpg", "p1/a/2.jpg", "p2/b/10.png", "p2/b/x.bmp.png"}
    assert set(files(out)) == {*names, "faces.parquet"}
    assert {Image.open(out / name).size for name in names} == {(48, 48)}
    assert (result.images, result.before, result.crops) == (6, 0, 4)
    assert result.no_face == {"p2/b/field.png": 1}
    assert list(result.unreadable) == ["p2/b/cut.jpg"]
    assert "1 .txt" in result.passed_over

    table = rows(out)
    assert table["p2/b/x.bmp"]["crop"] == "p2/b/x.bmp.png"
    assert table["p2/b/field.png"]["status"] == "no face"
    assert "damaged" in table["p2/b/cut.jpg"]["status"]
    assert table["p2/b/cut.jpg"]["side"] is None
    row, image = table["p2/b/10.png"], np.asarray(Image.open(root / "p2" / "b" / "10.png"))
    (face,) = detect(image)
    assert np.allclose(row["landmarks"], np.asarray(face.landmarks).ravel(), atol=1e-3)
    square = Similarity(row["x"], row["y"], row["side"], row["roll"])
    assert np.allclose(square.corners(), align(face).corners(), atol=1e-3)
    assert np.array_equal(np.asarray(Image.open(out / "p2" / "b" / "10.png")), crop(image, align(face), 48))
    assert (row["faces"], row["warnings"]) == (1, [])


def test_the_turn_that_a_camera_notes_is_applied(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    noted = Image.Exif()
    noted[0x0112] = 6  # to be shown turned clockwise by a quarter
    PHOTOGRAPH.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "in" / "a.png", exif=noted)
    crop_folder(tmp_path / "in", tmp_path / "out")
    assert abs(rows(tmp_path / "out")["a.png"]["roll"]) < 10


def test_a_killed_command_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, whole, out = folder(tmp_path / "in"), tmp_path / "whole", tmp_path / "out"
    monkeypatch.setattr(module, "PART", 2)
    crop_folder(root, whole, size=32)
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crop_folder(root, out, size=32, tell=stop)
    assert not (out / "faces.parquet").exists()
    (out / ".faces" / ".part-000002.parquet.7.tmp").write_bytes(b"half")
    (out / "p1" / "a" / ".1.jpg.7.tmp").write_bytes(b"half")
    with pytest.raises(RunError, match=r"other settings \(they differ in: size\)"):
        crop_folder(root, out, size=40)
    again = crop_folder(root, out, size=32, tell=lambda done, total: seen.append(done))
    assert seen == [2, 4, 6]
    assert again.before == 4
    assert files(out) == files(whole)
    third = crop_folder(root, out, size=32, tell=lambda done, total: seen.append(done))
    assert (third.before, third.crops, len(seen)) == (6, 4, 3)


def test_what_was_repaired_or_added_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out, fresh = folder(tmp_path / "in"), tmp_path / "out", tmp_path / "fresh"
    monkeypatch.setattr(module, "PART", 1)
    crop_folder(root, out, size=32)
    repaired = root / "p2" / "b"
    PHOTOGRAPH.save(repaired / "cut.jpg")
    PHOTOGRAPH.save(repaired / "field.png")  # which showed no face
    PHOTOGRAPH.rotate(3).save(root / "p1" / "a" / "0.jpg")
    tried: list[int] = []

    def stop(done: int, total: int) -> None:
        tried.append(done)
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crop_folder(root, out, size=32, tell=stop)
    again = crop_folder(root, out, size=32, tell=lambda done, total: tried.append(done))
    assert tried == [5, 6, 7]  # of 7, of which 4 had been cropped
    assert (again.before, again.images, again.crops) == (6, 7, 7)
    crop_folder(root, fresh, size=32)
    assert files(out) == files(fresh)


def test_what_cannot_be_read_may_go_and_its_row_goes_with_it(tmp_path: Path) -> None:
    root, out, fresh = folder(tmp_path / "in"), tmp_path / "out", tmp_path / "fresh"
    crop_folder(root, out, size=32)
    (root / "p2" / "b" / "cut.jpg").unlink()
    crop_folder(root, out, size=32)
    crop_folder(root, fresh, size=32)
    assert files(out) == files(fresh)


def test_what_was_replaced_is_cropped_anew(tmp_path: Path) -> None:
    root, out, fresh = folder(tmp_path / "in"), tmp_path / "out", tmp_path / "fresh"
    crop_folder(root, out, size=32)
    before = files(out)
    PHOTOGRAPH.rotate(9).save(root / "p2" / "b" / "10.png")
    (root / "p2" / "b" / "field.png").replace(root / "p1" / "a" / "1.jpg")  # which shows no face
    PHOTOGRAPH.save(root / "p2" / "b" / "field.png")
    again = crop_folder(root, out, size=32)
    assert (again.before, again.crops) == (3, 4)
    crop_folder(root, fresh, size=32)
    assert files(out) == files(fresh)
    assert files(out)["p2/b/10.png"] != before["p2/b/10.png"]


def test_crops_of_files_that_are_gone_are_named_and_stay(tmp_path: Path) -> None:
    root, out = folder(tmp_path / "in"), tmp_path / "out"
    crop_folder(root, out, size=32)
    before = files(out)
    (root / "p1" / "a" / "1.jpg").unlink()
    (root / "p2" / "b" / "10.png").unlink()
    expected = r"the crop of p1/a/1\.jpg, which is not among those in .*in \(\+1 more\)\nChoose another folder"
    with pytest.raises(RunError, match=expected):
        crop_folder(root, out, size=32)
    assert files(out) == before


def test_two_commands_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with lock(tmp_path / "out"), pytest.raises(RunError, match="another process is writing to"):
        crop_folder(folder(tmp_path / "in"), tmp_path / "out", size=32)


def test_workers_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path / "in")
    monkeypatch.setattr(module, "PART", 3)
    crop_folder(root, tmp_path / "one", size=32)
    crop_folder(root, tmp_path / "two", size=32, workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_ctrl_c_ends_workers_without_a_word(tmp_path: Path) -> None:
    photographs = tmp_path / "in"
    photographs.mkdir()
    for number in range(2 * module.PART):
        PHOTOGRAPH.save(photographs / f"{number}.jpg")
    words = [sys.executable, "-m", "facecycle_cli", "data", "crop", "in", "--workers", "2"]
    running = subprocess.Popen(
        words,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )

    def importing() -> bool:
        workers = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        return any("numpy" in Path(f"/proc/{worker}/maps").read_text() for worker in workers)

    while running.poll() is None and not importing():
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "Traceback" not in said


def test_other_detectors_tell_which_face(tmp_path: Path) -> None:
    root = folder(tmp_path / "in")
    result = crop_folder(root, tmp_path / "out", size=32, detector="centre")
    assert (result.crops, result.no_face) == (5, {})
    row = rows(tmp_path / "out")["p2/b/field.png"]
    assert (row["x"], row["y"], row["side"], row["landmarks"]) == (45, 35, 70, None)


def test_the_largest_face_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Two:
        def detect(self, image: np.ndarray) -> list[Face]:
            return [Face((100, 50, 80, 100), 0.9), Face((10, 10, 20, 20), 0.99)]

    monkeypatch.setattr(module, "named", lambda name: None)
    monkeypatch.setattr(crop_photograph, "named", lambda name: Two())
    (tmp_path / "in").mkdir()
    PHOTOGRAPH.save(tmp_path / "in" / "a.png")
    crop_folder(tmp_path / "in", tmp_path / "out")
    row = rows(tmp_path / "out")["a.png"]
    assert (row["faces"], row["left"], row["side"]) == (2, 100, 87)


def test_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "in")
    with pytest.raises(DataError, match="there is no folder"):
        crop_folder(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ConfigError, match="lies in"):
        crop_folder(root, root / "crops")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="exists and is not empty"):
        crop_folder(root, tmp_path / "full")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds neither images nor videos"):
        crop_folder(tmp_path / "empty", tmp_path / "out")
    PHOTOGRAPH.save(root / "p2" / "b" / "x.bmp.png")
    with pytest.raises(DataError, match=r"two of them would be called p2/b/x\.bmp\.png"):
        crop_folder(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_sums_up(inside: Command, tmp_path: Path) -> None:
    root = folder(tmp_path / "in")
    result = inside("data", "crop", root, "-o", tmp_path / "out", "--size", 32, "--workers", 1)
    assert result.returncode == 0, result.stderr
    assert "crops of 4 of 6 images; 1 without a face, 1 unreadable" in result.stdout
    assert "no face  p2/b/field.png" in result.stdout
    (tmp_path / "bare").mkdir()
    Image.new("RGB", (90, 70)).save(tmp_path / "bare" / "a.png")
    refused(inside("data", "crop", tmp_path / "bare", "-o", tmp_path / "none"), "no face was found in any image")
    refused(inside("data", "crop", root, "-o", tmp_path / "x", "--detector", "yunnet"), "Did you mean yunet?")
