"""One clear message and exit code 2 for each mistake; a traceback for whoever asks."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from facecycle_cli.main import _for_reader, app
from helpers.common import Command, picture, refused
from typer.main import get_command

from facecycle.checkpoints.places import SHIPPED

BELOW = ["cannot write to text.safetensors/x", "because text.safetensors is a file\nName a f"]
VIDEOS = "clips holds no images\npassed over, because they are videos: 1 .mp4. "
MISTAKES = {
    "missing data": (["pretrain", "--data", "gone"], ["no file or folder"]),
    "empty folder": (["pretrain", "--data", "empty"], ["no images below empty"]),
    "unknown encoder": (
        ["pretrain", "--encoder", "resnt18"],
        ["no encoder 'resnt18'", "Did you mean resnet18"],
    ),
    "unknown preset": (["pretrain", "--preset", "smal"], ["Did you mean small"]),
    "wrong key": (["pretrain", "--set", "pears=3"], ["pears: unknown key", "Did you mean pairs"]),
    "wrong type": (["pretrain", "--set", "pairs=many"], ["pairs = 'many'"]),
    "no value": (["pretrain", "--set", "pairs"], ["key=value"]),
    "preset set last": (["pretrain", "--set", "preset=paper"], ["Use --preset NAME"]),
    "no option's value": (["probe", "--task", "pose", "--data", "a.png", "--option", "folds"], ["--option 'folds'"]),
    "unknown warper": (["pretrain", "--warper", "referense"], ["Did you mean reference"]),
    "identity alone": (["pretrain", "--cycle", "identity"], ["--from"]),
    "no stage of the cycle": (
        ["pretrain", "--cycle", "identity", "--from", "x", "--set=stages.identity=none"],
        ["no stage trains that cycle", "direct (expression)"],
    ),
    "folder in use": (
        ["pretrain", "--out", "used", "--set=data=[{name='tracks', options={path='gone'}}]"],
        ["used already holds a run"],
    ),
    "resume nothing": (
        ["pretrain", "--resume"],
        ["no run below", "Name the run folder with --out. Did you mean used?"],
    ),
    "resume elsewhere": (
        ["pretrain", "--resume", "--out", "gone"],
        ["no run in gone\nDid you mean used? Leave --resume"],
    ),
    "resume a folder of runs": (["pretrain", "--resume", "--out", "."], ["no run in .\nDid you mean used?"]),
    "resume a slip": (["pretrain", "--resume", "--out", "uesd"], ["no run in uesd\nDid you mean used?"]),
    "weights from nowhere": (["pretrain", "--from", "gone"], ["no checkpoint at gone"]),
    "no checkpoint": (["translate", "a.png", "--checkpoint", "runs/one"], ["no checkpoint at runs/one"]),
    "export twice": (["checkpoint", "export", SHIPPED, "-o", "a.png"], ["a.png exists already"]),
    "no image": (["translate", "gone.png"], ["no file or folder gone.png"]),
    "no video": (["translate", "a.png", "gone.mp4"], ["no file gone.mp4"]),
    "no seed": (["translate", "a.png", "--seed", "9" * 30], ["--seed"]),
    "no number": (["translate", "a.png", "--crop", "1,2"], ["x,y,w,h"]),
    "not a checkpoint": (
        ["translate", "a.png", "--checkpoint", "text.safetensors"],
        ["not a safetensors checkpoint"],
    ),
    "no place to test on": (
        ["probe", "--task", "pose", "--data", "a.png", "--test", "gone.csv"],
        ["--test gone.csv: there is no file or folder"],
    ),
    "no path at all": (["pretrain", "--data", f"shards:pipe:cat {'x' * 300}"], ["where a file's name goes"]),
    "pictures below a file": (["translate", "a.png", "--out", "text.safetensors/x"], BELOW),
    "codes below a file": (["embed", "a.png", "-o", "text.safetensors/x.npy"], BELOW),
    "weights below a file": (["checkpoint", "export", SHIPPED, "-o", "text.safetensors/x"], BELOW),
    "crops below a file": (["data", "crop", "clips", "-o", "text.safetensors/x"], BELOW),
    "page below a file": (["export", "web", "text.safetensors/x"], BELOW),
    "shards below a file": (["data", "shard", "synthetic", "-o", "text.safetensors/x"], BELOW),
    "crop of a picture": (["data", "crop", "a.png"], ["a.png is neither a folder nor a video", "or one video"]),
    "videos of a folder": (["translate", "clips"], [VIDEOS, "facecycle translate FOLDER/NAME.mp4"]),
    "codes of videos": (["embed", "clips"], [VIDEOS, "facecycle data crop FOLDER"]),
    "no images": (["translate", "empty"], ["empty holds no images\nImages are JPEG, PNG, WEBP or another format"]),
    "short tracks": (["pretrain", "--data", "short"], ["--option min_frames=1"]),
    "no labels": (["probe", "--task", "pose", "--data", "gone.csv"], ["no file or folder"]),
    "unknown kind": (["plugins", "check", "--kind", "losses"], ["no plugin of the kind 'losses'", "loss, dataset"]),
    "unknown plugin": (["plugins", "show", "resnt18"], ["Did you mean resnet18"]),
    "package name": (["plugins", "new", "Not A Name"], ["cannot name a package"]),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_one_clear_message(inside: Command, tmp_path: Path, case: str) -> None:
    arguments, expected = MISTAKES[case]
    (tmp_path / "empty").mkdir()
    picture(tmp_path / "a.png")
    for track in ("one", "two"):
        picture(tmp_path / "short" / track / "1.png")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "v.mp4").touch()
    (tmp_path / "text.safetensors").write_text("no checkpoint at all")
    (tmp_path / "used" / "checkpoints" / "step-000001").mkdir(parents=True)
    (tmp_path / "used" / "config.json").write_text("{}")
    before = set(tmp_path.rglob("*"))
    refused(inside(*arguments), *expected)
    assert set(tmp_path.rglob("*")) == before  # nothing is left behind


def commands_of(command: Any) -> Iterator[Any]:
    """Yield a command and those below it."""
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from commands_of(below)


def test_what_takes_out_takes_o() -> None:
    options = [option for command in commands_of(get_command(app)) for option in command.params]
    outs = [option.opts for option in options if "--out" in option.opts]
    assert len(outs) > 10
    assert [opts for opts in outs if opts != ["--out", "-o"]] == []


def test_a_path_that_cannot_be_reached_is_the_readers_to_mend() -> None:
    assert _for_reader(PermissionError(errno.EACCES, "Permission denied", "home/x")) == "home/x: Permission denied"
    assert _for_reader(OSError(errno.EIO, "Input/output error", "x")) is None
    assert _for_reader(KeyError("x")) is None


@pytest.mark.parametrize(
    "words",
    [
        *(f"checkpoint {name}" for name in ("show gone", "verify a.png", "export gone --onnx", "push gone a/b")),
        *("probe --task pose --checkpoint a.png", "pretrain --from gone", "embed a.png --checkpoint a.png"),
    ],
)
def test_a_bad_checkpoint_is_refused_before_torch_is_imported(command: Command, tmp_path: Path, words: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "torch.py").write_text("raise SystemExit('torch is imported')")
    refused(command(*words.split(), env={"PYTHONPATH": str(tmp_path)}), "checkpoint")


def test_a_mistake_ends_a_process_with_code_two_and_a_traceback_on_request(command: Command) -> None:
    refused(command("pretrain", "--data", "gone"), "no file or folder")
    result = command("pretrain", "--data", "gone", env={"FACECYCLE_DEBUG": "1"})
    assert "Traceback" in result.stderr
