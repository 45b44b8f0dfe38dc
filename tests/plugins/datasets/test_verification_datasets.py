"""The layouts of LFW, CPLFW and VoxCeleb, and what is said of malformed ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.common import picture

from facecycle.api import Verification
from facecycle.errors import DataError, MalformedError
from facecycle.registry import build

LFW_LINES = ["2\t1", "Ann\t1\t2", "Ann\t1\tBob\t1", "Bob\t1\t2", "Bob\t2\tAnn\t2"]
CPLFW_PAIRS = ["Ann_1.jpg Ann_2.jpg 1", "Bob_1.jpg Bob_2.jpg 1", "Ann_1.jpg Bob_1.jpg 0", "Ann_2.jpg Bob_2.jpg 0"]
CPLFW_LINES = [f"{name} {3 * int(label)}" for a, b, label in map(str.split, CPLFW_PAIRS) for name in (a, b)]


def pairs(kind: str, path: Path, **options: object) -> list[tuple[str, str, bool, int]]:
    """Return the pairs as names of images, whether they show one person, and the fold."""
    dataset = build("dataset", kind, {"path": str(path), **options})
    found = dataset.labelled("verify")
    assert isinstance(found, Verification)
    stems = [Path(dataset.files.name(frame)).stem for frame in range(len(dataset.files.paths))]
    columns = (found.first.tolist(), found.second.tolist(), found.same.tolist(), found.folds.tolist())
    return [(stems[a], stems[b], same, fold) for a, b, same, fold in zip(*columns, strict=True)]


def written(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_text(end.join(lines) + end, encoding="utf-8", newline="")
    return path


def lfw(root: Path, suffix: str = ".jpg") -> Path:
    for person in ("Ann", "Bob"):
        for number in (1, 2):
            picture(root / person / f"{person}_{number:04d}{suffix}", number)
    return root


def cplfw(root: Path) -> Path:
    for person in ("Ann", "Bob"):
        for number in (1, 2):
            picture(root / f"{person}_{number}.jpg", number)
    return root


# --- LFW ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("place", ["lfw/pairs.txt", "pairs.txt"])
def test_lfw_folds_are_the_blocks_of_its_pairs_file(tmp_path: Path, suffix: str, place: str) -> None:
    root = lfw(tmp_path / "lfw", suffix)
    written(tmp_path / place, LFW_LINES)
    assert pairs("lfw", root) == [
        ("Ann_0001", "Ann_0002", True, 0),
        ("Ann_0001", "Bob_0001", False, 0),
        ("Bob_0001", "Bob_0002", True, 1),
        ("Bob_0002", "Ann_0002", False, 1),
    ]
    found = build("dataset", "lfw", {"path": str(root)}).labelled("verify")
    assert found.counts == {"pairs": 4}
    assert found.published == {"pairs": 6000}


def test_lfw_reads_blocks_of_several_pairs(tmp_path: Path) -> None:
    same, different = "Ann 1 2", "Ann 1 Bob 1"
    written(tmp_path / "pairs.txt", ["3 2", *[same, same, different, different] * 3])
    found = pairs("lfw", lfw(tmp_path))
    assert [fold for *_, fold in found] == [0] * 4 + [1] * 4 + [2] * 4
    assert [same for _, _, same, _ in found] == [True, True, False, False] * 3


def test_an_lfw_development_file_is_one_fold_and_refused(tmp_path: Path) -> None:
    listing = written(tmp_path / "pairsDevTest.txt", ["2", "Ann 1 2", "Bob 1 2", "Ann 1 Bob 1", "Ann 2 Bob 2"])
    with pytest.raises(DataError, match=r"the pairs are one fold[\s\S]*pairs\.txt and not a development file"):
        pairs("lfw", lfw(tmp_path), pairs=str(listing))


def test_lfw_as_kaggle_packs_it(tmp_path: Path) -> None:
    lfw(tmp_path / "lfw-deepfunneled" / "lfw-deepfunneled")
    rows = ["Ann,1,2,", "Ann,1,Bob,1", "Bob,1,2,", "Bob,2,Ann,2"]
    written(tmp_path / "pairs.csv", ["name,imagenum1,imagenum2,", *[row for row in rows for _ in range(5)]])
    found = pairs("lfw", tmp_path)
    assert [pair[:3] for pair in found[::5]] == [
        ("Ann_0001", "Ann_0002", True),
        ("Ann_0001", "Bob_0001", False),
        ("Bob_0001", "Bob_0002", True),
        ("Bob_0002", "Ann_0002", False),
    ]
    assert [fold for *_, fold in found] == 2 * [0, 1, 2, 3, 4] + 2 * [5, 6, 7, 8, 9]


def test_lfw_tolerates_a_byte_order_mark_line_endings_and_spaces(tmp_path: Path) -> None:
    lines = ["\ufeff" + LFW_LINES[0], *(f"  {line} " for line in LFW_LINES[1:]), ""]
    written(tmp_path / "pairs.txt", lines, end="\r\n")
    assert len(pairs("lfw", lfw(tmp_path))) == 4


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (1, "Ann 1 2", "line 1: expected the numbers of folds and of same pairs in each, as '10 300', got 'Ann 1 2'"),
        (1, "0 300", "line 1: expected the numbers of folds"),
        (1, "2 2", "line 1: expected 8 pairs to follow, got '4 pairs'"),
        (2, "Ann 1 Bob 1", "line 2: expected a same pair, as 'Name 1 2', got 'Ann 1 Bob 1'"),
        (3, "Ann 1 2", "line 3: expected a different pair, as 'Name 1 Other 2', got 'Ann 1 2'"),
        (4, "Bob 1 x", "line 4: expected a same pair, as 'Name 1 2', got 'Bob 1 x'"),
    ],
)
def test_a_malformed_lfw_file_names_the_line(tmp_path: Path, line: int, text: str, message: str) -> None:
    listing = written(tmp_path / "pairs.txt", [*LFW_LINES[: line - 1], text, *LFW_LINES[line:]])
    with pytest.raises(MalformedError) as caught:
        pairs("lfw", lfw(tmp_path))
    assert caught.value.problems[0].startswith(f"{listing}, {message}")


def test_lfw_tracks_are_people_whether_or_not_a_pair_names_them(tmp_path: Path) -> None:
    picture(lfw(tmp_path) / "Carl" / "Carl_0001.jpg")
    tracks = build("dataset", "lfw", {"path": str(tmp_path)}).tracks()
    assert [(track.identity, len(track.frames)) for track in tracks] == [("Ann", 2), ("Bob", 2), ("Carl", 1)]


# --- CPLFW --------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["cplfw/pairs_CPLFW.txt", "pairs_CPLFW.txt"])
@pytest.mark.parametrize("images", ["cplfw", "cplfw/images"])
def test_cplfw_reads_two_lines_a_pair(tmp_path: Path, place: str, images: str) -> None:
    cplfw(tmp_path / images)
    written(tmp_path / place, CPLFW_LINES)
    assert [pair[:3] for pair in pairs("cplfw", tmp_path / "cplfw")] == [
        ("Ann_1", "Ann_2", True),
        ("Bob_1", "Bob_2", True),
        ("Ann_1", "Bob_1", False),
        ("Ann_2", "Bob_2", False),
    ]
    found = build("dataset", "cplfw", {"path": str(tmp_path / "cplfw")}).labelled("verify")
    assert found.counts == {"pairs": 4}
    assert found.published == {"pairs": 6000}


def test_cplfw_finds_the_pairs_beside_its_images(tmp_path: Path) -> None:
    cplfw(tmp_path / "images")
    written(tmp_path / "pairs_CPLFW.txt", CPLFW_LINES)
    assert len(pairs("cplfw", tmp_path / "images")) == 4


def test_cplfw_reads_one_line_a_pair(tmp_path: Path) -> None:
    listing = written(tmp_path / "repack.txt", ["\ufeff" + CPLFW_PAIRS[0], *CPLFW_PAIRS[1:], ""], end="\r\n")
    found = pairs("cplfw", cplfw(tmp_path), pairs=str(listing))
    assert [pair[2] for pair in found] == [True, True, False, False]


@pytest.mark.parametrize("kind", ["cplfw", "calfw"])
def test_a_fold_is_a_tenth_of_the_same_pairs_with_a_tenth_of_the_different_ones(tmp_path: Path, kind: str) -> None:
    # As the authors' list: every pair of one person first.
    written(tmp_path / f"pairs_{kind.upper()}.txt", [CPLFW_PAIRS[0]] * 30 + [CPLFW_PAIRS[2]] * 30)
    found = pairs(kind, cplfw(tmp_path))
    assert [fold for *_, fold in found] == 2 * [fold for fold in range(10) for _ in range(3)]
    # Where both kinds alternate, the folds are the blocks of the list.
    written(tmp_path / f"pairs_{kind.upper()}.txt", [CPLFW_PAIRS[0], CPLFW_PAIRS[2]] * 30)
    assert [fold for *_, fold in pairs(kind, tmp_path)] == [fold for fold in range(10) for _ in range(6)]


def test_a_fold_of_one_kind_is_refused(tmp_path: Path) -> None:
    listing = written(tmp_path / "p.txt", [CPLFW_PAIRS[0]] * 2 + [CPLFW_PAIRS[2]])
    with pytest.raises(DataError, match="fold 5 of the pairs holds only pairs of one person"):
        pairs("cplfw", cplfw(tmp_path), pairs=str(listing))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Ann_1.jpg 1", "Ann_2.jpg 0"], "line 2: expected the label 1 as in line 1, for both are one pair"),
        (
            ["Ann_1.jpg 0", "Bob_1.jpg 0", "Ann_1.jpg 1"],
            "line 3: expected a second line of this pair after it, got 'the end of the file'",
        ),
        (
            ["Ann_1.jpg 1", "Ann_2.jpg yes"],
            "line 2: expected an image and a label, as 'A_1.jpg 1', got 'Ann_2.jpg yes'",
        ),
        (["Ann_1.jpg -1", "Bob_1.jpg -1"], "line 1: expected an image and a label"),
        (["Ann_1.jpg 1", "Ann_1.jpg Ann_2.jpg 1"], "line 2: expected an image and a label"),
        (["Ann_1.jpg Ann_2.jpg 1", "Ann_1.jpg 1"], "line 2: expected two images and 0 or 1"),
        (["Ann_1.jpg Ann_2.jpg 2"], "line 1: expected two images and 0 or 1"),
    ],
)
def test_a_malformed_cplfw_file_names_the_line(tmp_path: Path, lines: list[str], message: str) -> None:
    listing = written(tmp_path / "pairs_CPLFW.txt", lines)
    with pytest.raises(MalformedError) as caught:
        pairs("cplfw", cplfw(tmp_path))
    assert caught.value.problems[0].startswith(f"{listing}, {message}")


def test_cplfw_tracks_are_people_by_the_names_of_their_images(tmp_path: Path) -> None:
    tracks = build("dataset", "cplfw", {"path": str(cplfw(tmp_path))}).tracks()
    assert [(track.identity, len(track.frames)) for track in tracks] == [("Ann", 2), ("Bob", 2)]


# --- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "removed", "numbers"),
    [
        ("lfw", "Bob/Bob_0001.jpg", [3, 5, 7, 9]),
        ("cplfw", "Bob_1.jpg", [*range(2, 21, 2), *range(21, 40, 2)]),
    ],
)
def test_missing_images_are_refused_unless_their_pairs_may_be_left_out(
    tmp_path: Path, kind: str, removed: str, numbers: list[int]
) -> None:
    root = lfw(tmp_path) if kind == "lfw" else cplfw(tmp_path)
    listing = tmp_path / ("pairs.txt" if kind == "lfw" else "pairs_CPLFW.txt")
    fold = ["Ann 1 2", "Bob 1 2", "Ann 1 Bob 2", "Ann 1 Bob 1"]
    ten = [*CPLFW_PAIRS[:2] * 10, *CPLFW_PAIRS[2:] * 10]
    written(listing, ["2 2", *fold, *fold] if kind == "lfw" else ten)
    every = pairs(kind, root)
    (root / removed).unlink()
    with pytest.raises(MalformedError, match="--allow-missing") as caught:
        pairs(kind, root)
    image = removed.removesuffix(".jpg") if kind == "lfw" else removed
    assert caught.value.problems == [f"{listing}, line {n}: there is no image {image}" for n in numbers]
    stem = Path(removed).stem
    # The pairs that are left keep the folds they had.
    kept = [pair for pair in every if stem not in pair[:2]]
    assert pairs(kind, root, allow_missing=True) == kept
    found = build("dataset", kind, {"path": str(root), "allow_missing": True}).labelled("verify")
    assert found.counts == {"pairs": len(kept)}
    assert f"{len(kept)} of {len(every)} pairs" in found.note


@pytest.mark.parametrize("kind", ["lfw", "cplfw"])
def test_pairs_without_any_image_are_refused(tmp_path: Path, kind: str) -> None:
    root = lfw(tmp_path) if kind == "lfw" else cplfw(tmp_path)
    lines = ["1 1", "Zoe 1 2", "Zoe 1 Ann 1"] if kind == "lfw" else ["Zoe_1.jpg 1", "Zoe_2.jpg 1"]
    listing = written(tmp_path / "p.txt", lines)
    with pytest.raises(DataError, match="none of the"):
        pairs(kind, root, pairs=str(listing), allow_missing=True)


@pytest.mark.parametrize(("kind", "name"), [("lfw", "pairs.txt"), ("cplfw", "pairs_CPLFW.txt")])
def test_a_missing_pairs_file_is_named_where_it_was_looked_for(tmp_path: Path, kind: str, name: str) -> None:
    root = lfw(tmp_path / "d") if kind == "lfw" else cplfw(tmp_path / "d")
    with pytest.raises(DataError, match=f"there is no {root / name} and .*no {tmp_path / name}"):
        pairs(kind, root)
    with pytest.raises(DataError, match=r"there is no given\.txt"):
        pairs(kind, root, pairs="given.txt")


@pytest.mark.parametrize("kind", ["lfw", "cplfw"])
def test_missing_and_empty_paths_are_refused_with_the_layout(tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("gone", "empty"):
        with pytest.raises(DataError, match=rf"{name}[\s\S]*Expected .*Name_"):
            build("dataset", kind, {"path": str(tmp_path / name)})


# --- VoxCeleb -----------------------------------------------------------------------------------


def test_voxceleb_leaves_out_tracks_shorter_than_the_paper_used(tmp_path: Path) -> None:
    for track, count in (("short", 3), ("long", 4)):
        for number in range(count):
            picture(tmp_path / "id10001" / "1.6" / "video" / track / f"{number}.jpg", number)
    dataset = build("dataset", "voxceleb", {"path": str(tmp_path)})
    assert [(track.name, track.identity) for track in dataset.tracks()] == [("id10001/1.6/video/long", "id10001")]
    assert "owners" in dataset.licence
    assert len(build("dataset", "voxceleb", {"path": str(tmp_path), "min_frames": 3}).tracks()) == 2
    with pytest.raises(DataError, match="'voxceleb' has no labels"):
        dataset.labelled("verify")
