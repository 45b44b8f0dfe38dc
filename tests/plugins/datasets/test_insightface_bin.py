"""Verification files of insightface: what Python 2 and 3 and NumPy wrote in them, and that nothing in them is run."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facecycle_plugins.datasets.verification.plain_pickle import DAMAGED, as_bytes, read_plain
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from facecycle.api import Verification
from facecycle.data.check import check_data
from facecycle.data.labels.verification import check_folds
from facecycle.errors import DataError, NotOffered
from facecycle.registry import build


def encoded(level: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (112, 112), (level, 0, 0)).save(buffer, kind)
    return buffer.getvalue()


def python_2(images: list[bytes], same: list[bool]) -> bytes:
    """What cPickle of Python 2 writes with its highest protocol."""

    def text(data: bytes, place: int) -> bytes:
        head = b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))
        return head + data + (b"q" + bytes([place]) if place < 256 else b"r" + struct.pack("<i", place))

    items = b"".join(text(image, number + 2) for number, image in enumerate(images))
    flags = b"".join(b"\x88" if each else b"\x89" for each in same)
    return b"\x80\x02]q\x01(" + items + b"e]q\x00(" + flags + b"e\x86q\xff."


SAME = [True, False] * 10
IMAGES = [encoded(number) for number in range(2 * len(SAME))]
WRITERS: dict[str, Any] = {
    "Python 2": lambda: python_2(IMAGES, SAME),
    **{f"protocol {p}": lambda p=p: pickle.dumps((IMAGES, SAME), p) for p in (2, 3, 4, 5)},
    **{
        f"arrays, protocol {p}": lambda p=p: pickle.dumps(([np.frombuffer(i, np.uint8) for i in IMAGES], SAME), p)
        for p in (2, 4, 5)
    },
    "lists of both": lambda: pickle.dumps([IMAGES, SAME], 4),
    "JPEG": lambda: pickle.dumps(([encoded(n, "JPEG") for n in range(len(IMAGES))], SAME), 4),
}


def opened(path: Path, content: bytes) -> Any:
    path.write_bytes(content)
    return build("dataset", "insightface-bin", {"path": str(path)})


@pytest.mark.parametrize("writer", WRITERS)
def test_pairs_and_images_are_read_whoever_wrote_them(tmp_path: Path, writer: str) -> None:
    dataset = opened(tmp_path / "lfw.bin", WRITERS[writer]())
    pairs = dataset.labelled("verify")
    assert isinstance(pairs, Verification)
    assert pairs.same.tolist() == SAME
    assert np.c_[pairs.first, pairs.second].tolist() == [[2 * k, 2 * k + 1] for k in range(20)]
    assert pairs.folds.tolist() == [k // 2 for k in range(20)]
    assert pairs.counts == {"pairs": 20}
    assert pairs.published == {"pairs": 6000}
    pixels, bad = dataset.images(range(40), 112)
    assert bad == [None] * 40
    reds = pixels[:, 0, 50, 50].numpy().astype(int)
    assert abs(reds - np.arange(40)).max() <= (2 if writer == "JPEG" else 0)
    with pytest.raises(NotOffered, match="does not tell its people"):
        dataset.tracks()


@pytest.mark.parametrize(("name", "count"), [("lfw", 60), ("cfp_fp", 80)])
def test_folds_are_the_blocks_that_insightface_tests(tmp_path: Path, name: str, count: int) -> None:
    from sklearn.model_selection import KFold

    each = count // 20
    same = ([True] * each + [False] * each) * 10
    pairs = opened(tmp_path / f"{name}.bin", pickle.dumps((IMAGES[:1] * (2 * count), same))).labelled("verify")
    for fold, (_, tested) in enumerate(KFold(10, shuffle=False).split(same)):
        assert np.flatnonzero(pairs.folds == fold).tolist() == tested.tolist()
    assert "ten blocks in the order of the file" in pairs.note
    check_folds(pairs)


def test_a_list_of_one_kind_after_the_other_is_folded_by_kind(tmp_path: Path) -> None:
    same = [True] * 30 + [False] * 30
    pairs = opened(tmp_path / "x.bin", pickle.dumps((IMAGES[:1] * 120, same))).labelled("verify")
    assert pairs.folds.tolist() == [k // 3 for k in range(30)] * 2
    assert "because a block is of one kind" in pairs.note
    assert pairs.published == {}
    check_folds(pairs)


def test_an_image_that_is_damaged_is_named(tmp_path: Path) -> None:
    images = [*IMAGES[:3], b"no image", *IMAGES[4:]]
    dataset = opened(tmp_path / "lfw.bin", pickle.dumps((images, SAME)))
    pixels, bad = dataset.images([2, 3], 16)
    assert bad[0] is None
    assert bad[1] is not None
    assert bad[1].name == "lfw.bin[3]"
    assert not pixels[1].any()
    lines, unreadable = check_data(dataset, tmp_path / "sheet.png")
    assert lines[0] == "verify: 20 pairs, 10 of one person"
    assert list(unreadable) in ([], ["lfw.bin[3]"])


class Runs:
    """What would write a file if a pickle of it was run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_that_a_pickle_asks_for_is_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for protocol in (2, 4):
        content = pickle.dumps(([Runs(trap), *IMAGES[1:]], SAME), protocol)
        with pytest.raises(DataError, match="is no verification file of insightface: it asks for "):
            opened(tmp_path / "lfw.bin", content)
    assert not trap.exists()
    pickle.loads(content)  # noqa: S301  so that the trap is one
    assert trap.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps((IMAGES, SAME))[:-200], "is no verification file of insightface"),
        (pickle.dumps({"images": IMAGES}), "it asks for EMPTY_DICT"),
        (pickle.dumps((IMAGES, {1, 2})), "it asks for EMPTY_SET"),
        (pickle.dumps((IMAGES, 3)), "its second part is no list of booleans"),
        (pickle.dumps((IMAGES, [True, 2])), "its second part is no list of booleans"),
        (pickle.dumps((IMAGES, ["a"] * 20)), "its second part is no list of booleans"),
        (pickle.dumps((["a"], [True])), "it holds a str where bytes should be"),
        (pickle.dumps(([np.zeros((2, 2), np.uint8)] * 2, [True])), "an array that is no row of bytes"),
        (pickle.dumps(([np.zeros(4, np.float32)] * 2, [True])), "an array that is no row of bytes"),
        (pickle.dumps((IMAGES[:-1], SAME)), "holds 39 images for 20 pairs"),
        (pickle.dumps(([], [])), "holds 0 images for 0 pairs"),
        (pickle.dumps(5), "is no verification file"),
        (pickle.dumps((IMAGES, SAME), 0), "is no verification file"),
        (b"", "is no verification file"),
        (b"\x00\x01 no pickle", "is no verification file"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path / "lfw.bin", content)
    assert "Expected a file such as lfw.bin" in str(caught.value)


def test_a_folder_names_its_files(tmp_path: Path) -> None:
    (tmp_path / "lfw.bin").touch()
    with pytest.raises(DataError, match=r"is a folder\nGive one \.bin file\. There: lfw\.bin\."):
        build("dataset", "insightface-bin", {"path": str(tmp_path)})
    with pytest.raises(DataError, match="cannot read"):
        build("dataset", "insightface-bin", {"path": str(tmp_path / "gone.bin")})


@given(st.binary(max_size=60), st.integers(0, 200), st.sampled_from((2, 3, 4, 5)))
@example(b"", 0, 2)
def test_damage_raises_what_is_caught(noise: bytes, place: int, protocol: int) -> None:
    whole = pickle.dumps(([b"ab", np.zeros(3, np.uint8)], [True]), protocol)
    for content in (noise, whole[:place] + noise + whole[place + len(noise) :]):
        try:
            images, _ = read_plain(content)
            [as_bytes(image) for image in images]
        except DAMAGED:
            continue
