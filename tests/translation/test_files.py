"""Translation: a face looks the same whatever is beside it, one seed gives the same pictures, names never clash."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.checkpoints import rival
from helpers.common import picture
from PIL import Image
from skimage.data import astronaut

from facecycle.errors import ConfigError, DataError
from facecycle.networks import load
from facecycle.pictures import flow_colours
from facecycle.runtimes.base import BATCH, Runtime
from facecycle.runtimes.by_torch import TorchRuntime
from facecycle.translation.files import Wanted, expand, translate_files


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return TorchRuntime(load(None))


PANELS = ("pasted", "frontal", "neutral", "mean_face", "flow")
CENTRE = Wanted(detector="centre")
"""Of pictures that show no face to a detector."""


def test_one_seed_gives_the_same_pictures_whatever_is_beside_a_face(runtime: Runtime, tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f"{number}.png", number) for number in range(3)]
    alone = translate_files(runtime, paths[2:], tmp_path / "alone", CENTRE)
    together = translate_files(runtime, paths, tmp_path / "together", CENTRE)
    other = translate_files(runtime, paths[2:], tmp_path / "other", replace(CENTRE, seed=1))
    assert {path.name for path in alone.pictures} == {f"2-{p}.png" for p in PANELS}
    assert (tmp_path / "alone" / "2-neutral.png").read_bytes() == (tmp_path / "together" / "2-neutral.png").read_bytes()
    assert (tmp_path / "alone" / "2-neutral.png").read_bytes() != (tmp_path / "other" / "2-neutral.png").read_bytes()
    assert (alone.gallery, other.gallery) == (None, None)
    assert together.gallery is not None
    assert len(together.pictures) == 15


def test_a_driver_is_swapped_both_ways(runtime: Runtime, tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / "a.png", 1), picture(tmp_path / "in" / "a.jpg", 2)]
    made = translate_files(runtime, paths[1:], tmp_path / "out", CENTRE, driver=paths[0])
    names = {path.name for path in made.pictures}
    assert {"a-2+a-expression_swap.png", "a+a-2-expression_swap.png", "a+a-2-identity_swap.png"} <= names
    assert made.missing == ()


def test_a_large_driver_of_many_faces_is_not_held_once_for_each(runtime: Runtime, tmp_path: Path) -> None:
    """Its photograph is written with the expression of each face, one after the other."""
    face = astronaut()[:200, 140:310]
    Image.fromarray(np.tile(face, (2, 4, 1))).save(tmp_path / "many.png")
    driver = np.pad(face, ((0, 1000), (0, 1830), (0, 0)))
    Image.fromarray(driver).save(tmp_path / "one.png")
    tracemalloc.start()
    try:
        wanted = Wanted(face="all")
        made = translate_files(runtime, [tmp_path / "many.png"], tmp_path / "out", wanted, tmp_path / "one.png")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert made.faces == {str(tmp_path / "many.png"): 8}
    assert sorted(set(made.pictures)) == sorted(made.pictures)  # each is written once
    assert peak < 7 * driver.nbytes


def test_what_cannot_be_read_is_named(runtime: Runtime, tmp_path: Path) -> None:
    broken = [tmp_path / name for name in ("x.png", "y.png")]
    for path in broken:
        path.write_text("no image")
    made = translate_files(runtime, [picture(tmp_path / "a.png"), *broken], tmp_path / "out", CENTRE)
    assert list(made.skipped) == [str(path) for path in broken]
    with pytest.raises(DataError, match=r"none of the images could be translated; .*x\.png"):
        translate_files(runtime, broken, tmp_path / "out", CENTRE)


def test_a_folder_of_photographs_leaves_out_what_was_made_of_them(tmp_path: Path) -> None:
    said: list[str] = []
    photograph, out = picture(tmp_path / "in" / "a.png"), tmp_path / "in" / "translations"
    picture(out / "a-pasted.png")
    assert expand([tmp_path / "in"], said.append, "", out) == [photograph]
    assert said == [f"{tmp_path / 'in'}: passed over {out}, where pictures are written"]
    with pytest.raises(ConfigError, match="is the folder whose images are read"):
        expand([tmp_path / "in"], said.append, "", tmp_path / "in")


def test_a_strength_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    runtime, faces = rival("tcae", tmp_path), [picture(tmp_path / f"{name}.png") for name in "ab"]
    for wanted in (replace(CENTRE, strength=0.5), replace(CENTRE, strengths=(0.0, 1.0))):
        with pytest.raises(ConfigError, match="move no face"):
            translate_files(runtime, faces[:1], tmp_path / "out", wanted, driver=faces[1])
    assert not (tmp_path / "out").exists()
    assert translate_files(runtime, faces[:1], tmp_path / "out", CENTRE, driver=faces[1]).pictures


def test_panels_are_made_in_batches_of_images_and_drivers(runtime: Runtime) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH + 2, 3, 64, 64), dtype=np.uint8)
    made = runtime.translate(pixels, pixels[::-1].copy(), 0, ["frontal", "flow", "expression_swap"])
    assert set(made) == {"frontal", "flow", "expression_swap"}
    assert made["frontal"].shape == made["expression_swap"].shape == pixels.shape
    assert made["flow"].shape == (BATCH + 2, 2, 16, 16)
    last = runtime.translate(pixels[-2:], pixels[1::-1].copy(), 0, ["frontal", "expression_swap"])
    for name, panel in last.items():
        assert abs(made[name][-2:].astype(int) - panel).max() <= 1, name


def test_flows_are_coloured_by_direction_and_length() -> None:
    flow = np.zeros((3, 2, 16, 16), np.float32)
    flow[0, 0] = 0.5  # to the right
    flow[1, 0, :, 15] = 0.2  # to the right, at the right edge alone
    right, edge, still = flow_colours(flow, 64)
    assert (right == np.array([255, 0, 0]).reshape(3, 1, 1)).all()
    assert (edge[:, :, -1] == np.array([[255], [0], [0]])).all()
    assert edge[1, 0, 60] == 255 - round(255 * (60 / 63 * 15 - 14))
    assert (edge[:, :, :50] == 255).all()
    assert (still == 255).all()
