"""The data set `ck-plus`: sequences from a neutral face to the peak of an emotion, with the authors' label files."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from facecycle.data.folders import images_in, natural_key
from facecycle.data.frames import FrameFiles
from facecycle.data.labels.lines import SHOWN
from facecycle.errors import DataError, MalformedError, shown
from facecycle_plugins.datasets.emotion import GroupedEmotions, GroupedOptions

CLASSES = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
NUMBER = re.compile(r"([0-7])(?:\.0*(?:[eE][+-]?0+)?)?")
LABELS, IMAGES = "Emotion", "cohn-kanade-images"
LAYOUT = (
    f"Expected {LABELS}/S005/001/S005_001_00000011_emotion.txt and {IMAGES}/S005/001/S005_001_00000001.png, as the "
    "authors' archives unpack."
)


class CkPlusOptions(GroupedOptions):
    """Options of the data set `ck-plus`."""

    path: Path
    """Folder with Emotion/ and cohn-kanade-images/."""
    peak: int = Field(3, ge=1, le=3)
    """How many of the last frames of a sequence show its emotion."""


class CkPlus(GroupedEmotions):
    """The last frames of each labelled sequence have its emotion, and its first frame is neutral.

    Source: Lucey et al. 2010, The Extended Cohn-Kanade Dataset.
    """

    Options = CkPlusOptions
    options: CkPlusOptions
    kind = "ck-plus"
    classes = CLASSES
    published = {"labelled sequences": 327}
    licence = "CK+: for research; the participants' consent limits which faces may be printed"

    def __init__(self, options: CkPlusOptions) -> None:
        self.options = options
        root = options.path
        images: list[Path] = []
        targets: list[int] = []
        problems: list[str] = []
        labelled = unlabelled = 0
        for sequence, folder in _sequences(root):
            files = sorted(folder.glob("[!.]*_emotion.txt"))
            frames = [sequence / name for name in images_in(sequence)] if sequence.is_dir() else []
            emotion = _emotion(files, folder, problems)
            if emotion is None:
                unlabelled += not files
                continue
            if len(frames) <= options.peak:
                wanted = f"more than {options.peak} images in {sequence}, as the option peak says"
                problems.append(f"{files[0]}: expected {wanted}, got {len(frames)}")
                continue
            labelled += 1
            images += [frames[0], *frames[-options.peak :]]
            targets += [0, *[emotion] * options.peak]
        if problems:
            raise MalformedError(f"{root} is malformed", problems, hint=LAYOUT)
        if not images:
            raise DataError(f"there are no labelled sequences of CK+ in {root}", hint=LAYOUT)
        self.files = FrameFiles(images, root)
        self.targets = np.array(targets)
        self.groups = np.array([image.parent.parent.name for image in images])
        self.counts = {"labelled sequences": labelled}
        peak = "the last frame" if options.peak == 1 else f"the last {options.peak} frames"
        self.note = (
            f"of each labelled sequence {peak}, with its emotion, and the first one as neutral; "
            f"{unlabelled:,} sequences without a label left out"
        )


def _sequences(root: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the folder of images and the folder of the label of each sequence, in order.

    Raises:
        DataError: there are no such folders.
    """
    # Each archive may have been unpacked into a folder of its own name.
    labels, images = (
        next((path for path in (root / name, *sorted(root.glob(f"*/{name}"))) if path.is_dir()), None)
        for name in (LABELS, IMAGES)
    )
    if labels is None or images is None:
        raise DataError(f"there is no {IMAGES if labels else LABELS} in {root}", hint=LAYOUT)
    folders = [path for path in labels.glob("[!.]*/[!.]*") if path.is_dir()]
    for folder in sorted(folders, key=lambda path: natural_key(str(path))):
        yield images / folder.relative_to(labels), folder


def _emotion(files: list[Path], folder: Path, problems: list[str]) -> int | None:
    """Return the number that a label file holds, as ` 3.0000000e+00`; None where there is none, or a wrong one."""
    if len(files) > 1:
        problems.append(f"{folder}: expected one file of a label, got {len(files)}")
    if len(files) != 1:
        return None
    try:
        text = files[0].read_bytes()[:SHOWN].decode("latin-1").strip()
    except OSError as error:
        text = error.strerror or str(error)
    match = NUMBER.fullmatch(text)
    if match is None:
        problems.append(f"{files[0]}: expected the number of an emotion, 0 to 7, got {shown(text)}")
        return None
    return int(match[1])
