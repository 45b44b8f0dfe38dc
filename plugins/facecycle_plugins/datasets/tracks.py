"""The data set `tracks`: directories of frames, one person in one take each, and flat folders of stills."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from pydantic import Field

from facecycle.api import Labelled, Task, Track, Verification
from facecycle.api import Options as BaseOptions
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.data.images import is_image, natural_key
from facecycle.errors import DataError, RunError
from facecycle.files import write_text


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
        folders = _from_list(root) if root.is_file() else _index(root)
        base = root.parent if root.is_file() else root
        if not folders:
            raise DataError(
                f"there are no images below {root}", hint="Expected directories that hold .jpg or .png files."
            )
        stills = not root.is_file() and list(folders) == ["."]
        paths: list[Path] = []
        self._tracks: list[Track] = []
        for name, files in folders.items():
            frames = tuple(range(len(paths), len(paths) + len(files)))
            if stills:
                self._tracks += [Track(file, file, (frame,)) for file, frame in zip(files, frames, strict=True)]
            elif len(files) >= options.min_frames:
                self._tracks.append(Track(name, identity(name), frames))
            else:
                continue
            paths += [base / name / file for file in files]
        if not self._tracks:
            raise DataError(
                f"no directory below {root} holds {options.min_frames} images or more",
                hint="Lower the option min_frames.",
            )
        self.files = FrameFiles(paths, base)

    def tracks(self) -> list[Track]:
        """Return every track, in natural order."""
        return self._tracks

    def labelled(self, task: Task) -> Labelled | Verification:
        """Tracks carry no labels.

        Raises:
            DataError: always.
        """
        raise self.refuse(f"labels for {task}")


def identity(name: str) -> str:
    """Return whom a track shows: the first part of its name like `id123`, else the first part."""
    parts = Path(name).parts
    return next((part for part in parts if re.fullmatch(r"id\d+", part)), parts[0] if parts else name)


def _from_list(file: Path) -> dict[str, list[str]]:
    """Read a list of track directories, relative to the list's folder, one a line."""
    folders: dict[str, list[str]] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        folder = file.parent / name
        if not folder.is_dir():
            raise DataError(f"{file}, line {number}: there is no directory {folder}")
        images = sorted((p.name for p in folder.iterdir() if is_image(p)), key=natural_key)
        if images:
            folders[name] = images
    return folders


def _cache_file(root: Path) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "facecycle" / "tracks" / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:32]}.json"


def _index(root: Path) -> dict[str, list[str]]:
    """Return the images of every directory below a root; a directory is read again only when it changed.

    A directory's time of change moves when a file in it comes or goes, so one stat a directory tells.
    """
    cache = _cache_file(root)
    try:
        before: dict[str, Any] = json.loads(cache.read_text())["directories"]
    except (OSError, ValueError, KeyError, TypeError):
        before = {}
    after: dict[str, Any] = {}
    pending = ["."]
    while pending:
        name = pending.pop()
        folder = root / name
        try:
            changed = folder.stat().st_mtime_ns
            known = before.get(name)
            if not (isinstance(known, list) and len(known) == 3 and known[0] == changed):
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


def _list(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of a folder's sub-folders and of its images, in natural order."""
    folders, images = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif is_image(Path(entry.name)):
                images.append(entry.name)
    return sorted(folders, key=natural_key), sorted(images, key=natural_key)
