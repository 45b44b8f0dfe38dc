"""The data set `celeba`: the people of CelebA's aligned images, as its identity file names them."""

import re
from pathlib import Path

from facecycle.data.folders import images_in
from facecycle.data.labels.lines import missing_images, numbered_lines, problem
from facecycle.data.labels.verification import find_file
from facecycle.errors import DataError, MalformedError
from facecycle_plugins.datasets.verification.identity_folders import IdentityFolderOptions, IdentityFolders

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


class Celeba(IdentityFolders):
    """Pairs of one person, and as many of two people, in folds that share no person. Source: Liu et al. 2015."""

    Options = CelebaOptions
    kind = "celeba"
    licence = "CelebA: non-commercial research; the images, found on the web, belong to their owners"

    def __init__(self, options: CelebaOptions) -> None:
        self.options = options
        root = options.path
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", hint="Expected img_align_celeba with 000001.jpg and so on.")
        file = find_file(options.identities, root, NAMES, "identities")
        there = set(images_in(root))
        people: dict[str, list[Path]] = {}
        problems, absent = [], []
        for number, line in numbered_lines(file):
            match = ROW.fullmatch(line)
            if match is None:
                problems.append(problem(file, number, "an image and a person's number, as '000001.jpg 2880'", line))
            elif match[1] in there:
                people.setdefault(match[2], []).append(root / match[1])
            else:
                absent.append((number, root / match[1]))
        if problems:
            raise MalformedError(f"{file} is malformed", problems)
        if absent and not options.allow_missing:
            raise missing_images(file, absent)
        self._take(people, root)
