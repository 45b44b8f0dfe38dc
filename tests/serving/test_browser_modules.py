"""What a browser computes is what Python computes: the same numbers go through both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facecycle_plugins.detectors import yunet
from helpers.node import call, pixels, rgba
from PIL import Image
from skimage.data import astronaut

from facecycle.api import Face
from facecycle.faces import motion
from facecycle.faces.crop import crop
from facecycle.faces.detection import warnings
from facecycle.faces.similarity import ALIGNED, Similarity, align, fit

SIMILARITY = "new s.Similarity(...given.similarity)"
POINTS = [(-0.8, -0.6), (0.8, -0.6), (0.1, 0.2), (-0.6, 1.0), (0.6, 1.0)]
TOY = """
m.detect(given.image, async (planes, [count, , height, width]) => [8, 16, 32].map((stride) => {
  const across = width / stride, down = height / stride, map = new Float32Array(count * 16 * down * across);
  for (let image = 0; image < count; image++) for (let row = 0; row < down; row++) for (let c = 0; c < across; c++) {
    const at = (plane, line) => planes[((image * 3 + plane) * height + line * stride + stride / 2) * width
      + c * stride + stride / 2];
    const lean = (line) => at(2, line) - at(1, line), below = Math.min(row + 1, down - 1);
    const sure = (lean(row) - lean(below) - 250) / 20, blue = at(0, row) / 255, side = Math.log(4) + blue;
    const numbers = [sure, sure, 0, 0, side, side, ...given.points.flat().map((place) => place + blue)];
    numbers.forEach((number, i) => { map[((image * 16 + i) * down + row) * across + c] = number; });
  }
  return map;
}))
"""
"""The detector on a network that sees a face wherever red lies above green, in JavaScript."""


def toy(images: np.ndarray) -> list[np.ndarray]:
    """Return the maps of the same network in Python."""
    maps = []
    for stride in (8, 16, 32):
        blue, green, red = images[:, :, stride // 2 :: stride, stride // 2 :: stride].transpose(1, 0, 2, 3)
        lean = red - green
        below = np.concatenate([lean[:, 1:], lean[:, -1:]], axis=1)
        sure, none, side = (lean - below - 250) / 20, np.zeros_like(lean), np.log(4) + blue / 255
        places = [place + blue / 255 for point in POINTS for place in point]
        maps.append(np.stack([sure, sure, none, none, side, side, *places], axis=1))
    return [each.astype(np.float32) for each in maps]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


def flow(random: np.random.Generator, size: int = 16) -> np.ndarray:
    """Return a smooth random flow (2, size, size), as large as those of faces."""
    coarse = [Image.fromarray(each) for each in random.normal(0, 0.1, (2, 4, 4)).astype(np.float32)]
    return np.stack([np.asarray(each.resize((size, size), Image.Resampling.BICUBIC)) for each in coarse])


def as_flow(array: np.ndarray) -> dict[str, Any]:
    return {"width": array.shape[2], "height": array.shape[1], "data": array.ravel().tolist()}


def squares(random: np.random.Generator, count: int) -> list[tuple[float, ...]]:
    """Return similarities in a picture of 90 x 70 pixels, some of which leave it."""
    low, high = (10, 10, 20, -180), (80, 60, 120, 180)
    return [tuple(random.uniform(low, high).tolist()) for _ in range(count)]


def same_pixels(mine: np.ndarray, wanted: np.ndarray, most: float = 0.01) -> None:
    """Sums in another order may fall on the other side of a half: by one level, in few pixels."""
    difference = np.abs(mine.astype(int) - wanted)
    assert difference.max() <= 1
    assert difference.mean() <= most


def test_a_similarity_fits_the_same_points(tmp_path: Path, random: np.random.Generator) -> None:
    cases = [
        (random.normal(size=(n, 2)), random.normal(0, 99, (n, 2)), random.uniform(0.1, 1, n)) for n in range(2, 40)
    ]
    given = [{"a": a.tolist(), "b": b.tolist(), "weights": w.tolist()} for a, b, w in cases]
    body = "(({x, y, side, roll}) => [x, y, side, roll])(m.fit(given.a, given.b, given.weights))"
    expected = [fit(*case) for case in cases]
    found = call(tmp_path, "similarity", body, given)
    assert np.allclose(found, [(e.x, e.y, e.side, e.roll) for e in expected], rtol=1e-9, atol=1e-9)


def test_points_go_to_the_photograph_and_back(tmp_path: Path, random: np.random.Generator) -> None:
    points = random.uniform(-1, 2, (30, 2))
    given = [
        {"similarity": square, "point": point}
        for square, point in zip(squares(random, 30), points.tolist(), strict=True)
    ]
    body = f"(() => {{ const made = {SIMILARITY}, there = made.toPhotograph(given.point);"
    found = call(tmp_path, "similarity", f"{body} return [there, made.toCrop(there)]; }})()", given)
    for each, (there, back) in zip(given, found, strict=True):
        assert np.allclose(there, Similarity(*each["similarity"]).to_photograph(np.array(each["point"])))
        assert np.allclose(back, each["point"])


def test_doubts_are_said_in_the_same_words(tmp_path: Path, random: np.random.Generator) -> None:
    faces = []
    for place in range(60):
        landmarks = np.insert(ALIGNED, 2, (random.uniform(0.2, 0.8), 0.5), axis=0)
        photograph = Similarity(*random.uniform((0, 0, 20, -40), (200, 150, 150, 40))).to_photograph(landmarks)
        box = tuple(random.uniform((0, 0, 10, 10), (150, 100, 120, 120)).tolist())
        faces.append(Face(box, float(random.uniform(0.8, 1)), photograph if place % 3 else None))
    given = [
        {"box": f.box, "score": f.score, "landmarks": None if f.landmarks is None else f.landmarks.tolist()}
        for f in faces
    ]
    found = call(tmp_path, "similarity", "m.doubtsOf(given, {width: 200, height: 150})", given)
    assert found == [warnings(face, (150, 200)) for face in faces]
    assert {sentence.split(":")[0] for sentences in found for sentence in sentences} == {
        *("the face is small", "the face is turned far to the side", "the face is cut off", "it may be no face")
    }


@pytest.mark.parametrize("gap", [0, 2])
def test_images_are_resized_as_pillow_does(tmp_path: Path, gap: int) -> None:
    image = astronaut()[40:128, 180:276]
    sizes = [(12 * times, 11 * times) for times in (1, 2, 3, 5, 7, 8, 9, 16)]
    given = [{"image": rgba(image), "size": size} for size in sizes]
    found = call(tmp_path, "resizing", f"m.resize(given.image, ...given.size, {gap})", given)
    for each, size in zip(found, sizes, strict=True):
        wanted = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=gap or None)
        assert np.array_equal(pixels(each), np.asarray(wanted)), size


def test_halves_are_rounded_to_even(tmp_path: Path) -> None:
    numbers = [-2.5, -0.5, 0.5, 1.5, 2.4, 2.5, 3.5, 7.49999]
    assert call(tmp_path, "resizing", "m.rounded(given)", numbers) == [round(number) for number in numbers]


def test_crops_are_those_of_python(tmp_path: Path, random: np.random.Generator) -> None:
    image = astronaut()[60:130, 185:275]
    given = [
        {"image": rgba(image), "similarity": square, "size": size} for square in squares(random, 5) for size in (24, 64)
    ]
    found = call(tmp_path, "resizing", f"m.crop(given.image, {SIMILARITY}, given.size)", given)
    for each, made in zip(given, found, strict=True):
        same_pixels(pixels(made), crop(image, Similarity(*each["similarity"]), each["size"]))


def test_flows_are_followed_and_inverted_alike(tmp_path: Path, random: np.random.Generator) -> None:
    own, other = flow(random), flow(random, 9)
    points = random.uniform(-0.3, 1.3, (50, 2))
    given = [{"point": point, "flows": [as_flow(own), as_flow(other)]} for point in points.tolist()]
    found = call(tmp_path, "motion", "m.follow(given.point, given.flows, 1.3, 64)", given)
    assert np.allclose(found, motion.follow(points, [own, other], 1.3), atol=1e-6)
    (back,) = call(tmp_path, "motion", "Array.from(m.inverse(given, 64).data)", [as_flow(own)])
    assert np.allclose(np.reshape(back, (2, 32, 32)), motion.inverse(own), atol=1e-6)


@pytest.mark.parametrize("strength", [0, 0.4, 1.5])
def test_faces_are_moved_and_pasted_alike(tmp_path: Path, random: np.random.Generator, strength: float) -> None:
    image = astronaut()[60:130, 185:275]
    flows = [flow(random), flow(random)]
    given = [
        {"image": rgba(image), "similarity": square, "flows": [as_flow(each) for each in flows], "strength": strength}
        for square in [*squares(random, 4), (45, 30, 150, 20)]
    ]
    words = f"given.image, {SIMILARITY}, given.flows, given.strength, 64"
    found = call(tmp_path, "motion", f"[m.moved({words}), m.paste({words})]", given)
    for each, (cut, whole) in zip(given, found, strict=True):
        similarity = Similarity(*each["similarity"])
        same_pixels(pixels(cut), motion.moved(image, similarity, flows, strength=strength))
        same_pixels(pixels(whole), motion.paste(image, similarity, flows, strength=strength))
        if strength == 0:
            assert np.array_equal(pixels(whole), image)


def test_maps_of_the_network_are_read_alike(tmp_path: Path, random: np.random.Generator) -> None:
    found_map = random.normal(0, 1, (2, 16, 3, 5)).astype(np.float32)
    wanted = yunet.decode(found_map, 16)
    given = [{"map": found_map.ravel().tolist(), "image": image} for image in (0, 1)]
    found = call(tmp_path, "yunet", "m.decode(given.map, given.image, 5, 3, 16, 0)", given)
    assert np.allclose([[face["points"] for face in faces] for faces in found], wanted.points)
    assert np.allclose([[face["score"] for face in faces] for faces in found], wanted.scores)


def test_the_same_boxes_are_one_face(tmp_path: Path, random: np.random.Generator) -> None:
    corners = random.uniform(0, 100, (40, 1, 2))
    points = np.concatenate((corners, corners + random.uniform(20, 60, (40, 1, 2)), np.zeros((40, 5, 2))), axis=1)
    scores = random.uniform(0.8, 1, 40)
    wanted = yunet.distinct(yunet.Found(points, scores))
    given = [{"points": p, "score": s} for p, s in zip(points.tolist(), scores.tolist(), strict=True)]
    (found,) = call(tmp_path, "yunet", "m.distinct(given)", [given])
    assert 1 < len(found) < 40
    assert [face["score"] for face in found] == wanted.scores.tolist()


def test_a_face_without_landmarks_is_aligned_by_its_box(tmp_path: Path) -> None:
    (found,) = call(tmp_path, "similarity", "m.align({box: given, landmarks: null})", [[10, 20, 30, 40]])
    wanted = align(Face((10, 20, 30, 40), 1.0, None))
    assert (found["x"], found["y"], found["side"]) == pytest.approx((wanted.x, wanted.y, wanted.side))


def flags(random: np.random.Generator, width: int, height: int, *places: tuple[int, int, int]) -> np.ndarray:
    """Return a grey picture with squares, of which the upper half is red and the lower half green."""
    image = np.full((height, width, 3), 120)
    for x, y, side in places:
        image[y : y + side // 2, x : x + side] = (230, 20, 60)
        image[y + side // 2 : y + side, x : x + side] = (20, 230, 90)
    return (image + random.integers(-9, 10, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_faces_are_searched_for_and_looked_at_again_alike(
    tmp_path: Path, random: np.random.Generator, turns: int
) -> None:
    """At several sizes of the photograph, and in the three quarter turns of one in which no face was seen."""
    detector = yunet.YuNet(yunet.YuNetOptions())
    detector.__dict__["_network"] = toy
    images = [
        flags(random, 200, 150, (40, 60, 40), (120, 80, 40)),
        flags(random, 1400, 900, (400, 350, 200)),
        flags(random, 2301, 1507, (1900, 1100, 250)),  # whose neighbourhood alone is shrunk, and leaves it
    ]
    if turns == 0:
        images.append(flags(random, 500, 300, (200, 150, 12)))  # a closer look is needed, which is upright alone
    images = [np.ascontiguousarray(np.rot90(image, turns)) for image in images]
    found = call(tmp_path, "yunet", TOY, [{"image": rgba(image), "points": POINTS} for image in images])
    for image, mine in zip(images, found, strict=True):
        wanted = detector.detect(image)
        assert len(mine) == len(wanted) > 0
        mine.sort(key=lambda face: face["box"])  # of boxes that are as large as others, either may come first
        for one, other in zip(mine, sorted(wanted, key=lambda face: face.box), strict=True):
            assert other.landmarks is not None
            assert np.allclose(one["box"], other.box, atol=1e-3)
            assert np.allclose(one["landmarks"], other.landmarks, atol=1e-2)
            assert one["score"] == pytest.approx(other.score, abs=1e-5)
