"""The data set `expw`: faces of photographs that show several, cut out by their boxes."""

import os
import re
from pathlib import Path

import numpy as np

from facecycle.data.frames import FrameFiles
from facecycle.data.labels.lines import missing_images, numbered_lines, problem
from facecycle.errors import DataError, MalformedError
from facecycle_plugins.datasets.emotion import GroupedEmotions, GroupedOptions

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
LISTS, FOLDERS = ("label/label.lst", "label.lst"), ("image/origin", "origin", "image")
ROW = re.compile(r"(\S.*?)\s+[0-9]+((?:\s+-?[0-9]{1,6}){4})\s+-?[0-9.]+(?:[eE][+-]?[0-9]+)?\s+([0-6])")
LAYOUT = "Expected label/label.lst and the images in image/origin/."


class ExpwOptions(GroupedOptions):
    """Options of the data set `expw`."""

    path: Path
    """Folder with label/label.lst and image/origin/."""
    allow_missing: bool = False
    """Leave out faces whose image does not exist; otherwise they are an error."""


class Expw(GroupedEmotions):
    """Folds by photograph, because faces of one photograph are alike. Source: Zhang et al. 2018, ExpW."""

    Options = ExpwOptions
    options: ExpwOptions
    kind = "expw"
    classes = CLASSES
    published = {"faces": 91_793}
    by = "photograph"
    licence = "ExpW: non-commercial research; the images, found on the web, belong to their owners"

    def __init__(self, options: ExpwOptions) -> None:
        self.options = options
        root = options.path
        listing = next((root / name for name in LISTS if (root / name).is_file()), None)
        folder = next((root / name for name in FOLDERS if (root / name).is_dir()), None)
        if listing is None or folder is None:
            raise DataError(f"there are no faces of ExpW in {root}", hint=LAYOUT)
        rows: list[tuple[str, tuple[float, float, float, float], int]] = []
        problems: list[str] = []
        absent: list[tuple[int, object]] = []
        for number, line in numbered_lines(listing):
            match = ROW.fullmatch(line)
            top, left, right, bottom = map(float, match[2].split()) if match else (0.0, 0.0, 0.0, 0.0)
            if match is None or right <= left or bottom <= top:
                wanted = "image, face, top, left, right, bottom, confidence and an emotion, 0 to 6"
                problems.append(problem(listing, number, wanted, line))
            elif not os.path.isfile(folder / match[1]):
                absent.append((number, folder / match[1]))
            else:
                rows.append((match[1], (left, top, right, bottom), int(match[3])))
        if problems:
            raise MalformedError(f"{listing} is malformed", problems, hint=LAYOUT)
        if absent and not options.allow_missing:
            raise missing_images(listing, absent)
        if not rows:
            raise DataError(f"none of the images of {listing} exists", hint=LAYOUT)
        self.files = FrameFiles([folder / name for name, _, _ in rows], root, [box for _, box, _ in rows])
        self.groups = np.array([name for name, _, _ in rows])
        self.targets = np.array([emotion for _, _, emotion in rows])
        self.counts = {"faces": len(rows)}
        self.note = "crop: box of the face, as the list gives it"
