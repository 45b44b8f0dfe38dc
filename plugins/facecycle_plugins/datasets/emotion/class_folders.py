"""The data set `class-folders`: one folder a class, for any emotion set, split by subject."""

import re
from pathlib import Path

import numpy as np
from pydantic import Field
from sklearn.model_selection import StratifiedGroupKFold

from facecycle.api import Labelled, Track
from facecycle.api import Options as BaseOptions
from facecycle.data.folders import SPLITS, Tree, walk
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.data.labels.folds import folds_by_group
from facecycle.errors import ConfigError, DataError

AUTOMATIC = r"^([A-Za-z]*\d+)_"
HINT = ", or set subject to another expression"
MOST_CLASSES = 50
"""More sub-folders are people or videos, and no classes: the finest set of emotions in use has 28."""
KDEF = re.compile(r"[AB][FM][0-9]{2}(AF|AN|DI|HA|NE|SA|SU)(S|HL|HR|FL|FR)")
FOLDS = {"train": -1, "test": 0}


class ClassFolderOptions(BaseOptions):
    """Options of the data set `class-folders`."""

    path: Path
    """Folder with one sub-folder a class, or with such folders below train/, test/ and val/."""
    subject: str | None = None
    """Regular expression whose first group, in a file's name, is the subject. Left out, the part before
    the first underscore where every name starts like `S012_`, else every image is its own subject."""
    folds: int = Field(5, ge=2)
    """Folds of the cross-validation, where the folders are no split."""


class ClassFolders(FileDataset):
    """`<class>/*`, with a subject's images all in one fold; or `train/<class>/*` and `test/<class>/*`."""

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
        tree = walk(root)
        self.passed_over = tree.left_out()
        children = {Path(folder).parts[0].lower() for folder in tree.folders if folder != "."}
        splits = children & SPLITS.keys()
        if splits and splits != children:
            raise DataError(
                f"{root} holds the split {min(splits)} beside {', '.join(sorted(children - splits)[:3])}",
                hint="Expected one sub-folder a class, or one a split that holds one a class.",
            )
        rows = (
            _split(tree) if splits else [(name, file, 0) for name, files in tree.by_child().items() for file in files]
        )
        self.classes = tuple(dict.fromkeys(name for name, _, _ in rows))
        self.files = FrameFiles([file for _, file, _ in rows], root)
        numbers = {name: number for number, name in enumerate(self.classes)}
        self._targets = np.array([numbers[name] for name, _, _ in rows])
        self._folds = np.array([fold for _, _, fold in rows]) if splits else None
        self._left_out = sum(map(len, tree.folders.values())) - len(rows) if splits else 0
        self._check(root)

    def tracks(self) -> list[Track]:
        """Every image is a track of one frame."""
        return [Track(self.name(f), self.name(f), (f,)) for f in range(len(self.files.paths))]

    def own_labels(self) -> Labelled:
        """Return all images with their class, in folds that split subjects."""
        subjects, how = self._subjects()
        people = f"{len(set(subjects)):,} subjects, {how}"
        if self._folds is not None:
            rest = f", {self._left_out:,} images of another split left out" if self._left_out else ""
            note = f"split as the folders say{rest}; {people}"
            frames = np.arange(len(subjects))
            return Labelled(frames, self._targets, self._folds, subjects, self.classes, note, self._counts())
        splitter = StratifiedGroupKFold(self.options.folds, shuffle=True, random_state=0)
        folds = folds_by_group(splitter, self._targets, subjects, self.options.path, hint=HINT)
        note = f"{self.options.folds} folds by subject: {people}"
        return Labelled(np.arange(len(subjects)), self._targets, folds, subjects, self.classes, note)

    def _check(self, root: Path) -> None:
        """Refuse sub-folders that cannot be classes of emotions."""
        if len(self.classes) < 2:
            count = len(self.classes)
            raise DataError(f"{root} holds {count} sub-folders with images; expected 2 or more, one per class")
        names = [path.stem for path in self.files.paths]
        if 2 * sum(bool(KDEF.fullmatch(name)) for name in names) > len(names):
            raise DataError(
                f"{root}: the images are named as KDEF's, whose folders are people and no classes",
                hint=f"Read the classes from the names: --data kdef:{root}",
            )
        if len(self.classes) > MOST_CLASSES:
            raise DataError(
                f"{root} holds {len(self.classes)} sub-folders with images, which are too many to be classes: "
                f"{', '.join(self.classes[:3])} and so on",
                hint="Give the folder that holds one sub-folder a class. Folders of people are for identity-folders.",
            )

    def _counts(self) -> dict[str, int]:
        assert self._folds is not None, "only a split is counted"
        return {"train": int((self._folds < 0).sum()), "test": int((self._folds == 0).sum())}

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


def _split(tree: Tree) -> list[tuple[str, Path, int]]:
    """Return class, file and fold of the images below folders of splits; test/ is tested, else the folder val/.

    Raises:
        DataError: images lie outside classes, or a class is tested and not trained on.
    """
    found: dict[str, list[tuple[str, Path]]] = {}
    for folder, names in tree.folders.items():
        parts = Path(folder).parts
        if len(parts) < 2:
            raise DataError(
                f"{tree.root / folder} holds images outside the folders of classes, such as {names[0]}",
                hint="Expected train/<class>/ and test/<class>/.",
            )
        found.setdefault(SPLITS[parts[0].lower()], []).extend((parts[1], tree.root / folder / name) for name in names)
    if "test" not in found and "validation" in found:
        found["test"] = found["validation"]
    unknown = {name for name, _ in found.get("test", [])} - {name for name, _ in found.get("train", [])}
    if unknown and "train" in found:
        raise DataError(f"{tree.root}: {', '.join(sorted(unknown))} is tested, and no class that is trained on")
    return [(name, file, fold) for split, fold in FOLDS.items() for name, file in found.get(split, [])]
