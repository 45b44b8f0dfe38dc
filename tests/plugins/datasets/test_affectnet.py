"""The layouts of AffectNet: an annotation an image, and the lists of manual annotations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.common import picture
from helpers.emotion_labels import labels, named, problems, sheet

from facecycle.registry import build


def affectnet(root: Path) -> Path:
    for split, emotions in (("train_set", (0, 1, 7)), ("val_set", (6, 7))):
        (root / split / "annotations").mkdir(parents=True)
        for number, emotion in enumerate(emotions):
            picture(root / split / "images" / f"{number}.jpg", number)
            for what, value in (("exp", str(emotion)), ("val", "-0.5"), ("aro", "0.1"), ("lnd", [1.0, 2.0])):
                np.save(root / split / "annotations" / f"{number}_{what}.npy", value)
    return root


def test_affectnet_reads_an_annotation_an_image(tmp_path: Path) -> None:
    found = labels("affectnet", affectnet(tmp_path / "affectnet"))
    assert named(found) == [("Neutral", -1), ("Happy", -1), ("Contempt", -1), ("Anger", 0), ("Contempt", 0)]
    assert found.counts == {"train": 3, "test": 2}
    assert found.published == {"train": 287_651, "test": 4_000}
    seven = labels("affectnet", tmp_path / "affectnet", classes=7)
    assert named(seven) == [("Neutral", -1), ("Happy", -1), ("Anger", 0)]
    assert "Contempt" not in seven.classes
    assert "images left out: 2 Contempt" in seven.note
    assert seven.published == {"train": 283_901, "test": 3_500}
    assert sheet("affectnet", tmp_path / "affectnet", tmp_path)[1] == "split: training only 3, fold 0 2"


def test_affectnet_names_what_has_no_partner_and_what_is_no_annotation(tmp_path: Path) -> None:
    root = affectnet(tmp_path)
    (root / "train_set" / "images" / "0.jpg").unlink()
    (root / "val_set" / "annotations" / "1_exp.npy").unlink()
    np.save(root / "train_set" / "annotations" / "1_exp.npy", "11")
    (root / "train_set" / "annotations" / "2_exp.npy").write_bytes(b"\x93NUMPY")
    assert [problem.partition(": ")[0] for problem in problems("affectnet", root)] == [
        "train_set/annotations/0_exp.npy",
        "train_set/annotations/1_exp.npy",
        "train_set/annotations/2_exp.npy",
        "val_set/images/1.jpg",
    ]
    for number in (1, 2):
        np.save(root / "train_set" / "annotations" / f"{number}_exp.npy", "1")
    found = labels("affectnet", root, allow_missing=True)
    assert named(found) == [("Happy", -1), ("Happy", -1), ("Anger", 0)]


HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
TRAINING = ["1/a.jpg,4,6,10,12,1.5;2.5,1,0.5,0.1", "1/b.jpg,0,0,20,20,1;2,9,-2,-2", "2/c.jpg,2,2,8,8,1;2,4,0,0"]


def annotated(root: Path, training: list[str], lists: str = "Manually_Annotated_file_lists") -> Path:
    for number, name in enumerate(("1/a.jpg", "1/b.jpg", "2/c.jpg", "3/v.jpg")):
        picture(root / "Manually_Annotated_Images" / name, number)
    (root / lists).mkdir(exist_ok=True)
    (root / lists / "training.csv").write_text("\n".join([HEADER, *training]))
    # Published without a line of names.
    (root / lists / "validation.csv").write_text("3/v.jpg,1,1,5,5,1;2,7,0,0\n3/w.jpg,1,1,5,5,1;2,10,0,0\n")
    return root


@pytest.mark.parametrize("lists", ["Manually_Annotated_file_lists", "."])
def test_affectnet_reads_the_lists_of_manual_annotations_and_cuts_out_the_face(tmp_path: Path, lists: str) -> None:
    root = annotated(tmp_path / "affectnet", TRAINING, lists)
    found = labels("affectnet", root)
    assert named(found) == [("Happy", -1), ("Fear", -1), ("Contempt", 0)]
    assert "images left out: 1 Uncertain, 1 No-Face" in found.note
    assert "crop: box of the face" in found.note
    dataset = build("dataset", "affectnet", {"path": str(root)})
    assert dataset.files.boxes == [(4, 6, 14, 18), (2, 2, 10, 10), (1, 1, 6, 6)]
    assert sheet("affectnet", root, tmp_path)[0].startswith("emotion: 3 images: Neutral 0, Happy 1")


def test_affectnet_names_rows_that_cannot_be_used(tmp_path: Path) -> None:
    rows = [
        *TRAINING,
        "2/d.jpg,0,0,0,5,1;2,1,0,0",
        "2/e.jpg,0,0,5,5,1;2,11,0,0",
        "2/f.jpg,0,0,5",
        "2/g.jpg,x,0,5,5,1;2,1,0,0",
    ]
    found = problems("affectnet", annotated(tmp_path, rows))
    assert [problem.partition(":")[0].rpartition("/")[2] for problem in found] == [
        f"training.csv, line {number}" for number in (5, 6, 7, 8)
    ]
    annotated(tmp_path, [*TRAINING, "9/gone.jpg,0,0,5,5,1;2,1,0,0"])
    assert problems("affectnet", tmp_path)[0].endswith("line 5: there is no image Manually_Annotated_Images/9/gone.jpg")
    assert len(labels("affectnet", tmp_path, allow_missing=True).frames) == 3
    annotated(tmp_path, [*TRAINING, TRAINING[0]])
    again = labels("affectnet", tmp_path)
    assert len(again.frames) == 3
    assert "1 rows that name an image again left out" in again.note
