"""Files that are never half written, their digests, and the folder of what can be made again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from facecycle.errors import RunError


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_home() -> Path:
    """Return the folder of everything that can be made again: `$XDG_CACHE_HOME/facecycle`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "facecycle"


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; see `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a temporary name beside `path`, flush it to the disk, and rename it to `path`.

    Raises:
        RunError: the disk refuses, for example because it is full; `path` is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _flush(temporary)
        _replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error}", hint="Is the disk full or read-only?") from error
    finally:
        remove(temporary)


def _flush(path: Path) -> None:
    """Make sure that a file's or folder's contents are on the disk."""
    targets = [*path.iterdir(), path] if path.is_dir() and not path.is_symlink() else [path]
    for target in targets:
        if target.is_dir() and target != path:
            continue
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(temporary: Path, path: Path) -> None:
    if path.is_dir():
        # A folder cannot be renamed over a full one; the same step is being written again.
        shutil.rmtree(path)
    os.replace(temporary, path)


def remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
