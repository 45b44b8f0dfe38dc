"""Photographs come back with their faces moved: sharp, the same outside the faces, and with their own metadata."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.data import astronaut

from facecycle.checkpoints.places import SHIPPED
from facecycle.data.images import Crop
from facecycle.errors import ConfigError, DataError, FacecycleError, NoFaceError
from facecycle.faces.motion import MIDDLE, RADII
from facecycle.runtimes.base import Runtime
from facecycle.runtimes.by_onnx import OnnxRuntime
from facecycle.translation.files import Wanted, translate_files
from facecycle.translation.photographs import find_faces, finder, read_photograph

ORIENTATION, CAMERA, TURNED = 0x0112, 0x010F, 6


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return OnnxRuntime(SHIPPED)


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A photograph of two faces, one larger than the other."""
    face = astronaut()[:256, 96:352]
    small = np.asarray(Image.fromarray(face).resize((160, 160)))
    image = np.full((256, 480, 3), 90, np.uint8)
    image[:, :256] = face
    image[60:220, 290:450] = small
    Image.fromarray(image).save(tmp_path / "two.png")
    return tmp_path / "two.png"


def rgb(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_all_faces_move_within_one_photograph_and_nothing_else_does(
    runtime: Runtime, two: Path, tmp_path: Path
) -> None:
    made = translate_files(runtime, [two], tmp_path / "out", Wanted(face="all"))
    names = {path.name for path in made.pictures}
    panels = ("frontal", "neutral", "mean_face", "flow")
    assert names == {"two-pasted.png", *(f"two-face{n}-{panel}.png" for n in (1, 2) for panel in panels)}
    # The faces share their photograph's thumbnail.
    assert [path.name for path in (tmp_path / "out").glob("*photograph*")] == ["two-photograph.png"]
    before, after = rgb(two), rgb(tmp_path / "out" / "two-pasted.png")
    y, x = np.mgrid[:256, :480] + 0.5
    outside = np.ones((256, 480), bool)
    faces = find_faces(read_photograph(two), finder(), "all", 64)
    assert len(faces) == 2
    assert faces[0].similarity.side > faces[1].similarity.side
    for face in faces:
        within = np.hypot(*np.moveaxis((face.similarity.to_crop(np.stack([x, y], -1)) - MIDDLE) / RADII, -1, 0)) < 1
        assert (before[within] != after[within]).any()
        outside &= ~within
    assert np.array_equal(before[outside], after[outside])


def test_one_of_several_faces_is_chosen_by_its_number(runtime: Runtime, two: Path, tmp_path: Path) -> None:
    made = translate_files(runtime, [two], tmp_path / "out", Wanted(face=2))
    assert made.faces == {str(two): 2}
    assert "two-face2-frontal.png" in {path.name for path in made.pictures}
    before, after = rgb(two), rgb(tmp_path / "out" / "two-pasted.png")
    assert np.array_equal(before[:, :256], after[:, :256])
    with pytest.raises(DataError, match="there is no face 3, because there are 2 faces"):
        translate_files(runtime, [two], tmp_path / "out", Wanted(face=3))


def test_frontal_faces_are_as_sharp_as_their_photograph(runtime: Runtime, tmp_path: Path) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "a.png")
    translate_files(runtime, [tmp_path / "a.png"], tmp_path / "still", Wanted(strength=0))
    translate_files(runtime, [tmp_path / "a.png"], tmp_path / "moved")
    assert np.array_equal(rgb(tmp_path / "still" / "a-pasted.png"), astronaut())

    def sharpness(path: Path) -> float:
        grey = rgb(path).mean(axis=2)[8:-8, 8:-8]
        return float((4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]).var())

    assert sharpness(tmp_path / "moved" / "a-frontal.png") > 0.6 * sharpness(tmp_path / "still" / "a-frontal.png")


