"""The data sets `tracks` and `voxceleb`: directories of frames, one person in one take each, and folders of stills."""

import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from facecycle.api import Options as BaseOptions
from facecycle.api import Track
from facecycle.data.folders import SPLITS, Tree, formats_read, images_in, walk
from facecycle.data.frames import FileDataset, FrameFiles, Paths
from facecycle.data.video import is_video
from facecycle.errors import DataError, OnlyVideos

WRAPPERS = SPLITS.keys() | {"unzippedfaces", "mp4", "frames", "images", "img"}
"""Folders of archives that say nothing of whom their tracks show."""
LARGEST = 300
"""Images of one folder above which it must look like a track to be taken for one."""


class TrackOptions(BaseOptions):
    """Options of the data set `tracks`."""

    path: Path
    """Directory tree, flat folder of stills, or a text file with one track directory a line."""
    min_frames: int = Field(2, ge=1)
    """Shorter tracks are left out; the paper used 4. Stills are tracks of one frame each."""
    stills: bool | None = None
    """True takes every image for a track of its own, false every directory for a track. Left out, a flat folder
    holds stills, other directories are tracks, and a large one that looks like a heap of stills is refused."""


class TrackDataset(FileDataset):
    """Any directory that directly holds images is a track; its path below the root is its name.

    Covers VoxCeleb's `<id>/1.6/<video>/<track>/*.jpg` and `<id>/<video>/<track>/*.jpg`. A path whose
    images lie directly in it, with no image deeper down, is a folder of stills.
    """

    facecycle_api = (1, 0)
    Options = TrackOptions
    kind = "tracks"
    licence = "as the images' own terms say"

    def __init__(self, options: TrackOptions) -> None:
        root = options.path
        if not root.exists():
            raise DataError(f"there is no folder or list file {root}")
        tree = _from_list(root) if root.is_file() else walk(root, indexed=True)
        if not tree.folders:
            raise _without_images(tree)
        self.passed_over = tree.left_out()
        if tree.videos:
            self.passed_over += f". Crop the faces of all to images first: facecycle data crop {root} -o crops/"
        stills = options.stills
        if stills is None:
            stills = not root.is_file() and list(tree.folders) == ["."]
            if not stills:
                _refuse_heaps(tree)
        paths = Paths()
        self._tracks: list[Track] = []
        for name, files in tree.folders.items():
            frames = range(len(paths), len(paths) + len(files))
            if stills:
                names = [os.path.normpath(os.path.join(name, file)) for file in files]
                self._tracks += [Track(each, each, (frame,)) for each, frame in zip(names, frames, strict=True)]
            elif len(files) >= options.min_frames:
                self._tracks.append(Track(name, identity(name), frames))
            else:
                continue
            paths.add(tree.root / name, files)
        if not self._tracks:
            raise DataError(
                f"no directory below {root} holds {options.min_frames} images or more",
                hint=f"Take shorter tracks: --option min_frames={max(map(len, tree.folders.values()))}.",
            )
        self.files = FrameFiles(paths, tree.root)

    def tracks(self) -> list[Track]:
        """Return every track, in natural order."""
        return self._tracks


class VoxCelebOptions(TrackOptions):
    """Options of the data set `voxceleb`."""

    min_frames: int = Field(4, ge=1)
    """Shorter tracks are left out; 4 as in the paper."""


class VoxCeleb(TrackDataset):
    """Frames of VoxCeleb's videos: `tracks` with the paper's shortest track."""

    Options = VoxCelebOptions
    kind = "voxceleb"
    licence = "VoxCeleb: for research; the copyright of the videos stays with their owners"


def identity(name: str) -> str:
    """Return whom a track shows.

    That is the first part of its name like `id123` or `id123#clip`, else the first that is no wrapper of an archive.
    """
    parts = Path(name).parts
    numbered = [found[0] for part in parts if (found := re.match(r"id\d+(?=#|$)", part))]
    return next(iter([*numbered, *(part for part in parts if part.lower() not in WRAPPERS)]), name)


def _refuse_heaps(tree: Tree) -> None:
    """Refuse large folders that look like many people's stills: their pairs would show two people as one.

    Raises:
        DataError: names the folder, why it cannot be a track, and what to give instead.
    """
    for name, files in tree.folders.items():
        if len(files) <= LARGEST:
            continue
        if len(tree.folders) == 1:
            why, instead = "it is the only folder with images", f"Give that folder itself: {tree.root / name}"
        elif all(part.lower() in WRAPPERS for part in Path(name).parts):
            why, instead = "its name stands for a part of a data set", f"Give that folder itself: {tree.root / name}"
        elif 2 * sum(bool(re.search(r"\d$", Path(file).stem)) for file in files) < len(files):
            why, instead = "its images have no order in time", "Add --option stills=true"
        elif _numbered_through(tree.folders):
            why, instead = (
                "its images are numbered on from those of the folder before it",
                "Add --option stills=true",
            )
        else:
            continue
        raise DataError(
            f"{tree.root / name} holds {len(files):,} images, and {why}: as a track it would show one person",
            hint=f"If each image shows somebody else: {instead[0].lower()}{instead[1:]}. "
            "If it is a track all the same, add --option stills=false.",
        )


def _numbered_through(folders: Mapping[str, list[str]]) -> bool:
    """Tell whether each folder's images are numbered on from the folder before, as a data set in parts is."""
    numbers = [[Path(file).stem for file in files] for files in folders.values()]
    if not all(stem.isascii() and stem.isdigit() for stems in numbers for stem in stems):
        return False
    ends = [(int(stems[0]), int(stems[-1])) for stems in numbers]
    return all(last + 1 == first for (_, last), (first, _) in itertools.pairwise(ends))


def _without_images(tree: Tree) -> DataError:
    """Return the error for a tree without images; one of videos is told how to become frames."""
    if tree.videos:
        return OnlyVideos(
            f"{tree.root} holds videos ({tree.videos:,}) and no images, and its frames are read from images alone",
            tree.root,
            hint=f"Crop their faces to tracks of images first: facecycle data crop {tree.root} -o crops/",
        )
    return DataError(f"there are no images below {tree.root}", hint=f"{formats_read()} {tree.left_out()}".strip())


def _from_list(file: Path) -> Tree:
    """Read a list of track directories, relative to the list's folder, one per line.

    Raises:
        DataError: it is no text, or names a directory that does not exist.
    """
    if is_video(file):
        raise OnlyVideos(
            f"{file} is a video, and its frames are read from images alone",
            file,
            hint=f"Crop its face to a track of images first: facecycle data crop {file} -o crops/",
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file} is not a list of track directories: {error}",
            hint="Expected a folder, or a text file with one directory a line.",
        ) from error
    folders: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        folder = file.parent / name
        if not os.path.isdir(folder):  # a line may hold a longer name than a folder can have
            raise DataError(f"{file}, line {number}: there is no directory {folder}")
        images = images_in(folder)
        if images:
            folders[os.path.normpath(name)] = images
    if all(not os.path.isabs(name) and not name.startswith("..") for name in folders):
        return Tree(file.parent, folders, {})
    # Directories elsewhere: `/` or `..` would be everybody's identity, so names start where the paths part.
    whole = {os.path.abspath(file.parent / name): images for name, images in folders.items()}
    base = os.path.commonpath([os.path.dirname(folder) for folder in whole])
    return Tree(Path(base), {os.path.relpath(folder, base): images for folder, images in whole.items()}, {})
