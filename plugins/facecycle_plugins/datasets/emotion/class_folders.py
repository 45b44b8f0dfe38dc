"""The data set `class-folders`: one folder a class, for any emotion set, split by subject."""

import re
from pathlib import Path

import numpy as np
from pydantic import Field
from sklearn.model_selection import StratifiedGroupKFold

from facecycle.api import Labelled, Track
from facecycle.api import Options as BaseOptions
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.data.images import list_images, natural_key
from facecycle.data.labels.folds import folds_by_group
from facecycle.errors import ConfigError, DataError

AUTOMATIC = r"^([A-Za-z]*\d+)_"
HINT = ", or set subject to another expression"


class ClassFolderOptions(BaseOptions):
    """Options of the data set `class-folders`."""

    path: Path
    """Folder with one sub-folder a class."""
    subject: str | None = None
    """Regular expression whose first group, in a file's name, is the subject. Left out, the part before
    the first underscore where every name starts like `S012_`, else every image is its own subject."""
    folds: int = Field(5, ge=2)
    """Folds of the cross-validation."""


class ClassFolders(FileDataset):
    """`<class>/*`; a subject's images are all in one fold."""

    facecycle_api = (1, 0)
    Options = ClassFolderOptions
    kind = "class-folders"
    task = "emotion"
    files: FrameFiles
    licence = "as the images' own terms say"

    def __init__(self, options: ClassFolderOptions) -> None:
        self.options = options
        root = options.path
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", hint="Expected one sub-folder a class.")
        found = {
            folder.name: list_images(folder)
            for folder in sorted(root.iterdir(), key=lambda p: natural_key(p.name))
            if folder.is_dir() and not folder.name.startswith(".")
        }
        classes = {name: files for name, files in found.items() if files}
        if len(classes) < 2:
            raise DataError(f"{root} holds {len(classes)} sub-folders with images; expected 2 or more, one per class")
        self.classes = tuple(classes)
        self.files = FrameFiles([file for files in classes.values() for file in files], root)
        self._targets = np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()])

    def tracks(self) -> list[Track]:
        """Every image is a track of one frame."""
        return [Track(self.name(f), self.name(f), (f,)) for f in range(len(self.files.paths))]

    def own_labels(self) -> Labelled:
        """Return all images with their class, in folds that split subjects."""
        subjects, how = self._subjects()
        splitter = StratifiedGroupKFold(self.options.folds, shuffle=True, random_state=0)
        try:
            folds = folds_by_group(splitter, self._targets, subjects, self.options.path, hint=HINT)
        except ValueError as error:
            raise DataError(
                f"{self.options.path}: no class has {self.options.folds} images, one for each fold",
                hint="Lower the option folds.",
            ) from error
        note = f"{self.options.folds} folds by subject: {len(set(subjects))} subjects, {how}"
        return Labelled(np.arange(len(subjects)), self._targets, folds, subjects, self.classes, note)

    def _subjects(self) -> tuple[np.ndarray, str]:
        names = [path.name for path in self.files.paths]
        try:
            pattern = re.compile(self.options.subject or AUTOMATIC)
        except re.error as error:
            what = f"option 'subject' = {self.options.subject!r} is no regular expression: {error}"
            raise ConfigError(what) from error
        matches = [pattern.search(name) for name in names]
        found = [m[1] if m and pattern.groups else None for m in matches]
        if None not in found:
            return np.array(found), f"from file names by {pattern.pattern}"
        if self.options.subject is not None:
            wrong = names[found.index(None)]
            raise DataError(f"the option subject = {self.options.subject!r} finds no subject in {wrong}")
        # The path, for classes may share file names.
        own = [self.name(frame) for frame in range(len(names))]
        return np.array(own), "each image taken for a subject of its own"
