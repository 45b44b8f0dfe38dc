"""Folders of images: the one walk that every data set and command takes, and the index that repeats it quickly.

Hidden folders and those of archivers and file servers are never entered. Links are followed, and a folder that is
reached twice, by a link or a loop of links, counts once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facecycle.atomic import write_text
from facecycle.cache import index_file
from facecycle.data.video import SUFFIXES
from facecycle.errors import RunError

FOREIGN = frozenset({"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
"""Folders of archivers, file servers and systems, whose pictures are copies and thumbnails."""
TABLE = "faces.parquet"
"""What `data crop` writes beside its crops about them; it is no image, and not said to be passed over."""
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
}
"""Names, in lower case, of folders that hold a split of a data set, and which split."""
UNREAD = frozenset({"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5", "IPTC", "FITS"})
"""Formats that Pillow opens, and whose pixels it leaves to other programs or to other sciences."""


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes, in lower case, of the formats that the installed Pillow reads."""
    from PIL import Image

    known = Image.registered_extensions()
    readable = (Image.OPEN.keys() | {"MPO"}) - UNREAD  # MPO is opened as the JPEG that it begins with
    return frozenset(suffix for suffix, name in known.items() if name in readable)


def formats_read(names: Sequence[str] | None = None) -> str:
    """Say in a sentence which formats images may have: those of the given names, or what Pillow reads."""
    *others, last = names or ("JPEG", "PNG", "WEBP", "another format that Pillow reads")
    return f"Images are {', '.join(others)} or {last}."


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts `frame10` after `frame9`."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdigit() and part.isascii() else (1, 0, part) for part in parts]


@dataclass(frozen=True)
class Tree:
    """The images below a folder.

    Attributes:
        root: the folder.
        folders: path below the root ("." is the root itself) to the names of the images directly in it, both in
            natural order; folders without images are left out.
        passed_over: suffix to how many files have it that are no images; hidden ones and `faces.parquet` are not
            counted.
    """

    root: Path
    folders: Mapping[str, list[str]]
    passed_over: Mapping[str, int]

    def paths(self) -> list[Path]:
        """Return the images, folder by folder."""
        return [self.root / folder / name for folder, names in self.folders.items() for name in names]

    def by_child(self) -> dict[str, list[Path]]:
        """Return the images below each folder that is directly in the root, by its name."""
        found: dict[str, list[Path]] = {}
        for folder, names in self.folders.items():
            if folder != ".":
                paths = [self.root / folder / name for name in names]
                found.setdefault(Path(folder).parts[0], []).extend(paths)
        return found

    @property
    def videos(self) -> int:
        """How many videos were passed over."""
        return sum(self.passed_over.get(suffix, 0) for suffix in SUFFIXES)

    def left_out(self) -> str:
        """Say what was passed over; '' where that is nothing."""
        videos: list[str] = []
        others: list[str] = []
        for suffix, count in sorted(self.passed_over.items()):
            (videos if suffix in SUFFIXES else others).append(f"{count:,} {suffix or 'without a suffix'}")
        reasons = {"because they are videos": videos, "because they are no images that Pillow reads here": others}
        said = [f"{why}: {', '.join(counts)}" for why, counts in reasons.items() if counts]
        return f"passed over, {', and '.join(said)}" if said else ""


Listed = list[Any]
"""Of a folder: its time of change, real sub-folders, linked ones, images, and counts of other files by suffix."""


def walk(root: Path, *, indexed: bool = False, also: frozenset[str] = frozenset()) -> Tree:
    """Find the images below a folder, and `also` files with other suffixes, which no index keeps.

    With `indexed`, an index in the cache keeps what was found, and a folder is read again only when it changed: its
    time of change moves when a file in it comes or goes, so one stat per folder tells.
    """
    cache = index_file("folders", root) if indexed and not also else None
    before = _cached(cache) if cache else {}
    after: dict[str, Listed] = {}
    seen: set[tuple[int, int]] = set()
    # Links come last, so that a folder that is reached both ways keeps its own name.
    pending = deque(["."])
    linked: deque[str] = deque()
    while pending or linked:
        name = pending.pop() if pending else linked.popleft()
        folder = root / name
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            known = before.get(name)
            if known is None or known[0] != status.st_mtime_ns:
                known = [status.st_mtime_ns, *_list(folder, also)]
        except OSError:
            continue  # it vanished, or may not be read
        after[name] = known
        for queue, children in ((pending, known[1]), (linked, known[2])):
            queue.extend(os.path.normpath(os.path.join(name, child)) for child in children)
    if cache and after != before:
        # Without an index the next start reads the tree again; nothing else is lost.
        with contextlib.suppress(RunError):
            write_text(cache, json.dumps({"suffixes": sorted(image_suffixes()), "directories": after}))
    found = sorted(((name, known[3]) for name, known in after.items() if known[3]), key=lambda f: natural_key(f[0]))
    passed_over: Counter[str] = Counter()
    for known in after.values():
        passed_over.update(known[4])
    return Tree(root, dict(found), passed_over)


def list_images(folder: Path) -> list[Path]:
    """Return the images below a folder, folder by folder, in natural order."""
    return walk(folder).paths()


def images_in(folder: Path) -> list[str]:
    """Return the names of the images directly in a folder, in natural order."""
    return list(_list(folder)[2])


def _list(folder: Path, also: frozenset[str] = frozenset()) -> Listed:
    folders: list[str] = []
    links: list[str] = []
    images: list[str] = []
    others: Counter[str] = Counter()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is(entry.is_dir):
                if entry.name not in FOREIGN:
                    (links if entry.is_symlink() else folders).append(entry.name)
            elif _is(entry.is_file) or entry.is_symlink():  # a pipe is no image: reading one would wait for ever
                suffix = os.path.splitext(entry.name)[1].lower()
                if suffix in image_suffixes() or suffix in also:
                    images.append(entry.name)
                elif entry.name != TABLE:
                    others[suffix] += 1
    return [*(sorted(names, key=natural_key) for names in (folders, links, images)), dict(others)]


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:
        return False  # a link that leads to itself


def _cached(cache: Path) -> dict[str, Listed]:
    """Return the index's folders; {} if it is unusable, or other suffixes were images when it was written."""
    try:
        index = json.loads(cache.read_text())
        directories = index["directories"]
        usable = index["suffixes"] == sorted(image_suffixes()) and all(
            isinstance(changed, int)
            and all(_is_listed(name) for name in [*folders, *links, *images])
            and all(isinstance(count, int) for count in others.values())
            for changed, folders, links, images, others in directories.values()
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


Stamp = tuple[int | None, int | None]


def stamp(path: Path) -> Stamp:
    """Return a file's size in bytes and its time of change in nanoseconds: other ones say that it changed."""
    try:
        status = path.stat()
    except OSError:
        return None, None
    return status.st_size, status.st_mtime_ns


def digest_of(files: Iterable[tuple[str, Path]]) -> str:
    """Return a digest of files by their names and stamps: another one says that something changed."""
    digest = hashlib.sha256()
    for name, path in files:
        size, modified = stamp(path)
        found = "missing" if size is None else f"{size}\0{modified}"
        digest.update(f"{name}\0{found}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
