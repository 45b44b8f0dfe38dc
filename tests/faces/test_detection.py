"""Faces found in photographs, refused images, and what is said of doubtful faces."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.common import ROOT
from helpers.forked import do, python
from PIL import Image
from skimage.data import astronaut, coffee

from facecycle.api import Face
from facecycle.errors import ConfigError, DataError, NoFaceError, PluginError
from facecycle.faces.detection import detect, named, share_beyond, warnings
from facecycle.faces.similarity import ALIGNED, Similarity, align


def face_at(similarity: Similarity, nose: tuple[float, float] = (0.5, 0.514), score: float = 0.93) -> Face:
    landmarks = similarity.to_photograph(np.insert(ALIGNED, 2, nose, axis=0))
    return Face((0, 0, 10, 10), score, landmarks)


def test_the_astronauts_face_is_where_it_is() -> None:
    (face,) = detect(astronaut())
    assert face.score > 0.9
    square = align(face)
    # By eye: the eyes at (203, 101) and (247, 106), the mouth from (203, 139) to (241, 144).
    assert (square.x, square.y, square.side, square.roll) == pytest.approx((223, 122, 107, 6), abs=5)
    assert warnings(face, astronaut().shape) == []


def test_no_face_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(NoFaceError, match=r"photo\.jpg: no face was found\nSay where it is: --crop"):
        detect(coffee()[:200, :200], name="photo.jpg")


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(DataError, match="is no image"):
        detect(image)


def test_a_given_box_or_the_middle_is_taken_as_it_is() -> None:
    image = astronaut()[:300]
    assert [align(face) for face in detect(image, named("centre"))] == [Similarity(256, 150, 300)]
    assert [align(face) for face in detect(image, named("box:10,20,80,100"))] == [Similarity(50, 70, 80)]
    with pytest.raises(DataError, match="the box 10,250,80,100 leaves the image, which is 512 x 300 pixels"):
        detect(image, named("box:10,250,80,100"))
    with pytest.raises(ConfigError, match="box"):
        named("box:10,20,0,100")
    with pytest.raises(PluginError, match="there is no detector 'yunett'"):
        named("yunett")


def test_doubts_are_said_in_words() -> None:
    shape = (400, 400, 3)
    well = Similarity(200, 200, 100)
    assert warnings(face_at(well), shape) == []
    assert "small: 40 pixels, where 64 are read" in warnings(face_at(Similarity(200, 200, 40)), shape)[0]
    assert warnings(face_at(well, nose=(0.35, 0.5)), shape) == ["the face is turned far to the side"]
    (cut,) = warnings(face_at(Similarity(30, 200, 100)), shape)
    assert cut == "the face is cut off: 19% of its crop lies beyond the border"
    assert warnings(face_at(well, score=0.81), shape) == ["it may be no face: its score is 0.81"]
    assert warnings(Face((0, 0, 9, 9), 0.1, exact=True), shape) == []


def test_the_share_beyond_the_border_is_an_area() -> None:
    assert share_beyond(Similarity(0, 0, 100), (400, 400)) == pytest.approx(0.75, abs=0.02)
    assert share_beyond(Similarity(200, 200, 100, 45), (400, 400)) == 0
    assert share_beyond(Similarity(-200, 0, 100), (400, 400)) == 1


def test_the_pages_example_runs(tmp_path: Path) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "img.jpg")
    (code,) = re.findall(r"```python\n(.+?)```", (ROOT / "docs" / "faces.md").read_text(), re.S)
    shapes = "print(small.shape, frontal.shape == driven.shape, whole.shape)"
    assert do(tmp_path, python, code + shapes).split("\n")[:2] == ["[]", "(64, 64, 3) True (512, 512, 3)"]


def test_faces_are_found_aligned_and_moved_without_torch(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(astronaut()).save(tmp_path / "in" / "a.png")
    code = """
import sys
import numpy as np
from skimage.data import astronaut
from pathlib import Path
from facecycle.faces import crop, crop_folder, detection, motion, similarity
(face,) = detection.detect(astronaut())
square = similarity.align(face)
assert crop.crop(astronaut(), square, 64).shape == (64, 64, 3)
motion.paste(astronaut(), square, [np.zeros((2, 16, 16))])
assert crop_folder.crop_folder(Path("in"), Path("out")).crops == 1
print([name for name in ("torch", "torchvision", "timm", "cv2", "scipy.ndimage") if name in sys.modules])
"""
    pytest.importorskip("onnxruntime")
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
