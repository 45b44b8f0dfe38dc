"""The data set `affectnet`: eight emotions, from one .npy file an image, or from the lists of manual annotations."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from facecycle.api import Options as BaseOptions
from facecycle.data.folders import natural_key
from facecycle.data.frames import FrameFiles
from facecycle.data.labels.lines import missing_images, numbered_lines, problem
from facecycle.errors import DataError, MalformedError
from facecycle_plugins.datasets.emotion import SplitEmotions

CLASSES = ("Neutral", "Happy", "Sad", "Surprise", "Fear", "Disgust", "Anger", "Contempt")
OTHERS = ("None", "Uncertain", "No-Face")
"""What the numbers after those of the classes stand for."""
PUBLISHED = {8: {"train": 287_651, "test": 4_000}, 7: {"train": 283_901, "test": 3_500}}
FOLDS = {"train_set": -1, "val_set": 0}
LISTS = {"training.csv": -1, "validation.csv": 0}
COLUMNS = ("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression")
USED = (0, 1, 2, 3, 4, 6)
IMAGES = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated")
PARTS = (("images", ".jpg"), ("annotations", "_exp.npy"))
LARGEST = 4096
NPY = re.compile(
    rb"\x93NUMPY.{4,6}\{'descr': '([<>|])([SUiu])[0-9]+', 'fortran_order': \w+, 'shape': \(1?,?\), ?\} *\n(.*)",
    re.DOTALL,
)
"""A file of one value: byte order and kind, and the value's bytes. NumPy's own reader takes four times as long."""
LAYOUTS = (
    "Expected train_set/images/1.jpg with train_set/annotations/1_exp.npy, and val_set/; or the lists training.csv and "
    "validation.csv, in Manually_Annotated_file_lists/ or beside it, and Manually_Annotated_Images/."
)


class AffectnetOptions(BaseOptions):
    """Options of the data set `affectnet`."""

    path: Path
    """Folder with train_set/ and val_set/, or with Manually_Annotated_file_lists/ and Manually_Annotated_Images/."""
    classes: Literal[7, 8] = 8
    """7 leaves Contempt out, as much of the literature does."""
    allow_missing: bool = False
    """Leave out images without an annotation, and the reverse; otherwise they are an error."""


@dataclass
class _Found:
    """What was read: image, fold, number of the expression and, from lists, the face's box; and what is wrong."""

    rows: list[tuple[Path, int, int, tuple[float, float, float, float] | None]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    repeated: int = 0


class Affectnet(SplitEmotions):
    """Trained on the training set, tested on the validation set, because the test set is not published.

    Source: Mollahosseini et al. 2017.
    """

    Options = AffectnetOptions
    kind = "affectnet"
    licence = "AffectNet: non-commercial research; the images, found on the web, belong to their owners"

    def __init__(self, options: AffectnetOptions) -> None:
        root = options.path
        found = _Found()
        if any((root / name / "annotations").is_dir() for name in FOLDS):
            _read_folders(root, found, options.allow_missing)
        else:
            _read_lists(root, found, options.allow_missing)
        if found.problems:
            raise MalformedError(f"{root} is malformed", found.problems, hint=LAYOUTS)
        kept = [row for row in found.rows if row[2] < options.classes]
        if not kept:
            raise DataError(f"there are no images of AffectNet in {root}", hint=LAYOUTS)
        boxes = [box for *_, box in kept if box is not None]
        self.files = FrameFiles([image for image, *_ in kept], root, boxes or None)
        self.folds, self.targets = (np.array([row[place] for row in kept]) for place in (1, 2))
        self.classes, self.published = CLASSES[: options.classes], PUBLISHED[options.classes]
        names = (*CLASSES, *OTHERS)
        counted = Counter(names[number] for _, _, number, _ in found.rows if number >= options.classes)
        left_out = ", ".join(f"{count:,} {name}" for name, count in counted.items()) or "none"
        again = f"; {found.repeated:,} rows that name an image again left out" if found.repeated else ""
        crop = "box of the face, as the lists give it" if boxes else "images as they are"
        self.note = f"trained on the training set, tested on the validation set; images left out: {left_out}{again}"
        self.note += f"; crop: {crop}"


def _read_folders(root: Path, found: _Found, allow_missing: bool) -> None:
    """Read `train_set` and `val_set`."""
    for name, fold in FOLDS.items():
        images, annotations = (_stems(root / name / part, end) for part, end in PARTS)
        for stem in sorted(images ^ annotations if not allow_missing else (), key=natural_key):
            there, missing = ("images", "annotations") if stem in images else ("annotations", "images")
            ends = {part: f"{root / name / part / stem}{end}" for part, end in PARTS}
            found.problems.append(f"{ends[there]}: expected {ends[missing]} too, got none")
        for stem in sorted(images & annotations, key=natural_key):
            file = root / name / "annotations" / f"{stem}_exp.npy"
            number = _expression(file)
            if number is None:
                found.problems.append(f"{file}: expected the number of an expression, 0 to 10, got something else")
            else:
                found.rows.append((root / name / "images" / f"{stem}.jpg", fold, number, None))


def _stems(folder: Path, end: str) -> set[str]:
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".")]
    return {name.removesuffix(end) for name in names if name.endswith(end)}


