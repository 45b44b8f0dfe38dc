"""The public API: what `facecycle.load` returns, and what it says to wrong images and paths."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.common import picture
from PIL import Image

import facecycle
from facecycle.data.images import from_uint8, read_square
from facecycle.networks import load


@pytest.fixture(scope="module")
def model() -> facecycle.Model:
    return facecycle.load()


def test_importing_it_takes_no_torch_and_names_what_is_public() -> None:
    code = "import sys, facecycle; print(facecycle.__version__, sorted(facecycle.__all__), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.endswith("['FacecycleError', 'Model', '__version__', 'load'] False\n")


def test_a_path_a_pil_image_and_an_array_are_the_same_face(model: facecycle.Model, tmp_path: Path) -> None:
    path = picture(tmp_path / "face.png", size=(64, 64))
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    codes = model.embed([path, str(path), image, np.asarray(image)])
    assert codes.shape == (4, 256)
    assert codes.dtype == np.float32
    assert np.abs(codes - codes[0]).max() <= 1e-6
    assert np.abs(model.embed(image) - codes[:1]).max() <= 1e-5
    method, pixels = load(None).method, from_uint8(read_square(path, model.size)[None])
    for name in model.feature_names:
        with torch.inference_mode():
            expected = method.features(pixels, frozenset({name}))[name].numpy()
        assert np.allclose(model.features(path, name), expected, atol=1e-5), name


def test_pictures_come_by_name_and_again_with_one_seed(model: facecycle.Model, tmp_path: Path) -> None:
    face, driver = picture(tmp_path / "face.png", 1, (90, 70)), picture(tmp_path / "driver.png", 2)
    translate = partial(model.translate, detector="centre")
    alone, swapped = translate(face), translate(face, driver)
    assert set(alone) < set(swapped)
    assert set(swapped) == {*model.panels, "input", "photograph", "pasted", "reexpressed"} - {"reconstruction"}
    large = {name: swapped.pop(name).size for name in ("photograph", "pasted", "frontal", "reexpressed")}
    assert large == {"photograph": (90, 70), "pasted": (90, 70), "frontal": (70, 70), "reexpressed": (70, 70)}
    assert {image.size for image in swapped.values()} == {(model.size, model.size)}
    assert alone["neutral"].tobytes() == translate(face)["neutral"].tobytes()
    assert alone["neutral"].tobytes() != translate(face, seed=1)["neutral"].tobytes()
    assert alone["frontal"].tobytes() != model.translate(face, crop="0,0,40,40")["frontal"].tobytes()


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda m: facecycle.load("no/such/run"), "there is no checkpoint at no/such/run\nGive a run folder"),
        (lambda m: m.embed(["no.jpg"]), "no.jpg: there is no such file"),
        (lambda m: m.embed([]), "there are no images"),
        (lambda m: m.embed(np.zeros((8, 8, 3))), "an array of float64 with shape (8, 8, 3) is no image"),
        (lambda m: m.embed(np.zeros((8, 8, 4), np.uint8)), "an array of uint8 with shape (8, 8, 4) is no image"),
        (lambda m: m.features(np.zeros((8, 8), np.uint8), "idenity"), "have no feature 'idenity'\nDid you mean"),
        (lambda m: m.translate(np.zeros((8, 8), np.uint8), crop="0,0,9,9"), "the image: the box 0,0,9,9 leaves"),
    ],
)  # fmt: skip
def test_a_mistake_is_an_error_that_says_what_to_do(model: facecycle.Model, use: object, expected: str) -> None:
    with pytest.raises(facecycle.FacecycleError) as error:
        use(model)  # type: ignore[operator]
    assert expected in str(error.value)
