"""Checkpoints outlive kills, damage and a full disk; training outlives bad files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.checkpoints import saved
from helpers.common import ROOT, picture
from helpers.training import Quiet, tiny, train, weights
from PIL import Image
from safetensors.torch import load_file

from facecycle.checkpoints.folders import all_folders, latest_folder
from facecycle.checkpoints.inspect import verify
from facecycle.data.batches import Batches
from facecycle.data.joined import JoinedTracks
from facecycle.errors import CheckpointError, DataError
from facecycle.pretraining.resume import newest_whole
from facecycle.pretraining.run import Pretraining
from facecycle.pretraining.run_folder import BAD_FRAMES, RunFolder
from facecycle.registry import build

# --- kills and full disks -----------------------------------------------------------------------


def test_a_killed_writer_loses_no_checkpoint() -> None:
    script = [sys.executable, str(ROOT / "tests" / "kill.py"), "--every", "12", "--runs", "0"]
    result = subprocess.run(script, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    match = re.search(r"^points tried (\d+), losses 0$", result.stdout, re.MULTILINE)
    assert match, result.stdout
    assert int(match[1]) >= 50


def test_a_full_disk_is_said_and_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    mounted = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("a small disk needs a user namespace in which one can be mounted")
    (tmp_path / "disk").mkdir()
    script = [
        "unshare",
        "-rm",
        sys.executable,
        str(ROOT / "tests" / "full_disk.py"),
        str(tmp_path / "disk"),
    ]
    result = subprocess.run(script, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("error: the disk is full: cannot write") == 1
    found = json.loads(result.stdout)
    assert found["status"] == 2
    assert found["newest"] == "step-000003"
    assert found["notes"] == []
    for what, said in found["said"].items():
        assert said.startswith("the disk is full: cannot write"), what


def test_the_newest_are_kept_and_never_fewer(tmp_path: Path) -> None:
    run = train(tiny("keep=2"), tmp_path / "run")
    assert [p.name for p in all_folders(run.folder.path)] == ["step-000007", "step-000009"]
    assert latest_folder(run.folder.path).name == "step-000009"
    # Counted back from the one that the run continues from, which stays whatever is there beside it.
    (run.folder.path / "checkpoints" / "latest").write_text("step-000007\n")
    resumed = Pretraining(tiny("keep=1"), RunFolder(run.folder.path), Quiet())
    resumed.resume()
    resumed.run()
    assert [p.name for p in all_folders(run.folder.path)] == ["step-000009"]


# --- damage -------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


NAMES = ["model.safetensors", "optimizer.safetensors", "state.json"]
DAMAGE = [(name, harm) for name in (*NAMES, "SHA256SUMS") for harm in (flip, cut, empty)]


@pytest.mark.parametrize(("name", "harm"), [*DAMAGE, *((name, Path.unlink) for name in NAMES)])
def test_a_damaged_file_is_named_and_the_checkpoint_before_it_taken(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    for step in (1, 2, 3):
        saved(tmp_path, step)
    folder = tmp_path / "checkpoints" / "step-3"
    assert newest_whole(tmp_path, pytest.fail) == folder
    harm(folder / name)
    said: list[str] = []
    assert newest_whole(tmp_path, said.append) == tmp_path / "checkpoints" / "step-2"
    assert len(said) == 1
    assert name in said[0]
    assert "Kept as step-3.damaged-1; continuing from step-2, which is whole." in said[0]
    assert latest_folder(tmp_path).name == "step-2"
    assert (tmp_path / "checkpoints" / "step-3.damaged-1").is_dir()
    assert newest_whole(tmp_path, pytest.fail) == tmp_path / "checkpoints" / "step-2"


def test_with_only_damaged_checkpoints_nothing_is_touched(tmp_path: Path) -> None:
    for step in (1, 2):
        saved(tmp_path, step)
        flip(tmp_path / "checkpoints" / f"step-{step}" / "optimizer.safetensors")
    with pytest.raises(CheckpointError, match=r"(?s)step-2 is damaged: optimizer.*step-1 is damaged: optimizer"):
        newest_whole(tmp_path, pytest.fail)
    assert [p.name for p in all_folders(tmp_path)] == ["step-1", "step-2"]


def test_a_run_with_a_damaged_checkpoint_ends_with_the_same_weights(tmp_path: Path) -> None:
    run = train(tiny(), tmp_path / "run").folder.path
    before = {name: tensor.clone() for name, tensor in weights(run).items()}  # not mapped from the file
    flip(run / "checkpoints" / "step-000009" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"digest|sha256"):
        verify(run, str)
    listener = Quiet()
    resumed = Pretraining(tiny(), RunFolder(run), listener)
    resumed.resume()
    resumed.run()
    assert any("model.safetensors does not have the sha256" in note for note in listener.notes)
    after = load_file(run / "checkpoints" / "step-000009" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    verify(run, str)


def test_the_digests_are_those_of_sha256sum(tmp_path: Path) -> None:
    saved(tmp_path)
    result = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "checkpoints" / "step-1", text=True)
    assert result.returncode == 0


# --- bad files ----------------------------------------------------------------------------------


def bomb(path: Path) -> None:
    """Write the head of a PNG of 60,000 x 60,000 pixels."""
    head = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + head + zlib.crc32(head).to_bytes(4, "big"))


def bad_tree(root: Path) -> set[str]:
    """Write tracks of good, odd and bad files; return the names of the bad ones."""
    for number in range(12):
        picture(root / f"p{number // 3}" / f"{number}.jpg", number)
    still = Image.open(picture(root / "odd" / "still.png", 20))
    still.convert("CMYK").save(root / "odd" / "cmyk.jpg")
    still.save(root / "odd" / "moving.gif", save_all=True, append_images=[still.rotate(90)])
    bad = root / "bad"
    picture(bad / "cut.jpg", 21)
    cut_off = bad / "cut.jpg"
    cut_off.write_bytes(cut_off.read_bytes()[:200])
    (bad / "empty.jpg").touch()
    bomb(bad / "bomb.png")
    picture(bad / "vanished.jpg", 22)
    (bad / "broken.jpg").symlink_to("nowhere.jpg")
    (bad / "itself.jpg").symlink_to("itself.jpg")
    (bad / "folder.jpg").mkdir()  # neither a frame nor a track
    os.mkfifo(bad / "pipe.jpg")  # reading it would never end
    return {f"bad/{name}" for name in ("cut.jpg", "empty.jpg", "bomb.png", "vanished.jpg", "broken.jpg", "itself.jpg")}


def test_a_run_over_a_bad_tree_goes_on_and_lists_what_was_bad(tmp_path: Path) -> None:
    bad = bad_tree(tmp_path / "faces")
    data = f"data=[{{name='tracks', options={{path='{tmp_path / 'faces'}'}}}}]"
    config = tiny(data, "pairs=6", "stages.direct.steps=15", "stages.expression=none", "stages.identity=none")
    run = Pretraining(config, RunFolder(tmp_path / "run"), Quiet())
    (tmp_path / "faces" / "bad" / "vanished.jpg").unlink()
    run.folder.create(config)
    outcome = run.run()
    assert set(outcome.bad_frames) == bad
    lines = (tmp_path / "run" / BAD_FRAMES).read_text().splitlines()
    assert {line.split(":")[0] for line in lines} == bad
    assert outcome.skipped_steps == 0


def test_a_batch_of_bad_frames_alone_is_drawn_again(tmp_path: Path) -> None:
    for number in range(20):
        path = picture(tmp_path / f"{number:02d}.png", number)
        if number % 2:
            path.write_text("no image")
    config = tiny("pairs=1")
    data = JoinedTracks([build("dataset", "tracks", {"path": str(tmp_path)})])
    batches = Batches(data, config, "direct", config.stages["direct"])
    assert all(pairs.first.std() > 0.01 for _, pairs in batches.iterate(0, 40))
    assert batches.tally.bad > 20
    assert not any("1.png" in name for name in batches.names(0))


def test_too_many_bad_frames_stop_the_run(tmp_path: Path) -> None:
    for number in range(40):
        path = picture(tmp_path / "faces" / f"{number:02d}.png", number)
        if number % 10 < 7:
            path.write_text("no image")
    data = f"data=[{{name='tracks', options={{path='{tmp_path / 'faces'}'}}}}]"
    short = (data, "pairs=16", "stages.direct.steps=18", "stages.expression=none", "stages.identity=none")
    with pytest.raises(DataError, match=r"of the 512 images read so far are bad, more than bad_share = 0.5") as error:
        train(tiny(*short), tmp_path / "run")
    assert str(tmp_path / "run" / BAD_FRAMES) in str(error.value)
    assert len((tmp_path / "run" / BAD_FRAMES).read_text().splitlines()) == 28
    resumed = Pretraining(tiny(*short, "bad_share=0.9"), RunFolder(tmp_path / "run"), Quiet())
    resumed.resume()
    assert len(resumed.run().bad_frames) == 28
