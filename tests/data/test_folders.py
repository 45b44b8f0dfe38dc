"""The walk of folders of images: what it enters, what it takes for an image, and what it says it passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.common import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facecycle.data.folders import image_suffixes, list_images, natural_key, walk
from facecycle.data.images import read_square
from facecycle.registry import build


@given(st.lists(st.integers(0, 10**6), min_size=2, unique=True))
def test_numbers_in_names_sort_as_numbers(numbers: list[int]) -> None:
    names = [f"frame{n}.jpg" for n in numbers]
    assert sorted(names, key=natural_key) == [f"frame{n}.jpg" for n in sorted(numbers)]


def test_listing_is_natural_and_skips_what_is_hidden(tmp_path: Path) -> None:
    for name in ("10.jpg", "9.JPG", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in list_images(tmp_path)] == ["9.JPG", "10.jpg"]


def test_hidden_and_foreign_folders_are_never_entered(tmp_path: Path) -> None:
    for folder in ("a", "a/.ipynb_checkpoints", "__MACOSX/a", "a/@eaDir", ".Trash"):
        picture(tmp_path / folder / "1.png")
    picture(tmp_path / "a" / "._1.png")
    assert list_images(tmp_path) == [tmp_path / "a" / "1.png"]


@pytest.mark.parametrize("kind", ["tracks", "identity-folders", "class-folders", "lfw"])
def test_links_to_folders_are_followed_by_every_data_set(tmp_path: Path, kind: str) -> None:
    for person in ("Ann", "Bob", "Cy"):
        for number in (1, 2):
            picture(tmp_path / "elsewhere" / person / f"{person}_{number:04d}.png", number)
    root = tmp_path / "root"
    root.mkdir()
    for person in ("Ann", "Bob"):
        (root / person).symlink_to(tmp_path / "elsewhere" / person)
    os.rename(tmp_path / "elsewhere" / "Cy", root / "Cy")
    options = {"folds": 2} if kind == "class-folders" else {"folds": 1 + 1} if kind == "identity-folders" else {}
    if kind == "identity-folders":
        (root / "Dee").symlink_to(picture(tmp_path / "more" / "Dee_0001.png").parent)
    dataset = build("dataset", kind, {"path": str(root), **options})
    names = {Path(dataset.files.name(frame)).parts[0] for frame in range(len(dataset.files.paths))}
    assert names >= {"Ann", "Bob", "Cy"}


def test_loops_of_links_end_and_a_folder_counts_once(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png"):
        picture(tmp_path / name)
    (tmp_path / "a" / "other").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "other").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    assert list_images(tmp_path) == [tmp_path / "a" / "1.png", tmp_path / "b" / "2.png"]


def test_every_format_that_pillow_reads_is_an_image(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), (200, 30, 30))
    suffixes = {
        ".jfif",
        ".jpe",
        ".tga",
        ".mpo",
        ".jp2",
        ".avif",
        ".webp",
        ".qoi",
    } & Image.registered_extensions().keys()
    assert suffixes >= {".jfif", ".jpe", ".tga", ".mpo"}
    for suffix in suffixes:
        image.save(tmp_path / f"{suffix[1:]}{suffix.upper()}")
    found = list_images(tmp_path)
    assert {path.suffix.lower() for path in found} == suffixes
    for path in found:
        assert abs(read_square(path, 8).float().mean(dim=(1, 2))[0] - 200) < 12, path
    assert not image_suffixes() & {".eps", ".ps", ".pdf", ".h5", ".mpg", ".mp4", ".txt"}


def test_what_is_passed_over_is_counted_by_suffix(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    for name in ("a/2.HEIC", "a/3.heic", "notes", ".hidden.heic", "faces.parquet"):
        (tmp_path / name).touch()
    tree = walk(tmp_path)
    assert tree.passed_over == {".heic": 2, "": 1}
    said = tree.left_out()
    assert "2 .heic" in said
    assert "1 without a suffix" in said
    assert walk(tmp_path / "a").by_child() == {}


def test_an_index_of_other_suffixes_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "t" / "1.png")
    (tmp_path / "t" / "2.heic").touch()
    assert len(walk(tmp_path / "t", indexed=True).paths()) == 1
    more = image_suffixes() | {".heic"}
    monkeypatch.setattr("facecycle.data.folders.image_suffixes", lambda: more)
    assert len(walk(tmp_path / "t", indexed=True).paths()) == 2
