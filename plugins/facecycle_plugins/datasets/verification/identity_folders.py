"""The data set `identity-folders`: one folder a person, for verification."""

from pathlib import Path

from pydantic import Field

from facecycle.api import Options as BaseOptions
from facecycle.api import Track, Verification
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.data.images import list_images, natural_key
from facecycle.data.labels.verification import pairs_by_identity, tracks_by_person
from facecycle.errors import DataError


class IdentityFolderOptions(BaseOptions):
    """Options of the data set `identity-folders`."""

    path: Path
    """Folder with one sub-folder a person, as `s1/1.pgm`."""
    folds: int = Field(10, ge=2)
    """Folds by identity."""
    seed: int = 0
    """Seed of the folds and of the different pairs."""


class IdentityFolders(FileDataset):
    """All pairs of one person, and as many of two people, in folds that share no person."""

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
        folders = sorted((p for p in root.iterdir() if p.is_dir()), key=lambda p: natural_key(p.name))
        people = {folder.name: list_images(folder) for folder in folders}
        self.people = {name: files for name, files in people.items() if files}
        if len(self.people) < 2 * options.folds:
            raise DataError(
                f"{root} shows {len(self.people)} people; {options.folds} folds need 2 each, "
                f"{2 * options.folds} in all",
                hint="Lower the option folds.",
            )
        self.files = FrameFiles([file for files in self.people.values() for file in files], root)

    def tracks(self) -> list[Track]:
        """A person's images are one track."""
        return tracks_by_person([name for name, files in self.people.items() for _ in files])

    def own_labels(self) -> Verification:
        """Return the pairs."""
        pairs = pairs_by_identity([track.frames for track in self.tracks()], self.options.folds, self.options.seed)
        filled = len(set(pairs.folds.tolist()))
        if filled < self.options.folds:
            raise DataError(
                f"{self.options.path}: only {filled} of {self.options.folds} folds hold a person with two images",
                hint="A same pair needs two images of a person. Lower the option folds.",
            )
        return pairs
