"""The weights that come with the package: small, whole, used unless others are named, and good for something."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch
from facecycle_plugins.datasets.synthetic.__main__ import write_faces
from helpers.common import ROOT, Command, picture
from PIL import Image
from skimage.data import astronaut

from facecycle.checkpoints.inspect import verify
from facecycle.data.images import from_uint8, read_square
from facecycle.networks import SHIPPED, load
from facecycle.seeds import seeded

sys.path.insert(0, str(ROOT / "recipes" / "default_weights"))
from make import training_tracks
from sheet import FACE


def test_they_are_small_and_whole_and_have_a_card() -> None:
    assert SHIPPED.stat().st_size <= 12e6
    said: list[str] = []
    verify(SHIPPED, said.append)
    assert any("expression, identity" in line for line in said)
    card = (SHIPPED.parent / "README.md").read_text()
    assert load(None).checkpoint.sha256() in card


def test_neutral_faces_of_a_face_and_its_mirror_image_are_30_percent_nearer(tmp_path: Path) -> None:
    write_faces(tmp_path, 5)
    Image.fromarray(astronaut()).crop(FACE).save(tmp_path / "astronaut.png")
    faces = from_uint8(torch.stack([read_square(path, 64) for path in sorted(tmp_path.iterdir())]))
    mirrored = faces.flip(-1)
    made = load(None).method.translate(torch.cat([faces, mirrored]), None, seeded("test", 0), frozenset({"neutral"}))
    one, other = made["neutral"].chunk(2)
    apart = (one - other).abs().mean()
    assert apart < 0.7 * (faces - mirrored).abs().mean()
    assert apart < 0.7 * (one - one.roll(1, 0)).abs().mean()  # nearer than different people, who are still there


def test_commands_use_them_and_state_their_terms(inside: Command, tmp_path: Path) -> None:
    write_faces(tmp_path / "faces", 2)
    for number in range(40):
        picture(tmp_path / "people" / f"s{number // 2}" / f"{number % 2}.png", number)
    for arguments in (["translate", "faces", "--detector", "centre"], ["embed", "faces"]):
        result = inside(*arguments)
        assert result.returncode == 0, result.stderr
        line = next(line for line in result.stdout.splitlines() if line.startswith("checkpoint:"))
        assert "comes with facecycle" in line
        assert "research" in line
    probed = inside("probe", "--task", "verify", "--data", "people", "--feature", "identity")
    assert "comes with facecycle" in probed.stdout, probed.stderr
    assert re.search(r"default .*resnet10t .*expression, identity", inside("checkpoint", "list").stdout)


def test_the_recipe_never_sees_the_held_out_people(tmp_path: Path) -> None:
    rows = ["ann/0/00.jpg,1,2,3,1", "ann/0/01.jpg,1,2,3,1", "bob/0/00.jpg,1,2,3,0", "cat/7/00.jpg,1,2,3,4"]
    (tmp_path / "pose.csv").write_text("\n".join(["file,pitch_deg,yaw_deg,roll_deg,person_fold", *rows]))
    for row in rows:
        picture(tmp_path / row.partition(",")[0])
    assert training_tracks(tmp_path / "pose.csv") == [tmp_path / "ann/0", tmp_path / "cat/7"]
