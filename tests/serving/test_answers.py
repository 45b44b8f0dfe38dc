"""What requests compute: the same faces and pictures as from Python, of the formats that browsers show."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from helpers.checkpoints import rival
from helpers.serving import encoded, no_face, one_face, two_faces
from PIL import Image, ImageCms

from facecycle.errors import ConfigError, DataError, NoFaceError
from facecycle.faces.detection import detect
from facecycle.method.facecycle import FaceCycle
from facecycle.runtimes.base import Runtime
from facecycle.serving.answers import Answers, Encoded
from facecycle.serving.shown import shown_of
from facecycle.translation.photographs import find_faces as find_in
from facecycle.translation.photographs import finder, photograph_of
from facecycle.translation.rows import Row, pictures_of


@pytest.fixture(scope="module")
def answers(runtime: Runtime) -> Answers:
    return Answers(runtime)


def opened(made: list[Encoded]) -> dict[str, Image.Image]:
    return {each.name: Image.open(io.BytesIO(each.content)) for each in made}


def test_faces_are_those_that_python_finds(answers: Answers) -> None:
    image = two_faces()
    found = answers.find(encoded(image))
    expected = detect(np.asarray(image))
    assert (found["width"], found["height"]) == image.size
    assert len(found["faces"]) == len(expected) == 2
    for face, other in zip(found["faces"], expected, strict=True):
        assert face["box"] == list(other.box)
        assert face["landmarks"] == other.landmarks.tolist()
    assert found["faces"][0]["box"][2] > found["faces"][1]["box"][2]


@pytest.mark.parametrize("face", [0, 1])
@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_pictures_are_those_that_python_makes(answers: Answers, runtime: Runtime, face: int, strength: float) -> None:
    image, other = two_faces(), one_face()
    made = opened(answers.translate(encoded(image), face, strength, encoded(other)))
    ours = find_in(photograph_of(image, ""), finder(), face + 1, runtime.size)[0]
    driver = find_in(photograph_of(other, ""), finder(), 1, runtime.size)[0]
    names = ["pasted", "frontal", "neutral", "mean_face", "flow", "reexpressed"]
    (expected,) = pictures_of(runtime, [Row("", "", ours, driver)], names, strength, 0)
    assert set(made) == set(names) - {"flow"}
    for name, picture in made.items():
        assert np.array_equal(np.asarray(picture).transpose(2, 0, 1), expected.by_name[name]), name


def test_strength_0_gives_the_photograph_back(answers: Answers) -> None:
    made = opened(answers.translate(encoded(one_face()), 0, 0.0))
    assert np.array_equal(np.asarray(made["pasted"]), np.asarray(one_face()))
    assert "reexpressed" not in made


def test_a_jpeg_comes_back_as_one_with_its_profile_and_upright(answers: Answers) -> None:
    turned = one_face().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"  # "to be turned clockwise"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photograph = encoded(turned, "JPEG", quality=95, exif=exif, icc_profile=profile)
    box = answers.find(photograph)["faces"][0]["box"]
    assert np.allclose(box, detect(np.asarray(one_face()))[0].box, atol=3)
    pasted = opened(answers.translate(photograph, 0, 1.0))["pasted"]
    assert pasted.format == "JPEG"
    assert pasted.size == (512, 512)
    assert pasted.info["icc_profile"] == profile
    assert pasted.getexif()[0x010F] == "a camera"
    assert 0x0112 not in pasted.getexif()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF"])
def test_what_browsers_show_is_read(answers: Answers, kind: str) -> None:
    image = one_face().crop((100, 0, 356, 256))
    assert len(answers.find(encoded(image, kind))["faces"]) == 1


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM"])
def test_other_formats_are_not(answers: Answers, kind: str) -> None:
    with pytest.raises(DataError, match="format that can be read"):
        answers.find(encoded(one_face(), kind))


def test_what_cannot_be_done_is_refused(answers: Answers) -> None:
    good = encoded(one_face())
    with pytest.raises(NoFaceError):
        answers.find(encoded(no_face()))
    with pytest.raises(NoFaceError):
        answers.translate(good, 0, 1.0, encoded(no_face()))
    for face in (1, -1):
        with pytest.raises(DataError, match=f"no face {face}"):
            answers.translate(good, face, 1.0)
    for strength in (-0.1, 1.6, float("nan")):
        with pytest.raises(ConfigError, match="strength"):
            answers.translate(good, 0, strength)
    for damaged in (b"", b"no picture", good[: len(good) // 2]):
        with pytest.raises(DataError):
            answers.find(damaged)


def test_more_pixels_than_phones_have_are_refused_before_they_are_decoded(answers: Answers) -> None:
    with pytest.raises(DataError, match="7200 x 7200 pixels are more than 50,000,000"):
        answers.find(encoded(Image.new("1", (7200, 7200))))


def test_a_large_photograph_has_the_same_faces(answers: Answers) -> None:
    small, times = two_faces(), 6
    large = small.resize((small.width * times, small.height * times), Image.Resampling.BICUBIC)
    found, expected = (answers.find(encoded(image, "JPEG", quality=90)) for image in (large, small))
    assert found["width"] == times * expected["width"]
    for face, other in zip(found["faces"], expected["faces"], strict=True):
        assert np.allclose(np.array(face["landmarks"]) / times, other["landmarks"], atol=1.5)  # of a face of 90 pixels
        assert np.allclose(np.array(face["box"]) / times, other["box"], atol=4)


def test_it_says_what_it_shows_in_the_words_of_the_method(answers: Answers, runtime: Runtime) -> None:
    said = answers.about()
    assert (said["origin"], said["terms"], said["moves"]) == (runtime.origin, runtime.terms, True)
    own = {name: FaceCycle.captions[name] for name in ("frontal", "neutral", "mean_face")}
    captions = {**own, "reexpressed": ("Re-expressed", "with the other's expression")}
    order = ("frontal", "reexpressed", "neutral", "mean_face")
    assert [tuple(each.values()) for each in said["panels"]] == [
        (name, *captions[name], name == "reexpressed") for name in order
    ]


@pytest.mark.parametrize(
    ("method", "titles"), [("fab-net", ["Driven"]), ("tcae", ["Driven", "Pose driven", "Action driven"])]
)
def test_pictures_of_two_faces_wait_for_the_second(tmp_path: Path, method: str, titles: list[str]) -> None:
    runtime = rival(method, tmp_path)
    answers = Answers(runtime)
    answers.warm_up()
    said = answers.about()
    assert not said["moves"]
    assert [(each["title"], each["driven"]) for each in said["panels"]] == [(title, True) for title in titles]
    photograph, driver = encoded(one_face()), encoded(two_faces())
    assert answers.translate(photograph, 0, 1.0) == []
    made = opened(answers.translate(photograph, 0, 1.0, driver))
    assert list(made) == [each["name"] for each in said["panels"]]
    ours, other = (find_in(photograph_of(i, ""), finder(), 1, 32)[0].pixels[None] for i in (one_face(), two_faces()))
    for name, panel in runtime.translate(ours, other, 0, runtime.panels).items():
        assert np.array_equal(np.asarray(made[name]).transpose(2, 0, 1), panel[0])


def test_panels_of_which_a_method_says_nothing_are_called_by_their_names(tmp_path: Path) -> None:
    runtime = rival("tcae", tmp_path)
    runtime.captions = {}
    assert [(each.title, each.about) for each in shown_of(runtime)] == [
        ("Driven", ""),
        ("Pose driven", ""),
        ("Action driven", ""),
    ]


def test_weights_that_make_no_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="these weights make no pictures"):
        Answers(rival("simclr", tmp_path))
