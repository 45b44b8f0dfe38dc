"""YuNet: both runtimes agree, and faces are found at any size, in any turn, and where the border cuts them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from facecycle_plugins.detectors.yunet import Found, YuNet, YuNetOptions, _part, _resized, decode, distinct
from facecycle_plugins.detectors.yunet_network import open_network
from PIL import Image
from skimage.data import astronaut

from facecycle.api import Face
from facecycle.errors import ConfigError
from facecycle.faces.crop import crop
from facecycle.faces.similarity import Similarity, align

YUNET = YuNet(YuNetOptions())


def resized(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def face() -> Face:
    (found,) = YUNET.detect(astronaut())
    return found


def test_both_runtimes_compute_the_same_maps() -> None:
    pytest.importorskip("onnxruntime")
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, 96, 160)).astype(np.float32)
    images[1] = astronaut()[40:136, 150:310, ::-1].transpose(2, 0, 1)
    for ours, theirs in zip(open_network("onnx")(images), open_network("torch")(images), strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-4 * np.abs(ours).max()


def test_without_onnxruntime_torch_is_taken_unless_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert len(YuNet(YuNetOptions()).detect(astronaut())) == 1
    with pytest.raises(ConfigError, match="onnxruntime"):
        YuNet(YuNetOptions(runtime="onnx")).detect(astronaut())


def test_a_map_is_decoded_as_opencv_does() -> None:
    found = np.zeros((1, 16, 3, 4), np.float32)
    found[0, :, 2, 1] = [np.log(4), np.log(9), 0.5, 0.25, np.log(2), np.log(3), *range(10)]
    points, scores = decode(found, 8)
    cell = 2 * 4 + 1
    assert scores[0, cell] == pytest.approx(np.sqrt(0.8 * 0.9))
    assert scores[0, 0] == 0.5
    # The centre is (1.5, 2.25) cells, and the box 2 cells wide and 3 high.
    assert np.allclose(points[0, cell, :2], [(4, 6), (20, 30)])
    assert np.allclose(points[0, cell, 2:], np.add(np.arange(10).reshape(5, 2), (1, 2)) * 8)


def test_of_boxes_that_overlap_the_surest_stays() -> None:
    boxes = np.array([[(0, 0), (10, 10)], [(1, 1), (11, 11)], [(6, 0), (16, 10)], [(40, 40), (50, 50)]], float)
    points = np.concatenate((boxes, np.zeros((4, 5, 2))), axis=1)
    kept = distinct(Found(points, np.array([0.8, 0.9, 0.85, 0.81])))
    assert kept.scores.tolist() == [0.9, 0.85, 0.81]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_of_the_photograph_turns_the_face(face: Face, turns: int) -> None:
    turned = np.ascontiguousarray(np.rot90(astronaut(), turns))
    found = align(YUNET.detect(turned)[0])
    upright = align(face)
    assert (found.roll - upright.roll + 90 * turns + 180) % 360 - 180 == pytest.approx(0, abs=8)
    assert found.side == pytest.approx(upright.side, rel=0.08)
    cut = np.asarray(crop(turned, found, 32), float)
    assert np.corrcoef(cut.ravel(), crop(astronaut(), upright, 32).ravel())[0, 1] > 0.9


@pytest.mark.parametrize("roll", [-60, 30, 135])
def test_landmarks_of_a_rolled_face_are_upright_ones(face: Face, roll: int) -> None:
    image = crop(astronaut(), Similarity(223, 119, 320, roll), 320)
    found = align(YUNET.detect(image)[0])
    assert (found.roll - align(face).roll + roll + 180) % 360 - 180 == pytest.approx(0, abs=8)


@pytest.mark.parametrize("side", [80, 700, 2500])
def test_a_face_that_fills_the_picture_is_found(side: int) -> None:
    (found,) = YUNET.detect(resized(astronaut()[70:180, 168:278], side))
    assert align(found).side == pytest.approx(side, rel=0.15)


def test_a_small_face_of_a_large_picture_is_found() -> None:
    picture = np.full((1400, 2000, 3), 120, np.uint8)
    picture[900:1100, 1500:1700] = resized(astronaut(), 200)
    (found,) = YUNET.detect(picture)
    assert align(found).x == pytest.approx(1500 + 223 * 200 / 512, abs=4)


def test_the_largest_face_comes_first() -> None:
    picture = np.full((600, 800, 3), 120, np.uint8)
    picture[50:250, 20:220] = resized(astronaut(), 200)
    picture[100:500, 350:750] = resized(astronaut(), 400)
    first, second = YUNET.detect(picture)
    assert first.box[0] > 350
    assert second.box[0] < 220


def test_stills_are_aligned_as_they_are() -> None:
    folder = Path(__file__).parents[3] / ".." / "shared" / "data" / "stills"
    if not folder.is_dir():
        pytest.skip("the development data is not there")
    images = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())[::400]]
    found = [align(faces[0]) for image in images if (faces := YUNET.detect(image))]
    assert len(found) == len(images)
    assert np.median([each.side for each in found]) == pytest.approx(96, rel=0.05)
    assert np.median([(each.x, each.y) for each in found], axis=0) == pytest.approx((48, 48), abs=3)


@pytest.mark.parametrize("scale", [1.3, 0.7, 0.301, 0.2, 0.07])
@pytest.mark.parametrize("middle", [(700, 500), (60, 20), (1490, 1000)])
def test_a_part_of_a_smaller_image_is_made_without_the_rest(scale: float, middle: tuple[int, int]) -> None:
    image = resized(astronaut(), 1501)[:1107]
    part, first, factors = _part(image, Similarity(*middle, 300, 20), scale)
    whole, whole_factors = _resized(image, scale) if scale < 1 else (image, np.ones(2))
    assert np.array_equal(factors, whole_factors)
    same = whole[first[1] :, first[0] :][: part.shape[0], : part.shape[1]]
    assert part.shape == same.shape
    off = abs(part.astype(int) - same)
    assert off.max(initial=0) <= 1  # Pillow takes the corners of a part as float32
    assert off.mean() < 0.01
    if scale < 1:
        assert part.size < 0.4 * whole.size
        assert not _part(image, Similarity(2500, 500, 300), scale)[0].size


@pytest.mark.parametrize("scale", [1, 3])
def test_a_face_is_followed_to_where_it_went(scale: int) -> None:
    image = resized(astronaut(), 512 * scale)
    before = YUNET.detect(image)[0]
    moved = np.roll(image, (4 * scale, -6 * scale), axis=(0, 1))
    found, expected = YUNET.follow(moved, before), YUNET.detect(moved)[0]
    assert found is not None
    assert found.landmarks is not None
    assert expected.landmarks is not None
    assert abs(found.landmarks - expected.landmarks).mean() < 0.03 * align(expected).side
    assert np.allclose(found.box, expected.box, atol=0.1 * expected.box[2])


def test_looks_at_a_face_that_stays_do_not_alternate(face: Face) -> None:
    sides, seen = [], face
    for _ in range(8):
        again = YUNET.follow(astronaut(), seen)
        assert again is not None
        seen = again
        sides.append(align(seen).side)
    assert np.ptp(sides[2:]) < 0.01 * sides[-1]
    assert sides[-1] == pytest.approx(align(face).side, rel=0.03)


def test_a_face_that_went_is_not_followed(face: Face) -> None:
    meadow = np.full_like(astronaut(), (90, 120, 60))
    assert YUNET.follow(meadow, face) is None
    assert face.landmarks is not None
    assert YUNET.follow(astronaut(), Face((900, 900, 40, 40), 1.0, face.landmarks + 900)) is None
    assert YUNET.follow(astronaut(), Face(face.box, 1.0)) is None
