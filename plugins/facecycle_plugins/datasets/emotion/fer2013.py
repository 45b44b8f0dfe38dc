"""The data set `fer2013`: seven emotions, 48 pixels square and grey, from a csv file or from folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from facecycle.api import Options as BaseOptions
from facecycle.data.folders import list_images
from facecycle.data.frames import FrameArrays, FrameFiles
from facecycle.data.labels.emotions import class_ids, emotion_of
from facecycle.data.labels.lines import SHOWN, numbered_lines, problem
from facecycle.errors import DataError, MalformedError, shown
from facecycle_plugins.datasets.emotion import SplitEmotions

CLASSES = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
CLASS_IDS = class_ids(CLASSES)
LABELS = frozenset(map(str, range(len(CLASSES))))
TRAINING = "Training"
TESTED = {"private": "PrivateTest", "public": "PublicTest"}
SPLITS = (TRAINING, "PublicTest", "PrivateTest")
FOLDERS = {"train": TRAINING, "validation": "PublicTest", "test": "PrivateTest"}
COLUMNS = ("emotion", "pixels", "Usage")
FILES = ("fer2013.csv", "icml_face_data.csv")
SIDE = 48
LEVELS = frozenset(str(level) for level in range(256))
LAYOUTS = (
    "Expected fer2013.csv or icml_face_data.csv, with the columns emotion, pixels and Usage, or a folder that "
    "holds one, or a folder with train/<class>/ and test/<class>/."
)


class Fer2013Options(BaseOptions):
    """Options of the data set `fer2013`."""

    path: Path
    """fer2013.csv, icml_face_data.csv, the folder that holds one, or a folder with train/, test/ and, where there is
    one, validation/."""
    test: Literal["private", "public"] = "private"
    """Which test split is tested, PrivateTest (the folder test/) or PublicTest (the folder validation/); the
    other one is left out."""


class Fer2013(SplitEmotions):
    """Trained on the split Training, tested on one of the two test splits."""

    Options = Fer2013Options
    kind = "fer2013"
    classes = CLASSES
    published = {"train": 28709, "test": 3589}
    licence = "as the terms of its Kaggle challenge say; the images, found on the web, belong to their owners"

    def __init__(self, options: Fer2013Options) -> None:
        path = find_csv(options.path)
        if path.is_file():
            self.files, emotions, splits = read_csv(path)
        elif path.is_dir():
            rows = _read_folders(path)
            emotions, splits = [emotion for _, emotion, _ in rows], [split for _, _, split in rows]
            self.files = FrameFiles([image for image, _, _ in rows], path)
        else:
            raise DataError(f"there is no file or folder {path}", hint=LAYOUTS)
        self.targets = np.array(emotions)
        self.folds, self.note = folds_of(splits, options.test)


def find_csv(path: Path, names: Sequence[str] = FILES) -> Path:
    """Return the csv file in a folder that holds one, and no folders of splits; else the path itself."""
    if not path.is_dir() or any((path / name).is_dir() for name in FOLDERS):
        return path
    found = [file for name in names for file in (path / name, *sorted(path.glob(f"*/{name}"))) if file.is_file()]
    return found[0] if found else path


def folds_of(splits: Sequence[str], test: str) -> tuple[np.ndarray, str]:
    """Return the fold (n,) of each image, 1 for the test split that is left out, and what is done in words."""
    tested = TESTED[test]
    folds = np.array([-1 if split == TRAINING else 0 if split == tested else 1 for split in splits])
    left_out = int((folds > 0).sum())
    return folds, f"trained on Training, tested on {tested}, {left_out:,} images of the other test split left out"


def read_csv(path: Path) -> tuple[FrameArrays, list[int], list[str]]:
    """Return the images, and the class id and the split of each.

    Raises:
        DataError: a column is missing.
        MalformedError: a row cannot be used.
    """
    (_, header), *rows = numbered_lines(path)
    columns = [name.lower() for name in _cells(header)]
    missing = [name for name in COLUMNS if name.lower() not in columns]
    if missing == ["emotion"]:
        raise DataError(f"{path} has no column emotion: without labels it cannot be scored", hint=LAYOUTS)
    if missing:
        there = shown(header, SHOWN)
        raise DataError(f"{path}, line 1: no column {', '.join(missing)} among {there}", hint=LAYOUTS)
    if not rows:
        raise DataError(f"{path} holds no rows")
    samples = _samples(path, rows, columns)
    # Grey to RGB without a copy: the three channels are one.
    pixels = torch.from_numpy(np.stack([image for image, _, _ in samples])).unsqueeze(1).expand(-1, 3, -1, -1)
    names = [f"image {number}" for number in range(1, len(samples) + 1)]
    return FrameArrays(pixels, names), [emotion for _, emotion, _ in samples], [split for _, _, split in samples]


def _samples(path: Path, rows: list[tuple[int, str]], columns: list[str]) -> list[tuple[np.ndarray, int, str]]:
    """Return the image uint8 (48, 48), class id and split of each row."""
    places = [columns.index(name.lower()) for name in COLUMNS]
    samples, problems = [], []
    for number, line in rows:
        cells = _cells(line)
        if len(cells) != len(columns):
            problems.append(problem(path, number, f"{len(columns)} columns", f"{len(cells)} columns"))
            continue
        emotion, pixels, split = (cells[place] for place in places)
        image = _image(pixels)
        if emotion not in LABELS:
            problems.append(problem(path, number, "an emotion from 0 to 6", emotion))
        elif split not in SPLITS:
            problems.append(problem(path, number, f"the usage {', '.join(SPLITS)}", split))
        elif image is None:
            wanted = f"{SIDE * SIDE:,} pixels, integers from 0 to 255"
            problems.append(problem(path, number, wanted, _fault(pixels)))
        else:
            samples.append((image, int(emotion), split))
    if problems:
        raise MalformedError(f"{path} is malformed", problems)
    return samples


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(",")]


def _image(text: str) -> np.ndarray | None:
    """Parse the pixels of one image; None where they are not 48 x 48 integers from 0 to 255."""
    digits = text.replace(" ", "")
    if not (digits.isascii() and digits.isdecimal()):
        return None
    # Five times faster than int() on each, which counts: a file has 83 million of them.
    values = np.fromstring(text, dtype=np.int64, sep=" ")
    if len(values) != SIDE * SIDE or values.max() > 255:
        return None
    return values.astype(np.uint8).reshape(SIDE, SIDE)


def _fault(text: str) -> str:
    """Return the first pixel that is none, or how many there are."""
    values = text.split()
    return next((value for value in values if value not in LEVELS), f"{len(values):,} pixels")


def _read_folders(root: Path) -> list[tuple[Path, int, str]]:
    """Return images, each with its class id and its split; classes go by name, because other ids circulate."""
    samples: list[tuple[Path, int, str]] = []
    problems = []
    for name, split in FOLDERS.items():
        for folder in sorted(path for path in (root / name).glob("[!.]*") if path.is_dir()):
            emotion = CLASS_IDS.get(emotion_of(folder.name))
            if emotion is None:
                problems.append(f"{folder}: expected one of the classes {', '.join(CLASSES)}, got {folder.name!r}")
                continue
            samples += [(image, emotion, split) for image in list_images(folder)]
    if problems:
        raise MalformedError(f"{root} is malformed", problems)
    if not samples:
        raise DataError(f"there are no images of FER-2013 in {root}", hint=LAYOUTS)
    return samples
