"""The layouts of the file data sets, and what is said of malformed ones."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from helpers.common import picture

from facecycle.api import Labelled, Verification
from facecycle.cache import index_file
from facecycle.errors import DataError
from facecycle.registry import build


def tree(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        picture(root / name, number)
    return root


def tracks(path: Path, **options: object) -> dict[str, list[str]]:
    dataset = build("dataset", "tracks", {"path": str(path), **options})
    return {t.name: [Path(dataset.files.name(f)).name for f in t.frames] for t in dataset.tracks()}


def test_a_voxceleb_tree_gives_tracks_in_natural_order(tmp_path: Path) -> None:
    root = tree(tmp_path, *(f"id10001/1.6/video/{t}/{f}.jpg" for t in (1, 2) for f in (10, 9, 1)))
    assert tracks(root) == {f"id10001/1.6/video/{t}": ["1.jpg", "9.jpg", "10.jpg"] for t in (1, 2)}
    dataset = build("dataset", "tracks", {"path": str(root / "id10001")})
    assert {t.identity for t in dataset.tracks()} == {"1.6"}
    assert {t.identity for t in build("dataset", "tracks", {"path": str(root)}).tracks()} == {"id10001"}


def test_short_tracks_are_left_out(tmp_path: Path) -> None:
    root = tree(tmp_path, "a/1.jpg", "b/1.jpg", "b/2.jpg")
    assert list(tracks(root)) == ["b"]
    assert list(tracks(root, min_frames=1)) == ["a", "b"]
    with pytest.raises(DataError, match="holds 9 images or more"):
        tracks(root, min_frames=9)


def test_a_flat_folder_is_a_folder_of_stills(tmp_path: Path) -> None:
    assert tracks(tree(tmp_path, "2.png", "10.png")) == {"2.png": ["2.png"], "10.png": ["10.png"]}


def test_a_list_file_names_track_directories(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    listing = tmp_path / "list.txt"
    listing.write_text("\ufeffb\r\n\r\n# comment\r\n", encoding="utf-8")
    assert list(tracks(listing)) == ["b"]
    listing.write_text("b\nmissing\n")
    with pytest.raises(DataError, match=r"list\.txt, line 2: there is no directory"):
        tracks(listing)


def test_the_index_follows_changes_of_the_tree(tmp_path: Path) -> None:
    root = tree(tmp_path / "t", "a/1.jpg", "a/2.jpg")
    assert tracks(root) == {"a": ["1.jpg", "2.jpg"]}
    time.sleep(0.01)
    tree(root, "a/3.jpg", "b/c/1.jpg", "b/c/2.jpg")
    assert tracks(root) == {"a": ["1.jpg", "2.jpg", "3.jpg"], "b/c": ["1.jpg", "2.jpg"]}
    (root / "a" / "1.jpg").unlink()
    assert tracks(root)["a"] == ["2.jpg", "3.jpg"]


def test_an_unusable_index_is_made_anew(tmp_path: Path) -> None:
    root = tree(tmp_path / "t", "a/1.jpg", "a/2.jpg")
    wanted = tracks(root)
    index = index_file("tracks", root)
    changed = root.stat().st_mtime_ns
    for text in ("", "{", "[]", '{"directories": [1]}', f'{{"directories": {{".": [{changed}, 1, 2]}}}}'):
        index.write_text(text)
        assert tracks(root) == wanted


def test_a_link_that_leads_back_is_not_followed(tmp_path: Path) -> None:
    root = tree(tmp_path / "t", "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    (root / "a" / "loop").symlink_to(root)
    assert list(tracks(root)) == ["a", "b"]
    tree(tmp_path / "elsewhere", "1.jpg", "2.jpg")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    assert list(tracks(root)) == ["a", "b", "c"]


def test_listed_directories_elsewhere_keep_their_identities(tmp_path: Path) -> None:
    tree(tmp_path, "t/ann/1.jpg", "t/ann/2.jpg", "t/bob/1.jpg", "t/bob/2.jpg")
    listing = tmp_path / "lists" / "l.txt"
    listing.parent.mkdir()
    for lines in (f"{tmp_path}/t/ann\n{tmp_path}/t/bob\n", "../t/ann\n../t/bob\n"):
        listing.write_text(lines)
        found = build("dataset", "tracks", {"path": str(listing)}).tracks()
        assert [track.identity for track in found] == ["ann", "bob"]


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jpg is not a list of track directories"):
        tracks(picture(tmp_path / "a.jpg"))


@pytest.mark.parametrize("kind", ["tracks", "class-folders", "pose-csv", "identity-folders"])
def test_missing_and_empty_paths_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match=r"gone"):
        build("dataset", kind, {"path": str(tmp_path / "gone")})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        build("dataset", kind, {"path": str(tmp_path / "empty")})


def test_classes_are_split_by_subject(tmp_path: Path) -> None:
    names = [f"{c}/S{s:03d}_{c}{n}.png" for c in ("happy", "sad") for s in range(10) for n in range(2)]
    labels = build("dataset", "class-folders", {"path": str(tree(tmp_path, *names))}).labelled("emotion")
    assert isinstance(labels, Labelled)
    assert labels.classes == ("happy", "sad")
    assert set(labels.folds.tolist()) == {0, 1, 2, 3, 4}
    for subject in set(labels.groups.tolist()):
        assert len(set(labels.folds[labels.groups == subject].tolist())) == 1
    custom = build("dataset", "class-folders", {"path": str(tmp_path), "subject": r"(\d\.png)$"})
    with pytest.raises(DataError, match="2 people, fewer than 5 folds\nLower the option folds, or set subject"):
        custom.labelled("emotion")
    some = build("dataset", "class-folders", {"path": str(tmp_path), "subject": r"S(001)|S"})
    with pytest.raises(DataError, match=r"finds no subject in S000_happy0\.png"):
        some.labelled("emotion")


def test_without_subjects_each_image_is_its_own(tmp_path: Path) -> None:
    root = tree(tmp_path, *(f"{c}/{n}x.png" for c in ("happy", "sad") for n in range(6)))
    labels = build("dataset", "class-folders", {"path": str(root)}).labelled("emotion")
    assert isinstance(labels, Labelled)
    assert len(set(labels.groups.tolist())) == 12  # though the classes share file names
    assert "each image" in labels.note


def test_classes_smaller_than_the_folds_are_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, *(f"{c}/{n}x.png" for c in ("happy", "sad") for n in range(3)))
    with pytest.raises(DataError, match="no class has 5 images"):
        build("dataset", "class-folders", {"path": str(root)}).labelled("emotion")


@pytest.mark.parametrize(
    ("names", "people"),
    [
        (("ann/1.jpg", "ann/2.jpg", "bob/1.jpg"), ["ann", "ann", "bob"]),
        (("images/ann/1.jpg", "images/bob/1.jpg"), ["ann", "bob"]),
        (("images/1.jpg", "images/2.jpg"), ["1.jpg", "2.jpg"]),
        (("1.jpg", "2.jpg"), ["1.jpg", "2.jpg"]),
    ],
)
def test_a_person_is_where_the_paths_part(tmp_path: Path, names: tuple[str, ...], people: list[str]) -> None:
    tree(tmp_path, *names)
    rows = "".join(f"{name},1,2,3,{number % 2}\n" for number, name in enumerate(names))
    (tmp_path / "p.csv").write_text(f"file,pitch_deg,yaw_deg,roll_deg,fold\n{rows}")
    labels = build("dataset", "pose-csv", {"path": str(tmp_path / "p.csv")}).labelled("pose")
    assert isinstance(labels, Labelled)
    assert labels.groups.tolist() == people
    assert ("each image" in labels.note) == (len(set(people)) == len(people))


def test_pose_is_read_with_its_folds(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.jpg", "b/1.jpg")
    text = "\ufefffile, pitch_deg,yaw_deg,roll_deg,person_fold\r\na/1.jpg,1.5,-2,0,3\r\nb/1.jpg,4,5,6,1\r\n"
    (tmp_path / "p.csv").write_text(text, encoding="utf-8", newline="")
    labels = build("dataset", "pose-csv", {"path": str(tmp_path / "p.csv")}).labelled("pose")
    assert labels.targets.tolist() == [[1.5, -2, 0], [4, 5, 6]]
    assert labels.folds.tolist() == [3, 1]
    assert labels.groups.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,pitch_deg,yaw_deg\na.jpg,1,2\n", "line 1: the columns roll_deg are missing"),
        ("file,pitch_deg,yaw_deg,roll_deg\na.jpg,1,2,3\nb.jpg,1,x,3\n", "line 3: expected three angles"),
        ("file,pitch_deg,yaw_deg,roll_deg\na.jpg,1,2\n", "line 2: expected three angles"),
        ("file,pitch_deg,yaw_deg,roll_deg\na.jpg,1,nan,3\n", "line 2: angles must be finite"),
        ("file,pitch_deg,yaw_deg,roll_deg\n,1,2,3\n", "line 2: the file name is empty"),
        ("file,pitch_deg,yaw_deg,roll_deg\n", "holds no rows"),
    ],
)
def test_a_malformed_pose_file_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        build("dataset", "pose-csv", {"path": str(tmp_path / "p.csv")})


def test_a_pose_file_without_any_of_its_images_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("file,pitch_deg,yaw_deg,roll_deg\na.jpg,1,2,3\n")
    with pytest.raises(DataError, match=r"none of the 1 images of .*p\.csv exists"):
        build("dataset", "pose-csv", {"path": str(tmp_path / "p.csv"), "allow_missing": True})


def test_verification_folds_share_no_person(tmp_path: Path) -> None:
    root = tree(tmp_path, *(f"s{p}/{n}.png" for p in range(20) for n in range(3)))
    dataset = build("dataset", "identity-folders", {"path": str(root)})
    pairs = dataset.labelled("verify")
    assert isinstance(pairs, Verification)
    person = {f: t.identity for t in dataset.tracks() for f in t.frames}
    of_fold: dict[int, set[str]] = {}
    for a, b, same, fold in zip(pairs.first, pairs.second, pairs.same, pairs.folds, strict=True):
        assert (person[a] == person[b]) == same
        assert a != b
        of_fold.setdefault(int(fold), set()).update((person[a], person[b]))
    assert len(of_fold) == 10
    assert sum(map(len, of_fold.values())) == len(set().union(*of_fold.values()))
    for fold in of_fold:
        assert pairs.same[pairs.folds == fold].mean() == 0.5
    again = build("dataset", "identity-folders", {"path": str(root)}).labelled("verify")
    assert np.array_equal(again.first, pairs.first)


def test_verification_needs_two_images_of_a_person_in_every_fold(tmp_path: Path) -> None:
    root = tree(tmp_path, *(f"s{p}/1.png" for p in range(20)), "s3/2.png")
    with pytest.raises(DataError, match="only 1 of 10 folds hold a person with two images"):
        build("dataset", "identity-folders", {"path": str(root)}).labelled("verify")
