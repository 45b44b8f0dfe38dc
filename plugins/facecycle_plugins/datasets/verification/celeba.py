"""The data set `celeba`: the people of CelebA's aligned images, as its identity file names them."""

import re
from pathlib import Path

from facecycle.api import Track, Verification
from facecycle.data.folders import images_in
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.data.labels.lines import missing_images, numbered_lines, problem
from facecycle.data.labels.verification import find_file, pairs_by_identity, tracks_by_person
from facecycle.errors import DataError, MalformedError
from facecycle_plugins.datasets.verification.identity_folders import IdentityFolderOptions

ROW = re.compile(r"(\S+)\s+([0-9]{1,9})")
NAMES = ("identity_CelebA.txt",)


class CelebaOptions(IdentityFolderOptions):
    """Options of the data set `celeba`."""

    path: Path
    """Folder of the images, as img_align_celeba."""
    identities: Path | None = None
    """File of rows `000001.jpg 2880`; left out, identity_CelebA.txt in the folder or beside it."""
    allow_missing: bool = False
    """Leave out images that the file names and that do not exist; otherwise they are an error."""


class Celeba(FileDataset):
    """Pairs of one person, and as many of two people, in folds that share no person. Source: Liu et al. 2015."""

    facecycle_api = (1, 0)
    Options = CelebaOptions
    kind = "celeba"
    task = "verify"
    licence = "CelebA: non-commercial research; the images, found on the web, belong to their owners"

    def __init__(self, options: CelebaOptions) -> None:
        self.options = options
        root = options.path
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", hint="Expected img_align_celeba with 000001.jpg and so on.")
        file = find_file(options.identities, root, NAMES, "identities")
        there = set(images_in(root))
        people: dict[str, list[str]] = {}
        problems, absent = [], []
        for number, line in numbered_lines(file):
            match = ROW.fullmatch(line)
            if match is None:
                problems.append(problem(file, number, "an image and a person's number, as '000001.jpg 2880'", line))
            elif match[1] in there:
                people.setdefault(match[2], []).append(match[1])
            else:
                absent.append((number, root / match[1]))
        if problems:
            raise MalformedError(f"{file} is malformed", problems)
        if absent and not options.allow_missing:
            raise missing_images(file, absent)
        if len(people) < 2 * options.folds:
            raise DataError(
                f"{file} names {len(people)} people with an image in {root}; {options.folds} folds need 2 each",
                hint="Lower the option folds.",
            )
        self._people = [who for who, names in people.items() for _ in names]
        self.files = FrameFiles([root / name for names in people.values() for name in names], root)

    def tracks(self) -> list[Track]:
        """A person's images are one track."""
        return tracks_by_person(self._people)

    def own_labels(self) -> Verification:
        """Return the pairs."""
        options = self.options
        people = [track.frames for track in self.tracks()]
        return pairs_by_identity(people, options.folds, options.seed, options.pairs, options.path)
