"""The data sets `tracks` and `voxceleb`: directories of frames, one person in one take each, and folders of stills."""

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from pydantic import Field

from facecycle.api import Options as BaseOptions
from facecycle.api import Track
from facecycle.atomic import write_text
from facecycle.cache import index_file
from facecycle.data.frames import FileDataset, FrameFiles, Paths
from facecycle.data.images import is_image, natural_key
from facecycle.errors import DataError, RunError


class TrackOptions(BaseOptions):
    """Options of the data set `tracks`."""

    path: Path
    """Directory tree, flat folder of stills, or a text file with one track directory a line."""
    min_frames: int = Field(2, ge=1)
    """Shorter tracks are left out; the paper used 4. A folder of stills has tracks of one frame each."""


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
        base, folders = _from_list(root) if root.is_file() else (root, _index(root))
        if not folders:
            hint = "Expected directories that hold .jpg or .png files."
            raise DataError(f"there are no images below {root}", hint=hint)
        stills = not root.is_file() and list(folders) == ["."]
        paths = Paths()
        self._tracks: list[Track] = []
        for name, files in folders.items():
            frames = range(len(paths), len(paths) + len(files))
            if stills:
                self._tracks += [Track(file, file, (frame,)) for file, frame in zip(files, frames, strict=True)]
            elif len(files) >= options.min_frames:
                self._tracks.append(Track(name, identity(name), frames))
            else:
                continue
            paths.add(base / name, files)
        if not self._tracks:
            raise DataError(
                f"no directory below {root} holds {options.min_frames} images or more",
                hint="Lower the option min_frames.",
            )
        self.files = FrameFiles(paths, base)

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
    """Return whom a track shows: the first part of its name like `id123`, else the first part."""
    parts = Path(name).parts
    return next((part for part in parts if re.fullmatch(r"id\d+", part)), parts[0] if parts else name)


def _from_list(file: Path) -> tuple[Path, dict[str, list[str]]]:
    """Read a list of track directories, relative to the list's folder, one a line.

    Returns:
        The folder that the tracks' names are relative to, and the images of each track.
    """
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
        images = sorted((p.name for p in folder.iterdir() if is_image(p)), key=natural_key)
        if images:
            folders[os.path.normpath(name)] = images
    if all(not os.path.isabs(name) and not name.startswith("..") for name in folders):
        return file.parent, folders
    # Directories elsewhere: `/` or `..` would be everybody's identity, so names start where the paths part.
    whole = {os.path.abspath(file.parent / name): images for name, images in folders.items()}
    base = os.path.commonpath([os.path.dirname(folder) for folder in whole])
    return Path(base), {os.path.relpath(folder, base): images for folder, images in whole.items()}


def _index(root: Path) -> dict[str, list[str]]:
    """Return the images of every directory below a root; a directory is read again only when it changed.

    A directory's time of change moves when a file in it comes or goes, so one stat a directory tells.
    """
    cache = index_file("tracks", root)
    before = _cached(cache)
    after: dict[str, Any] = {}
    pending = ["."]
    while pending:
        name = pending.pop()
        folder = root / name
        try:
            changed = folder.stat().st_mtime_ns
            known = before.get(name)
            if known is None or known[0] != changed:
                known = [changed, *_list(folder)]
        except OSError:
            continue  # it vanished, or may not be read: nothing of it can be trained on
        after[name] = known
        pending += [os.path.normpath(os.path.join(name, child)) for child in known[1]]
    if after != before:
        # Without a cache the next start reads the tree again; nothing else is lost.
        with contextlib.suppress(RunError):
            write_text(cache, json.dumps({"directories": after}))
    found = {name: known[2] for name, known in after.items() if known[2]}
    return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))


def _cached(cache: Path) -> dict[str, Any]:
    """Return the index file's directories: name to time of change, sub-folders, images; {} if it is unusable."""
    try:
        directories = json.loads(cache.read_text())["directories"]
        usable = all(
            isinstance(changed, int) and all(_is_listed(name) for name in [*folders, *images])
            for changed, folders, images in directories.values()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return directories if usable else {}


def _is_listed(name: Any) -> bool:
    """Tell whether a folder's listing could hold a name; another one would lead out of the tree."""
    if not isinstance(name, str) or not 0 < len(name) < 256 or name.startswith(".") or {"/", "\0"} & set(name):
        return False
    try:
        return bool(name.isascii() or os.fsencode(name))
    except UnicodeEncodeError:  # half a character
        return False


def _list(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of a folder's sub-folders and of its images, in natural order."""
    folders, images = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or _leads_back(entry):
                continue
            if _is_dir(entry):
                folders.append(entry.name)
            elif is_image(Path(entry.name)) and (entry.is_symlink() or entry.is_file()):
                images.append(entry.name)  # a pipe is none: reading one would wait for ever
    return sorted(folders, key=natural_key), sorted(images, key=natural_key)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads to itself


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry links to a folder that holds it: following it would never end."""
    if not entry.is_symlink():
        return False
    return Path(os.path.realpath(os.path.dirname(entry.path))).is_relative_to(os.path.realpath(entry.path))
