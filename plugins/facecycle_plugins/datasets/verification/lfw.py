"""The data sets `lfw`, `cplfw` and `calfw`: Labeled Faces in the Wild, across pose and age too, with listed pairs."""

import os
import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from facecycle.api import Options as BaseOptions
from facecycle.api import Track, Verification
from facecycle.data.folders import Tree, images_in, walk
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.data.labels.lines import numbered_lines, problem
from facecycle.data.labels.verification import (
    ListedPair,
    find_file,
    listed_pairs,
    paired_tenths,
    tracks_by_person,
)
from facecycle.errors import DataError, MalformedError

PUBLISHED = {"pairs": 6000}
HEADER = re.compile(r"([1-9][0-9]{0,8})(?:\s+([1-9][0-9]{0,8}))?")
KAGGLE = re.compile(r"name\s+imagenum1\s+imagenum2")
SAME = re.compile(r"(\S+)\s+([0-9]{1,9})\s+([0-9]{1,9})")
DIFFERENT = re.compile(r"(\S+)\s+([0-9]{1,9})\s+(\S+)\s+([0-9]{1,9})")
IMAGE = re.compile(r"(\S+)\s+([0-9]{1,9})")
PAIR = re.compile(r"(\S+)\s+(\S+)\s+([01])")

Line = tuple[int, str]


class PairOptions(BaseOptions):
    """Options of the data sets `lfw`, `cplfw` and `calfw`."""

    path: Path
    """Of lfw, the folder with one sub-folder a person, as Name/Name_0001.jpg or .png, or one around it. Of the others,
    the folder of images, as Name_1.jpg, or one that holds the folder images/."""
    pairs: Path | None = None
    """File that lists the pairs; left out, pairs.txt or Kaggle's pairs.csv, pairs_CPLFW.txt or pairs_CALFW.txt, in the
    folder or beside it."""
    allow_missing: bool = False
    """Leave out pairs with an image that does not exist; otherwise they are an error."""


class Lfw(FileDataset):
    """The pairs are scored in the ten blocks in which their file lists them."""

    facecycle_api = (1, 0)
    Options = PairOptions
    kind = "lfw"
    task = "verify"
    files: FrameFiles
    licence = "LFW: for research; the photographs, from news on the web, belong to their owners"
    list_names: ClassVar[tuple[str, ...]] = ("pairs.txt", "pairs.csv")
    folding: ClassVar[str] = "folds are the blocks, in order,"
    layout: ClassVar[str] = "Expected one sub-folder a person, as Name/Name_0001.jpg or .png."

    def __init__(self, options: PairOptions) -> None:
        self.options = options
        if not options.path.is_dir():
            raise DataError(f"there is no folder {options.path}", hint=self.layout)
        self.files = FrameFiles(self._images(options.path), options.path)

    def _images(self, root: Path) -> list[Path]:
        tree = walk(root)
        self.passed_over = tree.left_out()
        people = [folder for folder in tree.folders if folder != "."]
        if not people:
            raise DataError(f"there are no images in the sub-folders of {root}", hint=self.layout)
        # Kaggle packs the folder of people into two others of one name.
        parents = {folder: os.path.dirname(folder) for folder in people}
        shared = os.path.commonpath(parents.values()) if all(parents.values()) else ""
        kept = {folder: tree.folders[folder] for folder in people if parents[folder] == shared}
        return Tree(root, kept, {}).paths()

    def _person(self, image: Path) -> str:
        return image.parent.name

    def _listed_name(self, image: Path) -> str:
        return f"{image.parent.name}/{image.stem}"

    def _pairs_of(self, file: Path) -> tuple[list[ListedPair], np.ndarray, dict[str, int]]:
        """Read a file of pairs: per fold a block of same pairs, then as many different ones.

        The first line holds the number of folds and of same pairs in each. A development file holds the latter
        alone, is one fold, and has no published count. Kaggle's csv has the rows of pairs.txt without these numbers.
        """
        lines = [(number, line.strip(",").replace(",", "\t")) for number, line in numbered_lines(file)]
        (first, header), *rows = lines
        if KAGGLE.fullmatch(header):
            same = np.array([bool(SAME.fullmatch(line)) for _, line in rows])
            pairs, problems = _named(file, rows, same)
            if problems:
                raise MalformedError(f"{file} is malformed", problems)
            return pairs, paired_tenths(same), PUBLISHED
        sizes = HEADER.fullmatch(header)
        if sizes is None:
            wanted = "the numbers of folds and of same pairs in each, as '10 300'"
            raise MalformedError(f"{file} is malformed", [problem(file, first, wanted, header)])
        folds, each = (int(sizes[1]), int(sizes[2])) if sizes[2] else (1, int(sizes[1]))
        places = np.arange(len(rows))
        pairs, problems = _named(file, rows, places % (2 * each) < each)
        if len(rows) != 2 * folds * each:
            problems.insert(0, problem(file, first, f"{2 * folds * each:,} pairs to follow", f"{len(rows):,} pairs"))
        if problems:
            raise MalformedError(f"{file} is malformed", problems)
        return pairs, places // (2 * each), PUBLISHED if sizes[2] else {}

    def tracks(self) -> list[Track]:
        """A person's images are one track, whether or not a pair names them."""
        return tracks_by_person([self._person(image) for image in self.files.paths])

    def own_labels(self) -> Verification:
        """Return the pairs."""
        file = find_file(self.options.pairs, self.options.path, self.list_names, "pairs")
        pairs, folds, published = self._pairs_of(file)
        frames = {self._listed_name(image): frame for frame, image in enumerate(self.files.paths)}
        how = f"{self.folding} of {file.name}"
        return listed_pairs(file, pairs, folds, how, frames, published, allow_missing=self.options.allow_missing)


