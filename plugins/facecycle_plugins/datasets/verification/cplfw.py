"""The data set `cplfw`: Cross-Pose LFW, one flat folder of images, with the pairs of its authors."""

from __future__ import annotations

import re
from pathlib import Path

from facecycle.api import Labelled, Task, Track, Verification
from facecycle.api import Options as BaseOptions
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.data.images import is_image, natural_key
from facecycle.data.labels.lines import numbered_lines, problem
from facecycle.data.labels.verification import ListedPair, find_pairs_file, listed_pairs, tracks_by_person
from facecycle.errors import DataError, MalformedError

PUBLISHED = {"pairs": 6000}
FOLDS = 10
IMAGE = re.compile(r"(\S+)\s+([0-9]{1,9})")
PAIR = re.compile(r"(\S+)\s+(\S+)\s+([01])")
LAYOUT = "Expected a folder of images, as Name_1.jpg, or one that holds such a folder images/."

Row = tuple[tuple[int, str], tuple[int, str], bool]
"""Line and name of two images, and whether both show one person."""


class CplfwOptions(BaseOptions):
    """Options of the data set `cplfw`."""

    path: Path
    """Folder of images, or one that holds the folder images/."""
    pairs: Path | None = None
    """File that lists the pairs; left out, pairs_CPLFW.txt in the folder or beside it."""
    allow_missing: bool = False
    """Leave out pairs with an image that does not exist; otherwise they are an error."""


class Cplfw(FileDataset):
    """The pairs are scored in ten folds, contiguous blocks of the file that lists them."""

    facecycle_api = (1, 0)
    Options = CplfwOptions
    kind = "cplfw"
    files: FrameFiles
    licence = "CPLFW: for research; the photographs, found on the web, belong to their owners"

    def __init__(self, options: CplfwOptions) -> None:
        self.options = options
        root = options.path
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", hint=LAYOUT)
        folder = root / "images" if (root / "images").is_dir() else root
        images = sorted((path for path in folder.iterdir() if is_image(path)), key=lambda path: natural_key(path.name))
        if not images:
            raise DataError(f"there are no images in {folder}", hint=LAYOUT)
        self.files = FrameFiles(images, root)

    def tracks(self) -> list[Track]:
        """A person's images are one track; the person is the file's name without its number."""
        return tracks_by_person([re.sub(r"_\d+$", "", image.stem) for image in self.files.paths])

    def labelled(self, task: Task) -> Labelled | Verification:
        """Return the pairs.

        Raises:
            DataError: another task than verification, or there is no file of pairs.
            MalformedError: lines that are no pair, or images that do not exist.
        """
        if task != "verify":
            raise self.refuse(f"labels for {task}")
        path = find_pairs_file(self.options.pairs, self.options.path, "pairs_CPLFW.txt")
        rows = _read(path)
        pairs = [ListedPair(*row, fold=FOLDS * place // len(rows)) for place, row in enumerate(rows)]
        frames = {image.name: frame for frame, image in enumerate(self.files.paths)}
        return listed_pairs(path, pairs, frames, PUBLISHED, allow_missing=self.options.allow_missing)


def _read(path: Path) -> list[Row]:
    """Read a file of pairs: two lines a pair as its authors wrote it, or one line a pair.

    Raises:
        MalformedError: lines that are no pair.
    """
    lines = numbered_lines(path)
    # An image and a label a line, or two images and a label.
    read = _one_line_a_pair if len(lines[0][1].split()) == 3 else _two_lines_a_pair
    rows, problems = read(path, lines)
    if problems:
        raise MalformedError(f"{path} is malformed", problems)
    return rows


def _one_line_a_pair(path: Path, lines: list[tuple[int, str]]) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    problems = []
    for number, line in lines:
        match = PAIR.fullmatch(line)
        if match is None:
            problems.append(problem(path, number, "two images and 0 or 1, as 'A_1.jpg B_1.jpg 0'", line))
        else:
            rows.append(((number, match[1]), (number, match[2]), match[3] == "1"))
    return rows, problems


def _two_lines_a_pair(path: Path, lines: list[tuple[int, str]]) -> tuple[list[Row], list[str]]:
    """A label 0 stands for two people, any other number for one; both lines of a pair carry the same."""
    rows: list[Row] = []
    problems = []
    matches = [(number, line, IMAGE.fullmatch(line)) for number, line in lines]
    wanted = "an image and a label, as 'A_1.jpg 1'"
    problems += [problem(path, number, wanted, line) for number, line, match in matches if match is None]
    if len(lines) % 2:
        problems.append(problem(path, lines[-1][0], "a second line of this pair after it", "the end of the file"))
    for (number, _, first), (second_number, line, second) in zip(matches[::2], matches[1::2], strict=False):
        if first is None or second is None:
            continue
        if int(first[2]) != int(second[2]):
            wanted = f"the label {first[2]} as in line {number}, for both are one pair"
            problems.append(problem(path, second_number, wanted, line))
        rows.append(((number, first[1]), (second_number, second[1]), int(first[2]) != 0))
    return rows, problems
