"""The weights that come with the package: small, whole, used unless others are named, and good for something."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from facecycle_plugins.datasets.synthetic.__main__ import write_faces
from helpers.common import ROOT, Command, photograph, picture
from PIL import Image
from skimage.data import astronaut

from facecycle import registry
from facecycle.checkpoints.inspect import verify
from facecycle.config.layers import file_layer, resolve
from facecycle.data.images import from_uint8, read_square
from facecycle.networks import SHIPPED, build_method, load
from facecycle.pretraining.checks import check_stages
from facecycle.seeds import seeded
from facecycle.translation.photographs import find_faces, finder, read_photograph

sys.path.insert(0, str(ROOT / "recipes" / "default_weights"))
from aligned import MARGIN, SIZE, align_tracks
from make import OF_A_PERSON, further_tracks, training_tracks
from measure import aligned, within
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


def test_all_stages_of_the_recipe_fit_the_method() -> None:
    recipe = file_layer(ROOT / "recipes" / "default_weights" / "recipe.toml")
    config = resolve([("no preset", {"preset": None}), recipe])
    check_stages(config, build_method(config))


def test_the_recipe_never_sees_the_held_out_people(tmp_path: Path) -> None:
    rows = ["ann/0/00.jpg,1,2,3,1", "ann/0/01.jpg,1,2,3,1", "bob/0/00.jpg,1,2,3,0", "cat/7/00.jpg,1,2,3,4"]
    (tmp_path / "pose.csv").write_text("\n".join(["file,pitch_deg,yaw_deg,roll_deg,person_fold", *rows]))
    for row in rows:
        picture(tmp_path / row.partition(",")[0])
    assert training_tracks(tmp_path / "pose.csv") == [tmp_path / "ann/0", tmp_path / "cat/7"]


def test_of_one_person_a_few_further_tracks_are_trained_on(tmp_path: Path) -> None:
    for person, count in (("ann", OF_A_PERSON + 3), ("bob", 1)):
        for track in range(count):
            picture(tmp_path / person / f"{track}" / "0.jpg")
    chosen = [path.relative_to(tmp_path).as_posix() for path in further_tracks(tmp_path)]
    assert chosen == [*(f"ann/{track}" for track in range(OF_A_PERSON)), "bob/0"]


def test_frames_are_aligned_with_a_margin_and_those_without_a_face_left_out(tmp_path: Path) -> None:
    track, out = tmp_path / "tracks" / "ann" / "0", tmp_path / "aligned"
    track.mkdir(parents=True)
    photograph(track / "0.jpg")
    picture(track / "1.jpg")
    assert align_tracks(tmp_path / "tracks", [track], out, workers=1) == [out / "ann" / "0"]
    (made,) = (out / "ann" / "0").iterdir()
    (face,) = find_faces(read_photograph(made), finder(), 1, 64)
    assert face.similarity.side == pytest.approx(SIZE / MARGIN, rel=0.08)
    assert (face.similarity.x, face.similarity.y) == pytest.approx((SIZE / 2, SIZE / 2), abs=0.04 * SIZE)
    kept = made.stat().st_mtime_ns
    align_tracks(tmp_path / "tracks", [track], out, workers=1)
    assert made.stat().st_mtime_ns == kept


def test_what_alignment_turns_is_taken_from_the_angle_of_a_head(tmp_path: Path) -> None:
    """A head that lies 15 degrees more to the right has the same roll once it is upright, as near as landmarks tell."""
    track = tmp_path / "data" / "tracks" / "p0" / "0"
    track.mkdir(parents=True)
    middle = (FACE[0] + FACE[2]) / 2, (FACE[1] + FACE[3]) / 2
    for name, roll in (("upright", 0), ("turned", 15)):
        turned = Image.fromarray(astronaut()).rotate(-roll, Image.Resampling.BICUBIC, center=middle)
        turned.crop(FACE).save(track / f"{name}.jpg")
    Image.new("RGB", (96, 96)).save(track / "night.jpg")
    angles = "".join(f"p0/0/{name}.jpg,1,2,{roll},0\n" for name, roll in (("upright", 0), ("turned", 15), ("night", 3)))
    poses = tmp_path / "data" / "tracks" / "pose.csv"
    poses.write_text(f"file,pitch_deg,yaw_deg,roll_deg,person_fold\n{angles}")
    for _ in range(2):  # nothing is taken twice
        data = registry.build("dataset", "pose-csv", {"path": aligned(tmp_path / "data", tmp_path / "out")})
        labels = data.labelled("pose")
        assert len(labels.targets) == 2
        assert labels.targets[:, :2].tolist() == [[1, 2]] * 2
        assert abs(labels.targets[0, 2] - labels.targets[1, 2]) < 5


def test_variance_within_people_leaves_out_what_they_differ_in() -> None:
    values = np.array([1, 3, np.nan, 5, 7])  # 1 within two people, and 4 between them
    assert within(values, np.array(["ann", "ann", "ann", "bob", "bob"])) == pytest.approx(1 / 5)