class Cplfw(Lfw):
    """The pairs are scored in ten folds: a tenth of the same pairs with a tenth of the different ones, in order."""

    kind = "cplfw"
    licence = "CPLFW: for research; the photographs, found on the web, belong to their owners"
    list_names = ("pairs_CPLFW.txt",)
    layout = "Expected a folder of images, as Name_1.jpg, or one that holds such a folder images/."
    folding = "fold k is the k-th tenth of the same and of the different pairs"

    def _images(self, root: Path) -> list[Path]:
        folder = root / "images" if (root / "images").is_dir() else root
        images = [folder / name for name in images_in(folder)]
        if not images:
            raise DataError(f"there are no images in {folder}", hint=self.layout)
        return images

    def _person(self, image: Path) -> str:
        return re.sub(r"_\d+$", "", image.stem)

    def _listed_name(self, image: Path) -> str:
        return image.name

    def _pairs_of(self, file: Path) -> tuple[list[ListedPair], np.ndarray, dict[str, int]]:
        """Read the file of pairs: two lines a pair as its authors wrote it, or one line a pair."""
        lines = numbered_lines(file)
        # An image and a label a line, or two images and a label.
        read = _one_line_a_pair if len(lines[0][1].split()) == 3 else _two_lines_a_pair
        pairs, problems = read(file, lines)
        if problems:
            raise MalformedError(f"{file} is malformed", problems)
        return pairs, paired_tenths(np.array([pair.same for pair in pairs])), PUBLISHED


class Calfw(Cplfw):
    """LFW across age, in the layout and the folds of CPLFW."""

    kind = "calfw"
    licence = "CALFW: for research; the photographs, found on the web, belong to their owners"
    list_names = ("pairs_CALFW.txt",)


def _named(path: Path, lines: list[Line], same: np.ndarray) -> tuple[list[ListedPair], list[str]]:
    """Read lines of names and numbers, of which `same` (n,) tells what kind of pair each should be."""
    pairs, problems = [], []
    for (number, line), of_one in zip(lines, same.tolist(), strict=True):
        match = (SAME if of_one else DIFFERENT).fullmatch(line)
        if match is None:
            wanted = "a same pair, as 'Name 1 2'" if of_one else "a different pair, as 'Name 1 Other 2'"
            problems.append(problem(path, number, wanted, line))
            continue
        one, i, *other, j = match.groups()
        names = [f"{name}/{name}_{int(n):04d}" for name, n in ((one, i), (other[0] if other else one, j))]
        pairs.append(ListedPair((number, names[0]), (number, names[1]), of_one))
    return pairs, problems


def _one_line_a_pair(path: Path, lines: list[Line]) -> tuple[list[ListedPair], list[str]]:
    matches = [(number, line, PAIR.fullmatch(line)) for number, line in lines]
    wanted = "two images and 0 or 1, as 'A_1.jpg B_1.jpg 0'"
    problems = [problem(path, number, wanted, line) for number, line, match in matches if match is None]
    return [ListedPair((n, match[1]), (n, match[2]), match[3] == "1") for n, _, match in matches if match], problems


def _two_lines_a_pair(path: Path, lines: list[Line]) -> tuple[list[ListedPair], list[str]]:
    """A label 0 stands for two people, any other number for one; both lines of a pair carry the same."""
    pairs: list[ListedPair] = []
    matches = [(number, line, IMAGE.fullmatch(line)) for number, line in lines]
    wanted = "an image and a label, as 'A_1.jpg 1'"
    problems = [problem(path, number, wanted, line) for number, line, match in matches if match is None]
    if len(lines) % 2:
        problems.append(problem(path, lines[-1][0], "a second line of this pair after it", "the end of the file"))
    for (number, _, first), (second_number, line, second) in zip(matches[::2], matches[1::2], strict=False):
        if first is None or second is None:
            continue
        if int(first[2]) != int(second[2]):
            wanted = f"the label {first[2]} as in line {number}, for both are one pair"
            problems.append(problem(path, second_number, wanted, line))
        pairs.append(ListedPair((number, first[1]), (second_number, second[1]), int(first[2]) != 0))
    return pairs, problems
