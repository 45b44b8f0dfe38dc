"""The data set `fer2013`: seven emotions, 48 pixels square and grey, from a csv file or from folders."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from facecycle.api import Options as BaseOptions
from facecycle.data.folders import list_images
from facecycle.data.frames import FrameArrays, FrameFiles
from facecycle.data.labels.emotions import class_ids, emotion_of
from facecycle.data.labels.lines import numbered_lines, problem
from facecycle.errors import DataError, MalformedError
from facecycle_plugins.datasets.emotion import SplitEmotions

CLASSES = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
CLASS_IDS = class_ids(CLASSES)
LABELS = frozenset(map(str, range(len(CLASSES))))
TRAINING = "Training"
TESTED = {"private": "PrivateTest", "public": "PublicTest"}
SPLITS = (TRAINING, "PublicTest", "PrivateTest")
FOLDERS = {"train": TRAINING, "validation": "PublicTest", "test": "PrivateTest"}
COLUMNS = ("emotion", "pixels", "Usage")
SIDE = 48
LEVELS = frozenset(str(level) for level in range(256))
LAYOUTS = (
    "Expected fer2013.csv or icml_face_data.csv, with the columns emotion, pixels and Usage, "
    "or a folder with train/<class>/ and test/<class>/."
)


class Fer2013Options(BaseOptions):
    """Options of the data set `fer2013`."""

    path: Path
    """fer2013.csv, icml_face_data.csv, or a folder with train/, test/ and, where there is one, validation/."""
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
        path = options.path
        if path.is_file():
            images, emotions, splits = zip(*_read_csv(path), strict=True)
            names = [f"image {number}" for number in range(1, len(splits) + 1)]
            # Grey to RGB without a copy: the three channels are one.
            self.files = FrameArrays(torch.from_numpy(np.stack(images)).unsqueeze(1).expand(-1, 3, -1, -1), names)
        elif path.is_dir():
            paths, emotions, splits = zip(*_read_folders(path), strict=True)
            self.files = FrameFiles(paths, path)
        else:
            raise DataError(f"there is no file or folder {path}", hint=LAYOUTS)
        tested = TESTED[options.test]
        self.targets = np.array(emotions)
        self.folds = np.array([-1 if split == TRAINING else 0 if split == tested else 1 for split in splits])
        left_out = int((self.folds > 0).sum())
        self.note = f"trained on Training, tested on {tested}, {left_out:,} images of the other test split left out"


def _read_csv(path: Path) -> list[tuple[np.ndarray, int, str]]:
    """Return images uint8 (48, 48), each with its class id and its split."""
    (_, header), *rows = numbered_lines(path)
    columns = _cells(header)
    if "emotion" not in columns and "pixels" in columns:
        raise DataError(f"{path} has no column emotion: without labels it cannot be scored", hint=LAYOUTS)
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise DataError(f"{path}, line 1: the columns {', '.join(missing)} are missing", hint=LAYOUTS)
    if not rows:
        raise DataError(f"{path} holds no rows")
    places = [columns.index(name) for name in COLUMNS]
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
