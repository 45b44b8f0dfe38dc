"""The data set `identity-folders`: one folder a person, for verification."""

from pathlib import Path

from pydantic import Field

from facecycle.api import Options as BaseOptions
from facecycle.api import Track, Verification
from facecycle.data.folders import SPLITS, walk
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.data.labels.verification import MOST_PAIRS, pairs_by_identity, tracks_by_person
from facecycle.errors import DataError


class IdentityFolderOptions(BaseOptions):
    """Options of the data set `identity-folders`."""

    path: Path
    """Folder with one sub-folder a person, as `s1/1.pgm`."""
    folds: int = Field(10, ge=2)
    """Folds by identity."""
    pairs: int = Field(MOST_PAIRS, ge=2)
    """Most pairs that are used, half of them of one person; more are drawn from."""
    seed: int = 0
    """Seed of the folds and of the pairs that are drawn."""


class IdentityFolders(FileDataset):
    """Pairs of one person, and as many of two people, in folds that share no person."""

    facecycle_api = (1, 0)
    Options = IdentityFolderOptions
    kind = "identity-folders"
    task = "verify"
    licence = "as the images' own terms say"

    def __init__(self, options: IdentityFolderOptions) -> None:
        self.options = options
        root = options.path
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", hint="Expected one sub-folder a person.")
        tree = walk(root)
        people, self.passed_over = tree.by_child(), tree.left_out()
        splits = [name for name in people if name.lower() in SPLITS]
        if splits:
            raise DataError(
                f"{root} holds the folder {splits[0]}, which is a split and no person",
                hint=f"Give the folder that holds one sub-folder a person, such as {root / splits[0]}.",
            )
        self._take(people, root)

    def _take(self, people: dict[str, list[Path]], root: Path) -> None:
        """Take the images of each person, by name."""
        folds = self.options.folds
        if len(people) < 2 * folds:
            raise DataError(
                f"{root} shows {len(people)} people; {folds} folds need 2 each, {2 * folds} in all",
                hint="Lower the option folds.",
            )
        self.people = people
        self.files = FrameFiles([file for files in people.values() for file in files], root)

    def tracks(self) -> list[Track]:
        """A person's images are one track."""
        return tracks_by_person([name for name, files in self.people.items() for _ in files])

    def own_labels(self) -> Verification:
        """Return the pairs."""
        options = self.options
        people = [track.frames for track in self.tracks()]
        return pairs_by_identity(people, options.folds, options.seed, options.pairs, options.path)
