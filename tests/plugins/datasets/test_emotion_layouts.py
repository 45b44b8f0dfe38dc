"""The layouts of FERPlus, CK+, ExpW, JAFFE and KDEF, as their authors' archives unpack."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.common import picture
from helpers.emotion_labels import labels, named, problems, sheet

from facecycle.data.labels.train_and_test import TrainAndTest
from facecycle.errors import DataError
from facecycle.registry import build

PIXELS = " ".join(["7"] * 2304)
VOTES = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


# --- FERPlus ------------------------------------------------------------------------------------


def ferplus(root: Path, *rows: tuple[str, str], header: str = VOTES) -> Path:
    """Write the two files; a row is a usage and the ten numbers of votes."""
    images = ["emotion,pixels,Usage", *(f"0,{PIXELS},{usage}" for usage, _ in rows)]
    votes = [header, *(f"{usage},fer{n:07d}.png,{numbers}" for n, (usage, numbers) in enumerate(rows))]
    root.mkdir(exist_ok=True)
    (root / "fer2013.csv").write_text("\n".join(images))
    (root / "fer2013new.csv").write_text("\n".join(votes))
    return root


ROWS = [
    ("Training", "4,0,0,1,3,2,0,0,0,0"),  # the first row of the file: 4 of 9, for the vote that is alone is ignored
    ("Training", "0,9,1,0,0,0,0,0,0,0"),
    ("Training", "6,0,0,1,1,0,1,1,0,0"),
    ("Training", "5,5,0,0,0,0,0,0,0,0"),
    ("Training", "0,0,0,0,0,0,0,0,10,0"),
    ("PublicTest", "0,0,0,0,0,0,0,8,2,0"),
    ("PrivateTest", "0,0,10,0,0,0,0,0,0,0"),
    ("PrivateTest", "0,0,0,0,0,0,0,0,0,10"),
    ("PrivateTest", "1,1,1,1,1,1,1,1,1,1"),
]


def test_ferplus_takes_what_more_than_half_of_the_votes_say(tmp_path: Path) -> None:
    found = labels("ferplus", ferplus(tmp_path, *ROWS))
    assert named(found) == [("happiness", -1), ("neutral", -1), ("surprise", 0)]
    assert found.frames.tolist() == [1, 2, 6]
    assert found.counts == {"train": 2, "test": 1}
    assert "images left out: 3 without a majority, 1 voted unknown, 1 voted no face" in found.note
    public = labels("ferplus", tmp_path / "fer2013.csv", test="public")
    assert named(public)[-1] == ("contempt", 0)


def test_ferplus_finds_its_votes_elsewhere(tmp_path: Path) -> None:
    root = ferplus(tmp_path / "fer", *ROWS)
    (tmp_path / "repo").mkdir()
    (root / "fer2013new.csv").rename(tmp_path / "repo" / "fer2013new.csv")
    with pytest.raises(DataError, match=r"no .*fer2013new\.csv[\s\S]*the option votes"):
        labels("ferplus", root)
    assert len(labels("ferplus", root, votes=str(tmp_path / "repo" / "fer2013new.csv")).frames) == 3


def test_ferplus_leaves_out_what_its_authors_removed(tmp_path: Path) -> None:
    root = ferplus(tmp_path, *ROWS)
    votes = (root / "fer2013new.csv").read_text().replace("fer0000001.png", "")
    (root / "fer2013new.csv").write_text(votes)
    found = labels("ferplus", root)
    assert named(found) == [("neutral", -1), ("surprise", 0)]
    assert "1 that their authors removed" in found.note


def test_ferplus_refuses_votes_of_other_rows(tmp_path: Path) -> None:
    root = ferplus(tmp_path, *ROWS)
    lines = (root / "fer2013new.csv").read_text().splitlines()
    (root / "fer2013new.csv").write_text("\n".join([*lines[:3], *lines[6:9], *lines[3:6], lines[9]]))
    found = problems("ferplus", root)
    assert found[0] == "fer2013new.csv, line 4: expected the usage Training, as of this row's image, got 'PublicTest'"
    (root / "fer2013new.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="holds 8 rows for the 9 images of FER-2013"):
        labels("ferplus", root)
    (root / "fer2013new.csv").write_text("\n".join([*lines[:-1], lines[-1].replace("1,1", "1,x", 1)]))
    assert problems("ferplus", root)[0].startswith("fer2013new.csv, line 10: expected 10 numbers of votes")
    (root / "fer2013new.csv").write_text("\n".join([lines[0].replace("NF", "N"), *lines[1:]]))
    with pytest.raises(DataError, match="line 1: no column NF among"):
        labels("ferplus", root)
    with pytest.raises(DataError, match=r"there is no fer2013\.csv"):
        labels("ferplus", tmp_path / "gone")


# --- CK+ ----------------------------------------------------------------------------------------


def ck_plus(root: Path, labels: str = "Emotion", images: str = "cohn-kanade-images") -> Path:
    """Three people with a labelled sequence of five frames, and one sequence without a label."""
    for person, sequence, emotion in (
        ("S005", "001", 3),
        ("S010", "002", 7),
        ("S011", "001", 1),
        ("S011", "002", None),
    ):
        for number in range(1, 6):
            name = f"{person}_{sequence}_{number:08d}.png"
            picture(root / images / person / sequence / name, 10 * int(person[1:]) + number)
        (root / images / person / sequence / ".DS_Store").touch()
        (root / labels / person / sequence).mkdir(parents=True)
        if emotion is not None:
            file = root / labels / person / sequence / f"{person}_{sequence}_00000005_emotion.txt"
            file.write_text(f"   {emotion}.0000000e+00\n")
    return root


@pytest.mark.parametrize("within", [("", ""), ("Emotion_labels/", "extended-cohn-kanade-images/")])
def test_ck_plus_takes_the_last_frames_and_the_first_one_as_neutral(tmp_path: Path, within: tuple[str, str]) -> None:
    root = ck_plus(tmp_path / "ck", f"{within[0]}Emotion", f"{within[1]}cohn-kanade-images")
    found = labels("ck-plus", root, folds=3)
    dataset = build("dataset", "ck-plus", {"path": str(root)})
    names = [dataset.files.paths[frame].name for frame in found.frames]
    assert names[:4] == [f"S005_001_{number:08d}.png" for number in (1, 3, 4, 5)]
    assert [found.classes[target] for target in found.targets] == [
        *("neutral", "disgust", "disgust", "disgust"),
        *("neutral", "surprise", "surprise", "surprise"),
        *("neutral", "anger", "anger", "anger"),
    ]
    assert found.groups.tolist() == ["S005"] * 4 + ["S010"] * 4 + ["S011"] * 4
    assert found.counts == {"labelled sequences": 3}
    assert found.published == {"labelled sequences": 327}
    assert "1 sequences without a label left out" in found.note
    one = labels("ck-plus", root, folds=3, peak=1)
    assert len(one.frames) == 6
    assert "of each labelled sequence the last frame, with its emotion" in one.note
    assert sheet("ck-plus", root, tmp_path, folds=3)[2] == "warning: 3 of 327 labelled sequences, the published number"


def test_ck_plus_names_labels_that_cannot_be_used(tmp_path: Path) -> None:
    root = ck_plus(tmp_path)
    (root / "Emotion/S005/001/S005_001_00000005_emotion.txt").write_text("8.0e+00")
    (root / "Emotion/S010/002/other_emotion.txt").write_text("1")
    for number in (1, 2):
        (root / f"cohn-kanade-images/S011/001/S011_001_{number:08d}.png").unlink()
    assert problems("ck-plus", root) == [
        "Emotion/S005/001/S005_001_00000005_emotion.txt: expected the number of an emotion, 0 to 7, got '8.0e+00'",
        "Emotion/S010/002: expected one file of a label, got 2",
        "Emotion/S011/001/S011_001_00000005_emotion.txt: expected more than 3 images in "
        "cohn-kanade-images/S011/001, as the option peak says, got 3",
    ]


# --- ExpW ---------------------------------------------------------------------------------------

FACES = [
    "angry_actor_104.jpg 0 4 2 20 18 22.9362 0",
    "angry_actor_104.jpg 1 0 0 12 12 9.5 6",
    "happy woman_3.jpg 0 1 3 11 9 -0.25 3",
    "happy woman_3.jpg 1 1 3 11 9 1e+01 6",
]


def expw(root: Path, rows: list[str], images: str = "image/origin") -> Path:
    for number, name in enumerate(("angry_actor_104.jpg", "happy woman_3.jpg")):
        picture(root / images / name, number)
    (root / "label").mkdir(exist_ok=True)
    (root / "label" / "label.lst").write_text("\n".join(rows) + "\n")
    return root


def test_expw_cuts_out_faces_and_keeps_those_of_one_photograph_together(tmp_path: Path) -> None:
    root = expw(tmp_path / "expw", FACES)
    found = labels("expw", root, folds=2)
    assert [found.classes[target] for target in found.targets] == ["angry", "neutral", "happy", "neutral"]
    assert found.groups.tolist() == ["angry_actor_104.jpg"] * 2 + ["happy woman_3.jpg"] * 2
    assert found.folds[0] == found.folds[1] != found.folds[2] == found.folds[3]
    assert "2 folds by photograph: 2 of them" in found.note
    assert found.published == {"faces": 91_793}
    dataset = build("dataset", "expw", {"path": str(root)})
    # The list gives top, left, right, bottom.
    assert dataset.files.boxes == [(2, 4, 20, 18), (0, 0, 12, 12), (3, 1, 11, 9), (3, 1, 11, 9)]
    assert len({track.name for track in dataset.tracks()}) == 4
    assert sheet("expw", root, tmp_path, folds=2)[0].startswith("emotion: 4 images: angry 1")


def test_expw_names_rows_that_cannot_be_used(tmp_path: Path) -> None:
    rows = [*FACES, "a.jpg 0 1 1 5 5 1.0 7", "a.jpg 0 5 5 5 5 1.0 1", "a.jpg 0 1 1 5 5 1"]
    found = problems("expw", expw(tmp_path, rows))
    assert [problem.partition(":")[0] for problem in found] == [f"label/label.lst, line {n}" for n in (5, 6, 7)]
    expw(tmp_path, [*FACES, "gone.jpg 0 1 1 5 5 1.0 1"])
    assert problems("expw", tmp_path) == ["label/label.lst, line 5: there is no image image/origin/gone.jpg"]
    assert len(labels("expw", tmp_path, folds=2, allow_missing=True).frames) == 4


# --- JAFFE and KDEF -----------------------------------------------------------------------------


def test_jaffe_reads_person_and_emotion_from_names(tmp_path: Path) -> None:
    for number, name in enumerate(("KA.AN1.39.tiff", "KA.NE2.27.tiff", "UY.FE3.146.tiff", "YM.AN1.58.tiff")):
        picture(tmp_path / "jaffe" / name, number)
    picture(tmp_path / "jaffe" / "contact sheet.png")
    found = labels("jaffe", tmp_path / "jaffe", folds=2)
    assert [found.classes[target] for target in found.targets] == ["anger", "neutral", "fear", "anger"]
    assert found.groups.tolist() == ["KA", "KA", "UY", "YM"]
    assert found.counts == {"images": 4}
    assert found.published == {"images": 213}
    assert "1 images with other names left out" in found.note
    assert "2 folds by subject: 3 of them" in found.note
    sheet("jaffe", tmp_path / "jaffe", tmp_path, folds=2)


@pytest.mark.parametrize("folders", [True, False])
def test_kdef_reads_person_emotion_and_angle_from_names(tmp_path: Path, folders: bool) -> None:
    for number, stem in enumerate(("AF01AFS", "AF01AFHL", "BF01HAS", "AM01HAS", "AM02SUFR")):
        picture(tmp_path / "kdef" / (stem[:4] if folders else "") / f"{stem}.JPG", number)
    found = labels("kdef", tmp_path / "kdef", folds=2)
    assert sorted(zip(found.groups.tolist(), (found.classes[t] for t in found.targets), strict=True)) == [
        ("F01", "fear"),
        ("F01", "happiness"),
        ("M01", "happiness"),
    ]
    assert found.published == {"images": 980}
    assert "2 images from other angles left out" in found.note
    every = labels("kdef", tmp_path / "kdef", folds=2, angles="all")
    assert len(every.frames) == 5
    assert every.published == {"images": 4900}
    sheet("kdef", tmp_path / "kdef", tmp_path, folds=2)


@pytest.mark.parametrize("kind", ["jaffe", "kdef"])
def test_images_with_other_names_are_refused(tmp_path: Path, kind: str) -> None:
    picture(tmp_path / "a" / "1.png")
    with pytest.raises(DataError, match=f"0 of 1 images have names of {kind.upper()}"):
        labels(kind, tmp_path / "a")


# --- all ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ferplus", "affectnet", "ck-plus", "expw", "jaffe", "kdef"])
def test_missing_and_empty_paths_are_refused_with_the_layout(tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("gone", "empty"):
        with pytest.raises(DataError, match=name) as caught:
            labels(kind, tmp_path / name)
        assert str(caught.value.hint).startswith("Expected ")


def test_emotions_of_one_set_test_those_of_another(tmp_path: Path) -> None:
    paths = {"ck-plus": ck_plus(tmp_path / "ck"), "expw": expw(tmp_path / "expw", FACES)}
    train, test = (build("dataset", kind, {"path": str(path), "folds": 2}) for kind, path in paths.items())
    found = TrainAndTest(train, test).labelled("emotion")
    assert found.classes == ("neutral", "anger", "disgust", "fear", "happy", "sadness", "surprise")
    assert [name for name, fold in named(found) if fold == 0] == ["anger", "neutral", "happy", "neutral"]
    back = TrainAndTest(test, train).labelled("emotion")
    assert back.classes == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert [name for name, fold in named(back) if fold == 0][::4] == ["neutral"] * 3
