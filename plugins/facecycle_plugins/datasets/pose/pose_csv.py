"""The data set `pose-csv`: head pose in degrees, one image a line."""

import csv
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field
from sklearn.model_selection import GroupKFold

from facecycle.api import Labelled, Track
from facecycle.api import Options as BaseOptions
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.data.labels.folds import folds_by_group
from facecycle.data.labels.lines import missing_images, numbered_lines, problem
from facecycle.errors import DataError, MalformedError

ANGLES = ("pitch_deg", "yaw_deg", "roll_deg")
FOLDS = ("fold", "person_fold")
LARGEST_FOLD = 10**6


class PoseCsvOptions(BaseOptions):
    """Options of the data set `pose-csv`."""

    path: Path
    """File with the columns file, pitch_deg, yaw_deg, roll_deg and, if given, fold or person_fold."""
    folds: int = Field(5, ge=2)
    """Folds by person where the file names none."""
    allow_missing: bool = False
    """Leave out rows whose image does not exist; otherwise they are an error."""


class PoseCsv(FileDataset):
    """Images named relative to the file; a person is the first component in which the paths differ.

    That is the top folder of `ann/1.jpg` and `bob/1.jpg`, or of both below a common `images/`. Where all
    images lie in one folder their paths name no person, and each is taken for one of its own.
    """

    facecycle_api = (1, 0)
    Options = PoseCsvOptions
    kind = "pose-csv"
    task = "pose"
    files: FrameFiles
    licence = "as the images' own terms say"

    def __init__(self, options: PoseCsvOptions) -> None:
        self.options = options
        names, poses, folds, self._absent = _read(options.path, options.allow_missing)
        self._poses = np.array(poses)
        self._folds = np.array(folds) if folds else None
        self.files = FrameFiles([options.path.parent / name for name in names], options.path.parent)
        self._groups = np.array(_people(self.files.paths))

    def tracks(self) -> list[Track]:
        """Every image is a track of one frame."""
        return [Track(self.files.name(f), g, (f,)) for f, g in enumerate(self._groups.tolist())]

    def own_labels(self) -> Labelled:
        """Return all images with pitch, yaw and roll in degrees."""
        people = len(set(self._groups.tolist()))
        folds, how = self._folds, "folds as the file gives them"
        if folds is None:
            splitter = GroupKFold(self.options.folds)
            folds = folds_by_group(splitter, self._poses, self._groups, self.options.path)
            how = f"{self.options.folds} folds by person"
        known = f"{people} people" if people < len(folds) else "each image taken for a person of its own"
        again = len(self.files.paths) - len(set(self.files.paths))
        repeated = f"; {again} rows name an image that another row names" if again else ""
        lacking = f"; {self._absent} of the file's rows left out for want of their image" if self._absent else ""
        note = f"{how}: {known}{repeated}{lacking}; angles as accurate as the file they come from"
        return Labelled(np.arange(len(folds)), self._poses, folds, self._groups, note=note)


def _people(paths: Sequence[Path]) -> list[str]:
    whole = [os.path.abspath(path) for path in paths]
    shared = os.path.commonpath([os.path.dirname(path) for path in whole])
    return [Path(path).relative_to(shared).parts[0] for path in whole]


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row's line and its cells."""
    lines = numbered_lines(path)
    rows = csv.reader((text for _, text in lines), skipinitialspace=True)
    try:
        for cells in rows:
            yield lines[rows.line_num - 1][0], [cell.strip() for cell in cells]
    except csv.Error as error:
        raise DataError(f"{path}, line {lines[rows.line_num - 1][0]}: {error}") from error


def _read(path: Path, allow_missing: bool) -> tuple[list[str], list[list[float]], list[int], int]:
    """Return file names, poses, folds (empty where there is no such column) and how many rows lack their image."""
    (_, columns), *rows = _rows(path)
    missing = [name for name in ("file", *ANGLES) if name not in columns]
    if missing:
        raise DataError(
            f"{path}, line 1: the columns {', '.join(missing)} are missing",
            hint="Expected: file,pitch_deg,yaw_deg,roll_deg[,fold]",
        )
    fold_column = next((name for name in FOLDS if name in columns), None)
    wanted = f"three angles in degrees{' and a fold number' if fold_column else ''}"
    names, poses, folds = [], [], []
    problems: list[str] = []
    absent: list[tuple[int, object]] = []
    for number, row in rows:
        cells = dict(zip(columns, row, strict=False))
        try:
            name, pose = cells["file"], [float(cells[angle]) for angle in ANGLES]
            fold = int(cells[fold_column]) if fold_column else 0
            if abs(fold) > LARGEST_FOLD:
                raise ValueError
        except (KeyError, ValueError):
            problems.append(problem(path, number, wanted, ", ".join(row)))
            continue
        if not all(math.isfinite(angle) and abs(angle) <= 360 for angle in pose):
            problems.append(f"{path}, line {number}: angles must be finite degrees, got {pose}")
        elif not name:
            problems.append(f"{path}, line {number}: the file name is empty")
        elif not os.path.isfile(path.parent / name):  # a cell may hold a longer name than a file can have
            absent.append((number, path.parent / name))
        else:
            names.append(name)
            poses.append(pose)
            folds += [fold] if fold_column else []
    if problems:
        raise MalformedError(f"{path} holds rows that cannot be used", problems)
    if absent and not allow_missing:
        raise missing_images(path, absent)
    if not names:
        raise DataError(f"{path} holds no rows" if not absent else f"none of the {len(absent)} images of {path} exists")
    return names, poses, folds, len(absent)