def test_strengths_are_drawn_beside_each_other(runtime: Runtime, two: Path, tmp_path: Path) -> None:
    made = translate_files(runtime, [two], tmp_path / "out", Wanted(strengths=(0, 0.5, 1.5)))
    assert [path.name for path in made.sheets] == ["contact_sheet.png", "strengths.png"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_picture_keeps_what_its_photograph_says(runtime: Runtime, tmp_path: Path, suffix: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[ORIENTATION], exif[CAMERA] = TURNED, "a camera"
    turned = Image.fromarray(astronaut()).transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "a.jpg", exif=exif, icc_profile=profile, quality=95)
    translate_files(runtime, [tmp_path / "a.jpg"], tmp_path / "out", Wanted(suffix=suffix))
    with Image.open(tmp_path / "out" / f"a-pasted.{suffix}") as pasted:
        assert pasted.size == (512, 512)
        found = pasted.getexif()
        assert found[CAMERA] == "a camera"
        assert ORIENTATION not in found  # the pixels are upright now
        assert pasted.info["icc_profile"] == profile
        upright = np.asarray(pasted.convert("RGB"), int)
    assert abs(upright - astronaut()).mean() < 8


def test_what_a_jpeg_has_no_room_for_is_left_behind(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[CAMERA] = 70_000 * "x"
    Image.fromarray(astronaut()).save(tmp_path / "a.webp", exif=exif)
    assert read_photograph(tmp_path / "a.webp").metadata == {}


def test_a_profile_of_other_colours_is_left_behind(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.fromarray(astronaut()).convert("CMYK").save(tmp_path / "a.tif", icc_profile=lab)
    assert "icc_profile" not in read_photograph(tmp_path / "a.tif").metadata


def test_a_folder_goes_on_without_what_shows_no_face(runtime: Runtime, tmp_path: Path) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "a.png")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    Image.new("RGB", (300, 200), (90, 120, 60)).save(tmp_path / "meadow.png")
    paths = [tmp_path / name for name in ("a.png", "dot.png", "meadow.png")]
    made = translate_files(runtime, paths, tmp_path / "out")
    assert made.skipped == {str(path): "no face was found" for path in paths[1:]}
    page = made.gallery.read_text("utf-8") if made.gallery else ""
    assert page.index("a-photograph.png") < page.index("a-pasted.png") < page.index("a-neutral.png")
    for path in paths[1:]:
        with pytest.raises(NoFaceError, match=r"no face was found\nSay where it is: --crop"):
            translate_files(runtime, [path], tmp_path / "none")
        with pytest.raises(NoFaceError, match=path.name):
            translate_files(runtime, paths[:1], tmp_path / "none", driver=path)
    assert not (tmp_path / "none").exists()


def test_a_photograph_that_a_format_is_too_small_for_is_named(runtime: Runtime, two: Path, tmp_path: Path) -> None:
    wide = np.zeros((64, 16_500, 3), np.uint8)
    wide[:, :64] = np.asarray(Image.fromarray(astronaut()[:180, 130:310]).resize((64, 64)))
    Image.fromarray(wide).save(tmp_path / "wide.png")
    wanted = Wanted(suffix="webp", crop=Crop(0, 0, 64, 64))
    made = translate_files(runtime, [two, tmp_path / "wide.png"], tmp_path / "out", wanted)
    assert made.skipped == {str(tmp_path / "wide.png"): "a .webp has 16,383 pixels to a side at most"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"strength": 1.6}, "the strength 1.6 is not from 0 to 1.5"),
        ({"strengths": (0.0, float("nan"))}, "the strength nan is not from 0"),
        ({"detector": "yunett"}, "Did you mean"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    runtime: Runtime, two: Path, tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    with pytest.raises(FacecycleError) as error:
        translate_files(runtime, [two], tmp_path / "out", replace(Wanted(), **change))  # type: ignore[arg-type]
    assert expected in str(error.value)
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file\nName a folder"):
        translate_files(runtime, [two], tmp_path / "file")
