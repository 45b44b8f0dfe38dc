"""The data set `ferplus`: the images of FER-2013 with the votes of ten people on each, of which the majority counts."""

from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np

from facecycle.api import Options as BaseOptions
from facecycle.data.labels.lines import SHOWN, numbered_lines, problem
from facecycle.data.labels.verification import find_file
from facecycle.errors import DataError, MalformedError, shown
from facecycle_plugins.datasets.emotion import SplitEmotions
from facecycle_plugins.datasets.emotion.fer2013 import find_csv, folds_of, read_csv

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
VOTES = (*CLASSES, "unknown", "NF")
COLUMNS = ("Usage", "Image name", *VOTES)
REASONS = {
    "unknown": "voted unknown",
    "NF": "voted no face",
    "": "without a majority",
    "-": "that their authors removed",
}
LAYOUT = "Expected fer2013.csv of FER-2013 and, beside it, fer2013new.csv of FERPlus."
LEFT_OUT = 1


class FerPlusOptions(BaseOptions):
    """Options of the data set `ferplus`."""

    path: Path
    """fer2013.csv, or the folder that holds it."""
    votes: Path | None = None
    """File of the votes, a row for each of fer2013.csv; left out, fer2013new.csv in the folder or beside it."""
    test: Literal["private", "public"] = "private"
    """Which test split is tested; the other one is left out."""


class FerPlus(SplitEmotions):
    """Eight emotions by majority.

    A vote that is alone is ignored, and an emotion needs more than half of the other votes. Images without such an
    emotion are left out, and so are those that are unknown or no face by that rule. Source: Barsoum et al. 2016, and
    their code, `ferplus.py`, mode `majority`.
    """

    Options = FerPlusOptions
    kind = "ferplus"
    classes = CLASSES
    licence = "as the terms of FER-2013's Kaggle challenge say; the images, found on the web, belong to their owners"

    def __init__(self, options: FerPlusOptions) -> None:
        images = find_csv(options.path, ("fer2013.csv",))  # whether the other file has one order with it is not known
        if not images.is_file():
            raise DataError(f"there is no fer2013.csv in {options.path}", hint=LAYOUT)
        votes = find_file(options.votes, images.parent, ("fer2013new.csv",), "votes")
        self.files, _, splits = read_csv(images)
        voted = _majorities(votes, splits)
        self.targets = np.array([CLASSES.index(emotion) if emotion in CLASSES else 0 for emotion in voted])
        self.folds, how = folds_of(splits, options.test)
        self.folds[[emotion not in CLASSES for emotion in voted]] = LEFT_OUT
        counted = Counter(REASONS[emotion] for emotion in voted if emotion not in CLASSES)
        left_out = ", ".join(f"{count:,} {why}" for why, count in counted.items()) or "none"
        self.note = f"{how}; majority of the votes, those that are alone ignored; images left out: {left_out}"


def _majorities(path: Path, splits: list[str]) -> list[str]:
    """Return what the majority voted for each image: a name of `VOTES`, or another key of `REASONS`.

    Raises:
        DataError: the rows are not those of fer2013.csv.
    """
    (_, header), *rows = numbered_lines(path)
    columns = [cell.strip().lower() for cell in header.split(",")]
    missing = [name for name in COLUMNS if name.lower() not in columns]
    if missing:
        raise DataError(f"{path}, line 1: no column {', '.join(missing)} among {shown(header, SHOWN)}", hint=LAYOUT)
    if len(rows) != len(splits):
        raise DataError(
            f"{path} holds {len(rows):,} rows for the {len(splits):,} images of FER-2013: both are to have one row an "
            "image, in one order",
            hint=LAYOUT,
        )
    usage, name, *places = (columns.index(column.lower()) for column in COLUMNS)
    voted, problems = [], []
    for (number, line), split in zip(rows, splits, strict=True):
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(columns):
            problems.append(problem(path, number, f"{len(columns)} columns", line))
            continue
        votes = [cells[place] for place in places]
        if cells[usage] != split:
            problems.append(problem(path, number, f"the usage {split}, as of this row's image", cells[usage]))
        elif not all(vote.isascii() and vote.isdecimal() and len(vote) < 4 for vote in votes):
            problems.append(problem(path, number, f"{len(VOTES)} numbers of votes", line))
        else:
            voted.append(_majority([int(vote) for vote in votes]) if cells[name] else "-")
    if problems:
        raise MalformedError(f"{path} is malformed", problems, hint=LAYOUT)
    return voted


def _majority(votes: list[int]) -> str:
    """Return the name of `VOTES` that has more than half of the votes that are not alone; '' where none has."""
    counted = [vote if vote > 1 else 0 for vote in votes]
    most = max(counted)
    return VOTES[counted.index(most)] if 2 * most > sum(counted) else ""
