"""The layouts of RAF-DB and FER-2013, and what is said of malformed ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.common import picture

from facecycle.api import Labelled
from facecycle.errors import DataError, MalformedError
from facecycle.registry import build

LIST = "list_patition_label.txt"
RAF_ROWS = [("train_00001", 5), ("train_00002", 1), ("test_0001", 7)]
PIXELS = " ".join(["7"] * 2304)


def labels(kind: str, path: Path, **options: object) -> Labelled:
    found = build("dataset", kind, {"path": str(path), **options}).labelled("emotion")
    assert isinstance(found, Labelled)
    return found


def raf(root: Path, text: str | None = None, listing: str = f"EmoLabel/{LIST}", images: str = "Image/aligned") -> Path:
    for number, (stem, _) in enumerate(RAF_ROWS):
        picture(root / images / f"{stem}_aligned.jpg", number)
    (root / listing).parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        text = "".join(f"{stem}.jpg {label}\n" for stem, label in RAF_ROWS)
    (root / listing).write_text(text, encoding="utf-8", newline="")
    return root


def fer(path: Path, *rows: str, header: str = "emotion,pixels,Usage") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8", newline="")
    return path


def folders(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        picture(root / name / f"{number}.png", number)
    return root


# --- RAF-DB -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [{}, {"listing": LIST, "images": "aligned"}])
def test_raf_db_reads_labels_split_and_counts_from_its_list(tmp_path: Path, layout: dict[str, str]) -> None:
    found = labels("raf-db", raf(tmp_path, **layout))
    assert [found.classes[target] for target in found.targets] == ["Sadness", "Surprise", "Neutral"]
    assert found.folds.tolist() == [-1, -1, 0]
    assert len(set(found.groups.tolist())) == 3
    assert found.counts == {"train": 2, "test": 1}
    assert found.published == {"train": 12271, "test": 3068}


def test_raf_db_reads_folders_of_labels(tmp_path: Path) -> None:
    found = labels("raf-db", folders(tmp_path, "train/1", "train/4", "test/7"))
    assert [found.classes[target] for target in found.targets] == ["Neutral", "Surprise", "Happiness"]
    assert found.folds.tolist() == [0, -1, -1]
    assert found.counts == {"train": 2, "test": 1}


def test_raf_db_trains_on_no_test_image(tmp_path: Path) -> None:
    tracks = build("dataset", "raf-db", {"path": str(raf(tmp_path))}).tracks()
    assert [track.name for track in tracks] == [f"Image/aligned/train_0000{n}_aligned.jpg" for n in (1, 2)]


def test_raf_db_tolerates_a_byte_order_mark_line_endings_and_blank_lines(tmp_path: Path) -> None:
    text = "\ufefftrain_00001.jpg 5\r\n  train_00002.jpg  1\r\ntest_0001.jpg 7\r\n\r\n \r\n"
    assert labels("raf-db", raf(tmp_path, text)).targets.tolist() == [4, 0, 6]


def test_raf_db_names_every_malformed_line(tmp_path: Path) -> None:
    text = "train_00001.jpg 8\ntrain_00002.jpg 1\nvalid_1.jpg 1\n\ntest_0001.jpg\ntrain_00002.jpg 2\n"
    with pytest.raises(MalformedError, match="expected train_ or test_") as caught:
        labels("raf-db", raf(tmp_path, text))
    path = tmp_path / "EmoLabel" / LIST
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        f"{path}, line {number}" for number in (1, 3, 5, 6)
    ]
    assert caught.value.problems[0].endswith("got 'train_00001.jpg 8'")
    assert "each image once" in caught.value.problems[-1]


def test_raf_db_says_once_that_a_list_is_of_the_compound_emotions(tmp_path: Path) -> None:
    text = "".join(f"train_{number:04d}.jpg {number % 11 + 1}\n" for number in range(22))
    with pytest.raises(DataError, match="RAF-DB's compound emotions") as caught:
        labels("raf-db", raf(tmp_path, text))
    assert not isinstance(caught.value, MalformedError)
    assert "labels 1 to 7" in str(caught.value)


def test_raf_db_refuses_missing_images_unless_they_may_be_left_out(tmp_path: Path) -> None:
    root = raf(tmp_path)
    (root / "Image" / "aligned" / "train_00002_aligned.jpg").unlink()
    with pytest.raises(MalformedError, match=r"line 2: there is no image .*train_00002_aligned\.jpg") as caught:
        labels("raf-db", root)
    assert "--allow-missing" in str(caught.value)
    found = labels("raf-db", root, allow_missing=True)
    assert found.targets.tolist() == [4, 6]
    assert found.counts == {"train": 1, "test": 1}


def test_raf_db_without_any_image_is_refused(tmp_path: Path) -> None:
    root = raf(tmp_path, images="elsewhere")
    with pytest.raises(DataError, match="there are no images of RAF-DB"):
        labels("raf-db", root, allow_missing=True)


def test_raf_db_refuses_a_folder_that_is_no_label(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="expected a folder 1 to 7, got '8'"):
        labels("raf-db", folders(tmp_path, "train/1", "train/8"))


# --- FER-2013 -----------------------------------------------------------------------------------


def test_fer2013_reads_grey_pixels_labels_and_splits(tmp_path: Path) -> None:
    levels = np.arange(2304) % 256
    row = f"3,{' '.join(map(str, levels))},Training"
    path = fer(tmp_path / "fer2013.csv", row, f"6,{PIXELS},PublicTest", f"0,{PIXELS},PrivateTest")
    dataset = build("dataset", "fer2013", {"path": str(path)})
    pixels, bad = dataset.images([0, 2], 48)
    assert bad == [None, None]
    assert torch.equal(pixels[0], torch.from_numpy(levels).to(torch.uint8).reshape(1, 48, 48).expand(3, -1, -1))
    assert (pixels[1] == 7).all()
    found = dataset.labelled("emotion")
    assert [found.classes[target] for target in found.targets] == ["Happy", "Angry"]
    assert found.frames.tolist() == [0, 2]
    assert found.folds.tolist() == [-1, 0]
    assert found.counts == {"train": 1, "test": 1}
    assert found.published == {"train": 28709, "test": 3589}
    assert "tested on PrivateTest, 1 images of the other test split left out" in found.note


def test_fer2013_can_be_tested_on_its_public_split(tmp_path: Path) -> None:
    path = fer(tmp_path / "f.csv", f"3,{PIXELS},Training", f"6,{PIXELS},PublicTest", f"0,{PIXELS},PrivateTest")
    found = labels("fer2013", path, test="public")
    assert found.frames.tolist() == [0, 1]
    assert found.targets.tolist() == [3, 6]


def test_fer2013_finds_its_columns_by_name(tmp_path: Path) -> None:
    header = "\ufeffemotion, Usage, pixels\r"
    path = fer(tmp_path / "i.csv", f"0, Training, {PIXELS}\r", f" 4, PrivateTest, {PIXELS}\r", "\r", header=header)
    found = labels("fer2013", path)
    assert found.targets.tolist() == [0, 4]
    assert found.folds.tolist() == [-1, 0]


@pytest.mark.parametrize("place", ["fer2013.csv", "fer2013/fer2013.csv", "icml_face_data.csv"])
def test_fer2013_is_found_in_its_folder_whatever_the_case_of_its_columns(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    fer(tmp_path / place, f"3,{PIXELS},Training", f"0,{PIXELS},PrivateTest", header="emotion,pixels,usage")
    (tmp_path / "fer2013.tar.gz").touch()
    found = labels("fer2013", tmp_path)
    assert found.targets.tolist() == [3, 0]
    assert found.folds.tolist() == [-1, 0]


def test_fer2013_trains_on_its_training_split_alone(tmp_path: Path) -> None:
    path = fer(tmp_path / "f.csv", *(f"3,{PIXELS},{usage}" for usage in ("PublicTest", "Training", "PrivateTest")))
    assert [track.frames for track in build("dataset", "fer2013", {"path": str(path)}).tracks()] == [(1,)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"7,{PIXELS},Training", "line 3: expected an emotion from 0 to 6, got '7'"),
        (f"happy,{PIXELS},Training", "line 3: expected an emotion from 0 to 6, got 'happy'"),
        (f"0,{PIXELS},Test", "line 3: expected the usage Training, PublicTest, PrivateTest, got 'Test'"),
        (f"0,{PIXELS[2:]},Training", "line 3: expected 2,304 pixels, integers from 0 to 255, got '2,303 pixels'"),
        (f"0,256{PIXELS[1:]},Training", "line 3: expected 2,304 pixels, integers from 0 to 255, got '256'"),
        (f"0,{PIXELS}.5,Training", "line 3: expected 2,304 pixels, integers from 0 to 255, got '7.5'"),
        (f"0,-{PIXELS},Training", "line 3: expected 2,304 pixels, integers from 0 to 255, got '-7'"),
        ("0,,Training", "line 3: expected 2,304 pixels, integers from 0 to 255, got '0 pixels'"),
        (f"0,{PIXELS}", "line 3: expected 3 columns, got '2 columns'"),
    ],
)
def test_fer2013_names_the_line_and_the_fault(tmp_path: Path, row: str, message: str) -> None:
    path = fer(tmp_path / "f.csv", f"0,{PIXELS},Training", row, f"9,{PIXELS},Training")
    with pytest.raises(MalformedError) as caught:
        labels("fer2013", path)
    assert caught.value.problems[0] == f"{path}, {message}"
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Pixels,usage", "has no column emotion: without labels it cannot be scored"),
        ("emotion,pixels", "line 1: no column Usage among 'emotion,pixels'"),
        ("usage,emotion", "line 1: no column pixels among 'usage,emotion'"),
        ("pixels", "line 1: no column emotion, Usage among 'pixels'"),
        ("a,b", "line 1: no column emotion, pixels, Usage among 'a,b'"),
        ("emotion,pixels,Usage", "holds no rows"),
    ],
)
def test_fer2013_without_labels_columns_or_rows_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        labels("fer2013", fer(tmp_path / "f.csv", header=header))


def test_fer2013_maps_class_folders_by_name(tmp_path: Path) -> None:
    names = ["train/angry", "train/Happiness", "test/disgusted", "test/neutral", "validation/sad"]
    found = labels("fer2013", folders(tmp_path, *names))
    assert [(found.classes[t], f) for t, f in zip(found.targets, found.folds.tolist(), strict=True)] == [
        ("Happy", -1),
        ("Angry", -1),
        ("Disgust", 0),
        ("Neutral", 0),
    ]
    public = labels("fer2013", tmp_path, test="public")
    assert [public.classes[t] for t in public.targets[public.folds == 0]] == ["Sad"]


def test_fer2013_folders_need_no_validation(tmp_path: Path) -> None:
    root = folders(tmp_path, "train/fear", "test/surprise")
    assert labels("fer2013", root).counts == {"train": 1, "test": 1}
    assert labels("fer2013", root, test="public").counts == {"train": 1, "test": 0}


def test_fer2013_refuses_a_folder_that_is_no_class(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match=r"train/contempt: expected one of the classes .*, got 'contempt'"):
        labels("fer2013", folders(tmp_path, "train/angry", "train/contempt", "test/angry"))


# --- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["raf-db", "fer2013"])
def test_missing_and_empty_paths_are_refused_with_the_layouts(tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("gone", "empty"):
        with pytest.raises(DataError, match=rf"{name}[\s\S]*Expected .*train/"):
            build("dataset", kind, {"path": str(tmp_path / name)})


@pytest.mark.parametrize(
    ("content", "message"), [(b"\xff\xfe\x00", "is not a text file"), (b"\n \n", "holds no lines")]
)
def test_a_label_file_that_is_no_text_or_blank_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    listing, table = raf(tmp_path) / "EmoLabel" / LIST, tmp_path / "f.csv"
    listing.write_bytes(content)
    table.write_bytes(content)
    with pytest.raises(DataError, match=rf"{LIST} {message}"):
        labels("raf-db", tmp_path)
    with pytest.raises(DataError, match=rf"f\.csv {message}"):
        labels("fer2013", table)
