"""The layouts of the file data sets, and what is said of malformed ones."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from facecycle_plugins.datasets.unlabelled.tracks import identity
from helpers.common import picture

from facecycle.api import Labelled, Verification
from facecycle.cache import index_file
from facecycle.data.folders import image_suffixes
from facecycle.data.labels.verification import pairs_by_identity
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
    index = index_file("folders", root)
    changed = root.stat().st_mtime_ns
    suffixes = sorted(image_suffixes())
    damaged = [json.dumps({"suffixes": suffixes, "directories": d}) for d in ([1], {".": [changed, 1, 2, 3, 4]})]
    for text in ("", "{", "[]", '{"directories": {}}', *damaged):
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


def test_pairs_of_many_images_are_drawn_and_never_listed(tmp_path: Path) -> None:
    frames = iter(range(10**6))
    people = [[next(frames) for _ in range(count)] for count in np.random.default_rng(0).integers(1, 60, 40).tolist()]
    who = np.repeat(np.arange(40), [len(each) for each in people])
    found = pairs_by_identity(people, 4, seed=3, most=400, whose=tmp_path)
    assert len(found.same) == 400
    assert [int(found.same[found.folds == fold].sum()) for fold in range(4)] == [50] * 4
    assert ((who[found.first] == who[found.second]) == found.same).all()
    assert (found.first != found.second).all()
    pairs = np.sort([found.first, found.second], axis=0)
    assert len(np.unique(pairs, axis=1).T) == 400
    assert "200 of" in found.note
    # Without a limit every same pair is used, once.
    every = pairs_by_identity(people, 4, seed=3, most=10**6, whose=tmp_path)
    assert every.same.sum() == sum(len(each) * (len(each) - 1) // 2 for each in people)
    assert len(np.unique(np.sort([every.first, every.second], axis=0), axis=1).T) == len(every.same)


def test_celeba_names_its_people(tmp_path: Path) -> None:
    images = tree(tmp_path / "img_align_celeba", *(f"{n:06d}.jpg" for n in range(1, 13)))
    listing = tmp_path / "identity_CelebA.txt"
    listing.write_text("".join(f"{n:06d}.jpg {2880 + n % 4}\n" for n in range(1, 13)))
    dataset = build("dataset", "celeba", {"path": str(images), "folds": 2})
    assert {t.identity: len(t.frames) for t in dataset.tracks()} == dict.fromkeys(("2881", "2882", "2883", "2880"), 3)
    assert dataset.labelled("verify").same.sum() == 12
    listing.write_text(listing.read_text() + "000099.jpg 1\n")
    with pytest.raises(DataError, match=r"identity_CelebA\.txt, line 13: there is no image"):
        build("dataset", "celeba", {"path": str(images), "folds": 2})
    assert len(build("dataset", "celeba", {"path": str(images), "folds": 2, "allow_missing": True}).tracks()) == 4


# --- a folder that was given one level too high ---------------------------------------------------


@pytest.mark.parametrize("test", ["test", "Validation"])
def test_folders_of_splits_are_the_split(tmp_path: Path, test: str) -> None:
    names = [f"{split}/{c}/{n}{split}.png" for split in ("train", test) for c in ("happy", "sad") for n in range(3)]
    labels = build("dataset", "class-folders", {"path": str(tree(tmp_path, *names))}).labelled("emotion")
    assert isinstance(labels, Labelled)
    assert labels.classes == ("happy", "sad")
    assert labels.folds.tolist() == [-1] * 6 + [0] * 6
    assert labels.counts == {"train": 6, "test": 6}


def test_a_validation_split_beside_a_test_split_is_left_out_and_counted(tmp_path: Path) -> None:
    names = [f"{split}/{c}/{n}.png" for split in ("train", "test", "val") for c in ("happy", "sad") for n in range(2)]
    labels = build("dataset", "class-folders", {"path": str(tree(tmp_path, *names))}).labelled("emotion")
    assert isinstance(labels, Labelled)
    assert len(labels.frames) == 8
    assert "4 images of another split left out" in labels.note


@pytest.mark.parametrize(
    ("kind", "names", "message"),
    [
        ("class-folders", ["train/a/1.png", "happy/1.png"], "holds the split train beside happy"),
        ("class-folders", ["train/1.png", "train/a/1.png", "test/a/1.png"], r"train holds images outside the folders"),
        ("class-folders", ["train/a/1.png", "train/b/1.png", "test/c/1.png"], "c is tested, and no class that is"),
        ("class-folders", [f"p{n}/1.png" for n in range(51)], "51 sub-folders with images, which are too many"),
        ("class-folders", ["AF01/AF01AFS.png", "BM02/BM02HAFL.png"], "named as KDEF's"),
        ("identity-folders", [f"train/p{n}/1.png" for n in range(3)], "the folder train, which is a split"),
    ],
)
def test_folders_that_cannot_be_classes_or_people_are_refused(
    tmp_path: Path, kind: str, names: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        build("dataset", kind, {"path": str(tree(tmp_path, *names))})


MANY = [f"{number:06d}.jpg" for number in range(400)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["img_align_celeba/" + name for name in MANY], "only folder with images.*\n.*give that folder itself"),
        ([f"{n // 350:05d}/{name}" for n, name in enumerate(MANY)], "numbered on from.*\n.*option stills=true"),
        ([f"{n // 350}/{n * 7919:x}x.jpg" for n in range(400)], "no order in time.*\n.*option stills=true"),
        (["train/" + MANY[n] if n < 350 else f"test/{n}.jpg" for n in range(400)], "stands for a part.*\n.*t/train"),
    ],
)
def test_a_heap_of_stills_is_no_track(tmp_path: Path, names: list[str], message: str) -> None:
    root = tmp_path / "t"
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    with pytest.raises(DataError, match=message):
        tracks(root)
    assert len(tracks(root, stills=True)) == 400
    assert max(map(len, tracks(root, stills=False).values())) >= 350


def test_a_long_clip_beside_others_is_a_track(tmp_path: Path) -> None:
    for name in [*(f"id1/a/{name}" for name in MANY), "id2/b/000001.jpg", "id2/b/000002.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [len(files) for files in tracks(tmp_path).values()] == [400, 2]


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("unzippedFaces/A.J._Buckley/1.6/Y8hIVOBuels/1", "A.J._Buckley"),
        ("train/id10001#0DyPjQ#001.mp4", "id10001"),
        ("dev/mp4/id00012/21Uxsk56VDQ/00001", "id00012"),
        ("frames/ann/clip", "ann"),
        ("test", "test"),
        ("id10001/1.6/video/1", "id10001"),
    ],
)
def test_whom_a_track_shows(name: str, who: str) -> None:
    assert identity(name) == who


def test_videos_are_refused_with_the_way_to_frames(tmp_path: Path) -> None:
    (tmp_path / "id1" / "clip").mkdir(parents=True)
    (tmp_path / "id1" / "clip" / "00001.mp4").touch()
    with pytest.raises(DataError, match=r"holds videos \(1\) and no images[\s\S]*facecycle data crop"):
        tracks(tmp_path)


def test_videos_beside_images_are_passed_over_with_the_way_to_frames(tmp_path: Path) -> None:
    picture(tmp_path / "me.png")
    (tmp_path / "clip.mp4").touch()
    said = build("dataset", "tracks", {"path": str(tmp_path)}).passed_over
    assert said.startswith("passed over, because they are videos: 1 .mp4. ")
    assert said.endswith(f": facecycle data crop {tmp_path} -o crops/")