def _expression(file: Path) -> int | None:
    """Return the number in a .npy file, which holds it as text or as an integer; None where there is none."""
    try:
        with file.open("rb") as stream:
            match = NPY.fullmatch(stream.read(LARGEST))
    except OSError:
        return None
    if match is None:
        return None
    big, kind, value = match[1] == b">", match[2], match[3]
    if kind in b"iu":
        return _number(str(int.from_bytes(value, "big" if big else "little", signed=kind == b"i")))
    encoding = "latin-1" if kind == b"S" else "utf-32-be" if big else "utf-32-le"
    return _number(value.decode(encoding, "replace").rstrip("\0").strip())


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,2}", text) and int(text) < len(CLASSES) + len(OTHERS) else None


def _read_lists(root: Path, found: _Found, allow_missing: bool) -> None:
    """Read `training.csv` and `validation.csv`; the latter is published without a line of names."""
    folders = [root / name for name in IMAGES if (root / name).is_dir()]
    lists = [(root / "Manually_Annotated_file_lists" / name, fold) for name, fold in LISTS.items()]
    lists += [(root / name, fold) for name, fold in LISTS.items()]
    lists = [(file, fold) for file, fold in lists if file.is_file()]
    if not lists or not folders:
        raise DataError(f"there are no images of AffectNet in {root}", hint=LAYOUTS)
    seen: set[str] = set()
    for file, fold in lists:
        absent: list[tuple[int, object]] = []
        for number, line, cells in _rows(file):
            expression, box = _number(cells[5]) if len(cells) == len(USED) else None, None
            if expression is not None:
                box = _box(cells[1:5]) if expression < len(CLASSES) else (0.0, 0.0, 1.0, 1.0)
            if expression is None or box is None:
                wanted = "an image, its face's left, top, width and height, and an expression, 0 to 10"
                found.problems.append(problem(file, number, wanted, line))
            elif cells[0] in seen:
                found.repeated += 1
            elif expression < len(CLASSES) and not os.path.isfile(folders[0] / cells[0]):
                absent.append((number, folders[0] / cells[0]))
            else:
                found.rows.append((folders[0] / cells[0], fold, expression, box))
            seen.add(cells[0])
        if absent and not allow_missing and not found.problems:
            raise missing_images(file, absent)


def _rows(file: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Yield number and text of each row, and its cells of the columns that are used."""
    lines = numbered_lines(file)
    header = [cell.strip().lower() for cell in lines[0][1].split(",")]
    places = list(USED)
    if header[0] == COLUMNS[0].lower():
        missing = [COLUMNS[place] for place in USED if COLUMNS[place].lower() not in header]
        if missing:
            raise DataError(f"{file}, line 1: no column {', '.join(missing)}", hint=LAYOUTS)
        places, lines = [header.index(COLUMNS[place].lower()) for place in USED], lines[1:]
    for number, line in lines:
        cells = line.split(",")
        yield number, line, [cells[place].strip() for place in places] if len(cells) > max(places) else cells[:1]


def _box(cells: list[str]) -> tuple[float, float, float, float] | None:
    """Return left, top, right, bottom; None where the four are no numbers that span a box."""
    if not all(re.fullmatch(r"-?[0-9]{1,6}(\.[0-9]{1,20})?", cell) for cell in cells):
        return None
    left, top, width, height = map(float, cells)
    return (left, top, left + width, top + height) if width > 0 and height > 0 else None
