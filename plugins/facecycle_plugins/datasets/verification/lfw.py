"""The data sets `lfw` and `cplfw`: Labeled Faces in the Wild, and Cross-Pose LFW, with the pairs of their authors."""

import re
from pathlib import Path
from typing import ClassVar

from facecycle.api import Options as BaseOptions
from facecycle.api import Track, Verification
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.data.images import is_image, list_images, natural_key
from facecycle.data.labels.lines import numbered_lines, problem
from facecycle.data.labels.verification import ListedPair, find_pairs_file, listed_pairs, tracks_by_person
from facecycle.errors import DataError, MalformedError

PUBLISHED = {"pairs": 6000}
FOLDS = 10
HEADER = re.compile(r"([1-9][0-9]{0,8})(?:\s+([1-9][0-9]{0,8}))?")
SAME = re.compile(r"(\S+)\s+([0-9]{1,9})\s+([0-9]{1,9})")
DIFFERENT = re.compile(r"(\S+)\s+([0-9]{1,9})\s+(\S+)\s+([0-9]{1,9})")
IMAGE = re.compile(r"(\S+)\s+([0-9]{1,9})")
PAIR = re.compile(r"(\S+)\s+(\S+)\s+([01])")

Row = tuple[tuple[int, str], tuple[int, str], bool]
"""Line and name of two images, and whether both show one person."""
Line = tuple[int, str]


class PairOptions(BaseOptions):
    """Options of the data sets `lfw` and `cplfw`."""

    path: Path
    """Of lfw, the folder with one sub-folder a person, as Name/Name_0001.jpg or .png. Of cplfw, the folder of images,
    as Name_1.jpg, or one that holds the folder images/."""
    pairs: Path | None = None
    """File that lists the pairs; left out, pairs.txt or pairs_CPLFW.txt in the folder or beside it."""
    allow_missing: bool = False
    """Leave out pairs with an image that does not exist; otherwise they are an error."""


class Lfw(FileDataset):
    """The pairs are scored in the ten blocks in which the file lists them."""

    facecycle_api = (1, 0)
    Options = PairOptions
    kind = "lfw"
    task = "verify"
    files: FrameFiles
    licence = "LFW: for research; the photographs, from news on the web, belong to their owners"
    list_name: ClassVar[str] = "pairs.txt"
    layout: ClassVar[str] = "Expected one sub-folder a person, as Name/Name_0001.jpg or .png."

    def __init__(self, options: PairOptions) -> None:
        self.options = options
        if not options.path.is_dir():
            raise DataError(f"there is no folder {options.path}", hint=self.layout)
        self.files = FrameFiles(self._images(options.path), options.path)

    def _images(self, root: Path) -> list[Path]:
        images = [image for image in list_images(root) if image.parent.parent == root]
        if not images:
            raise DataError(f"there are no images in the sub-folders of {root}", hint=self.layout)
        return images

    def _person(self, image: Path) -> str:
        return image.parent.name

    def _listed_name(self, image: Path) -> str:
        return f"{image.parent.name}/{image.stem}"

    def _pairs_of(self, file: Path) -> tuple[list[ListedPair], dict[str, int]]:
        """Read a file of pairs: per fold a block of same pairs, then as many different ones.

        The first line holds the number of folds and of same pairs in each. A development file holds the latter
        alone, is one fold, and has no published count.
        """
        (first, header), *lines = numbered_lines(file)
        sizes = HEADER.fullmatch(header)
        if sizes is None:
            wanted = "the numbers of folds and of same pairs in each, as '10 300'"
            raise MalformedError(f"{file} is malformed", [problem(file, first, wanted, header)])
        folds, each = (int(sizes[1]), int(sizes[2])) if sizes[2] else (1, int(sizes[1]))
        pairs, problems = [], []
        if len(lines) != 2 * folds * each:
            problems.append(problem(file, first, f"{2 * folds * each:,} pairs to follow", f"{len(lines):,} pairs"))
        for place, (number, line) in enumerate(lines):
            same = place % (2 * each) < each
            match = (SAME if same else DIFFERENT).fullmatch(line)
            if match is None:
                wanted = "a same pair, as 'Name 1 2'" if same else "a different pair, as 'Name 1 Other 2'"
                problems.append(problem(file, number, wanted, line))
                continue
            one, i, *other, j = match.groups()
            names = [f"{name}/{name}_{int(n):04d}" for name, n in ((one, i), (other[0] if other else one, j))]
            pairs.append(ListedPair((number, names[0]), (number, names[1]), same, place // (2 * each)))
        if problems:
            raise MalformedError(f"{file} is malformed", problems)
        return pairs, PUBLISHED if sizes[2] else {}

    def tracks(self) -> list[Track]:
        """A person's images are one track, whether or not a pair names them."""
        return tracks_by_person([self._person(image) for image in self.files.paths])

    def own_labels(self) -> Verification:
        """Return the pairs."""
        file = find_pairs_file(self.options.pairs, self.options.path, self.list_name)
        pairs, published = self._pairs_of(file)
        frames = {self._listed_name(image): frame for frame, image in enumerate(self.files.paths)}
        return listed_pairs(file, pairs, frames, published, allow_missing=self.options.allow_missing)


class Cplfw(Lfw):
    """The pairs are scored in ten folds, contiguous blocks of the file that lists them."""

    kind = "cplfw"
    licence = "CPLFW: for research; the photographs, found on the web, belong to their owners"
    list_name = "pairs_CPLFW.txt"
    layout = "Expected a folder of images, as Name_1.jpg, or one that holds such a folder images/."

    def _images(self, root: Path) -> list[Path]:
        folder = root / "images" if (root / "images").is_dir() else root
        images = sorted((path for path in folder.iterdir() if is_image(path)), key=lambda path: natural_key(path.name))
        if not images:
            raise DataError(f"there are no images in {folder}", hint=self.layout)
        return images

    def _person(self, image: Path) -> str:
        return re.sub(r"_\d+$", "", image.stem)

    def _listed_name(self, image: Path) -> str:
        return image.name

    def _pairs_of(self, file: Path) -> tuple[list[ListedPair], dict[str, int]]:
        """Read the file of pairs: two lines a pair as its authors wrote it, or one line a pair."""
        lines = numbered_lines(file)
        # An image and a label a line, or two images and a label.
        read = _one_line_a_pair if len(lines[0][1].split()) == 3 else _two_lines_a_pair
        rows, problems = read(file, lines)
        if problems:
            raise MalformedError(f"{file} is malformed", problems)
        return [ListedPair(*row, fold=FOLDS * place // len(rows)) for place, row in enumerate(rows)], PUBLISHED


def _one_line_a_pair(path: Path, lines: list[Line]) -> tuple[list[Row], list[str]]:
    matches = [(number, line, PAIR.fullmatch(line)) for number, line in lines]
    wanted = "two images and 0 or 1, as 'A_1.jpg B_1.jpg 0'"
    problems = [problem(path, number, wanted, line) for number, line, match in matches if match is None]
    return [((n, match[1]), (n, match[2]), match[3] == "1") for n, _, match in matches if match], problems


def _two_lines_a_pair(path: Path, lines: list[Line]) -> tuple[list[Row], list[str]]:
    """A label 0 stands for two people, any other number for one; both lines of a pair carry the same."""
    rows: list[Row] = []
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
        rows.append(((number, first[1]), (second_number, second[1]), int(first[2]) != 0))
    return rows, problems
