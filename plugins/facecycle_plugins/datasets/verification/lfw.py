"""The data set `lfw`: Labeled Faces in the Wild, one folder a person, with the pairs of its authors."""

from __future__ import annotations

import re
from pathlib import Path

from facecycle.api import Labelled, Task, Track, Verification
from facecycle.api import Options as BaseOptions
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.data.images import list_images
from facecycle.data.labels.lines import numbered_lines, problem
from facecycle.data.labels.verification import ListedPair, find_pairs_file, listed_pairs, tracks_by_person
from facecycle.errors import DataError, MalformedError

PUBLISHED = {"pairs": 6000}
HEADER = re.compile(r"([1-9][0-9]{0,8})(?:\s+([1-9][0-9]{0,8}))?")
SAME = re.compile(r"(\S+)\s+([0-9]{1,9})\s+([0-9]{1,9})")
DIFFERENT = re.compile(r"(\S+)\s+([0-9]{1,9})\s+(\S+)\s+([0-9]{1,9})")
LAYOUT = "Expected one sub-folder a person, as Name/Name_0001.jpg or .png."


class LfwOptions(BaseOptions):
    """Options of the data set `lfw`."""

    path: Path
    """Folder with one sub-folder a person, as Name/Name_0001.jpg or .png."""
    pairs: Path | None = None
    """File that lists the pairs; left out, pairs.txt in the folder or beside it."""
    allow_missing: bool = False
    """Leave out pairs with an image that does not exist; otherwise they are an error."""


class Lfw(FileDataset):
    """The pairs are scored in the ten blocks in which the file lists them."""

    facecycle_api = (1, 0)
    Options = LfwOptions
    kind = "lfw"
    files: FrameFiles
    licence = "LFW: for research; the photographs, from news on the web, belong to their owners"

    def __init__(self, options: LfwOptions) -> None:
        self.options = options
        root = options.path
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", hint=LAYOUT)
        images = [image for image in list_images(root) if image.parent.parent == root]
        if not images:
            raise DataError(f"there are no images in the sub-folders of {root}", hint=LAYOUT)
        self.files = FrameFiles(images, root)

    def tracks(self) -> list[Track]:
        """A person's images are one track, whether or not a pair names them."""
        return tracks_by_person([image.parent.name for image in self.files.paths])

    def labelled(self, task: Task) -> Labelled | Verification:
        """Return the pairs.

        Raises:
            DataError: another task than verification, or there is no file of pairs.
            MalformedError: lines that are no pair, or images that do not exist.
        """
        if task != "verify":
            raise self.refuse(f"labels for {task}")
        path = find_pairs_file(self.options.pairs, self.options.path, "pairs.txt")
        pairs, published = _read(path)
        frames = {f"{image.parent.name}/{image.stem}": frame for frame, image in enumerate(self.files.paths)}
        return listed_pairs(path, pairs, frames, published, allow_missing=self.options.allow_missing)


def _read(path: Path) -> tuple[list[ListedPair], dict[str, int]]:
    """Read a file of pairs: per fold a block of same pairs, then as many different ones.

    The first line holds the number of folds and of same pairs in each. A development file holds the latter
    alone, is one fold, and has no published count.

    Raises:
        MalformedError: lines that are no pair, or other numbers of pairs than the first line says.
    """
    (first, header), *lines = numbered_lines(path)
    sizes = HEADER.fullmatch(header)
    if sizes is None:
        wanted = "the numbers of folds and of same pairs in each, as '10 300'"
        raise MalformedError(f"{path} is malformed", [problem(path, first, wanted, header)])
    folds, each = (int(sizes[1]), int(sizes[2])) if sizes[2] else (1, int(sizes[1]))
    pairs, problems = [], []
    if len(lines) != 2 * folds * each:
        problems.append(problem(path, first, f"{2 * folds * each:,} pairs to follow", f"{len(lines):,} pairs"))
    for place, (number, line) in enumerate(lines):
        same = place % (2 * each) < each
        match = (SAME if same else DIFFERENT).fullmatch(line)
        if match is None:
            wanted = "a same pair, as 'Name 1 2'" if same else "a different pair, as 'Name 1 Other 2'"
            problems.append(problem(path, number, wanted, line))
            continue
        one, i, *other, j = match.groups()
        names = (_name(one, i), _name(other[0] if other else one, j))
        pairs.append(ListedPair((number, names[0]), (number, names[1]), same, place // (2 * each)))
    if problems:
        raise MalformedError(f"{path} is malformed", problems)
    return pairs, PUBLISHED if sizes[2] else {}


def _name(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}"
