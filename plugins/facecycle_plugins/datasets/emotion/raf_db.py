"""The data set `raf-db`: the seven basic emotions of RAF-DB, in the split of its authors."""

import os
import re
from pathlib import Path

import numpy as np

from facecycle.api import Options as BaseOptions
from facecycle.data.folders import list_images, natural_key
from facecycle.data.frames import FrameFiles
from facecycle.data.labels.lines import missing_images, numbered_lines, problem
from facecycle.errors import DataError, MalformedError
from facecycle_plugins.datasets.emotion import SplitEmotions

CLASSES = ("Surprise", "Fear", "Disgust", "Happiness", "Sadness", "Anger", "Neutral")
FOLDS = {"train": -1, "test": 0}
LIST = "list_patition_label.txt"  # the authors' own spelling
ROW = re.compile(r"((train|test)_\w+)\.\w+\s+([1-7])")
ANY_LABEL = re.compile(r"(?:train|test)_\w+\.\w+\s+([0-9]{1,3})")
COMPOUND = frozenset(range(8, 12))
"""Labels that the list of the compound emotions has besides."""
LAYOUTS = (
    f"Expected EmoLabel/{LIST} and Image/aligned/train_00001_aligned.jpg, or {LIST} and aligned/, "
    "or the folders train/1 to train/7 and test/1 to test/7."
)

Row = tuple[Path, str, int]
"""An image, its split and its label, 1 to 7."""


class RafDbOptions(BaseOptions):
    """Options of the data set `raf-db`."""

    path: Path
    """Folder with EmoLabel/ and Image/, or with list_patition_label.txt and aligned/, or with train/ and test/."""
    allow_missing: bool = False
    """Leave out the images that the list names and that do not exist; otherwise they are an error."""


class RafDb(SplitEmotions):
    """The aligned images; the test split is tested, the other one is for training only."""

    Options = RafDbOptions
    kind = "raf-db"
    classes = CLASSES
    published = {"train": 12271, "test": 3068}
    note = "the authors' training and test splits"
    licence = "RAF-DB: for research only, not commercial; the images, found on the web, belong to their owners"

    def __init__(self, options: RafDbOptions) -> None:
        root = options.path
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", hint=LAYOUTS)
        if (root / "EmoLabel" / LIST).is_file():
            rows = _from_list(root / "EmoLabel" / LIST, root / "Image" / "aligned", options.allow_missing)
        elif (root / LIST).is_file():
            rows = _from_list(root / LIST, root / "aligned", options.allow_missing)
        else:
            rows = _from_folders(root)
        if not rows:
            raise DataError(f"there are no images of RAF-DB in {root}", hint=LAYOUTS)
        self.files = FrameFiles([path for path, _, _ in rows], root)
        self.folds = np.array([FOLDS[split] for _, split, _ in rows])
        self.targets = np.array([label - 1 for _, _, label in rows])


def _from_list(path: Path, images: Path, allow_missing: bool) -> list[Row]:
    """Read the list of labels."""
    rows: list[Row] = []
    problems: list[str] = []
    absent: list[tuple[int, Path]] = []
    seen: set[str] = set()
    lines = numbered_lines(path)
    labels = {int(match[1]) for _, line in lines if (match := ANY_LABEL.fullmatch(line))}
    if labels >= COMPOUND and max(labels) == max(COMPOUND):
        raise DataError(
            f"{path} holds labels up to 11: this seems to be the list of RAF-DB's compound emotions",
            hint="The data set raf-db reads the basic emotions, labels 1 to 7. Sort the compound ones into one "
            "folder a class, and read these as class-folders.",
        )
    for number, line in lines:
        match = ROW.fullmatch(line)
        if match is None:
            problems.append(problem(path, number, "train_ or test_ in front of a file name, and a label 1 to 7", line))
            continue
        stem, split, label = match.groups()
        if stem in seen:
            problems.append(problem(path, number, "each image once", line))
        seen.add(stem)
        image = images / f"{stem}_aligned.jpg"
        if os.path.isfile(image):  # a line may hold a longer name than a file can have
            rows.append((image, split, int(label)))
        else:
            absent.append((number, image))
    if problems:
        raise MalformedError(f"{path} is malformed", problems, hint="Expected lines such as: train_00001.jpg 5")
    if absent and not allow_missing:
        raise missing_images(path, absent)
    return rows


def _from_folders(root: Path) -> list[Row]:
    """Read the folders `train/1` to `test/7`."""
    folders = [folder for split in FOLDS for folder in (root / split).glob("[!.]*") if folder.is_dir()]
    wrong = [folder for folder in folders if folder.name not in {str(label) for label in range(1, len(CLASSES) + 1)}]
    if wrong:
        problems = [f"{folder}: expected a folder 1 to 7, got {folder.name!r}" for folder in wrong]
        raise MalformedError(f"{root} is malformed", problems, hint=LAYOUTS)
    folders.sort(key=lambda folder: natural_key(str(folder)))
    return [(image, folder.parent.name, int(folder.name)) for folder in folders for image in list_images(folder)]
