"""Translation: a face looks the same whatever is beside it, one seed gives the same pictures, names never clash."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.common import picture

from facecycle.errors import DataError
from facecycle.networks import Loaded, load
from facecycle.pictures import BATCH, panels_of
from facecycle.translation.files import translate_files


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load(None)


def test_one_seed_gives_the_same_pictures_whatever_is_beside_a_face(loaded: Loaded, tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / f"{number}.png", number) for number in range(3)]
    alone = translate_files(loaded, paths[2:], tmp_path / "alone")
    together = translate_files(loaded, paths, tmp_path / "together")
    other = translate_files(loaded, paths[2:], tmp_path / "other", seed=1)
    assert [path.name for path in alone.pictures] == [f"2-{p}.png" for p in ("frontal", "neutral", "mean_face", "flow")]
    assert (tmp_path / "alone" / "2-neutral.png").read_bytes() == (tmp_path / "together" / "2-neutral.png").read_bytes()
    assert (tmp_path / "alone" / "2-neutral.png").read_bytes() != (tmp_path / "other" / "2-neutral.png").read_bytes()
    assert (alone.gallery, other.gallery) == (None, None)
    assert together.gallery is not None
    assert len(together.pictures) == 12


def test_a_driver_is_swapped_both_ways(loaded: Loaded, tmp_path: Path) -> None:
    paths = [picture(tmp_path / "in" / "a.png", 1), picture(tmp_path / "in" / "a.jpg", 2)]
    made = translate_files(loaded, paths[1:], tmp_path / "out", driver=paths[0])
    names = {path.name for path in made.pictures}
    assert {"a-2+a-expression_swap.png", "a+a-2-expression_swap.png", "a+a-2-identity_swap.png"} <= names
    assert made.missing == ()


def test_what_cannot_be_read_is_named(loaded: Loaded, tmp_path: Path) -> None:
    broken = [tmp_path / name for name in ("x.png", "y.png")]
    for path in broken:
        path.write_text("no image")
    made = translate_files(loaded, [picture(tmp_path / "a.png"), *broken], tmp_path / "out")
    assert list(made.skipped) == [str(path) for path in broken]
    with pytest.raises(DataError, match=r"none of the images could be read; .*x\.png"):
        translate_files(loaded, broken, tmp_path / "out")


def test_panels_are_made_in_batches_of_images_and_drivers(loaded: Loaded) -> None:
    pixels = torch.randint(0, 256, (BATCH + 2, 3, 64, 64), dtype=torch.uint8, generator=torch.manual_seed(0))
    made = panels_of(loaded.method, pixels, pixels.flip(0), None, ["frontal", "flow", "expression_swap"])
    assert {name: panel.shape for name, panel in made.items()} == dict.fromkeys(made, pixels.shape)
    assert set(made) == {"frontal", "flow", "expression_swap"}
    last = panels_of(loaded.method, pixels[-2:], pixels[:2].flip(0), None, ["frontal"])["frontal"]
    assert (made["frontal"][-2:].int() - last.int()).abs().max() <= 1
