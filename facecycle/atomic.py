"""Files that are never half written, where they can be written at all, by one process at a time; and their digests."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from facecycle.errors import ConfigError, RunError

PATIENCE = 1.0
"""Seconds of waiting for another process that pass without a word."""


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; see `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a temporary name beside `path`, flush the file to the disk, and rename it to `path`.

    Where `path` is a link, the file that it leads to is replaced, and the link stays.

    Raises:
        RunError: the disk refuses, for example because it is full; `path` is then untouched.
    """
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    with _temporary(path) as temporary:
        write(temporary)
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)


def write_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on an empty temporary folder beside `path`, flush its files, and rename it to `path`.

    A folder that stands at `path` already is moved aside first: for a moment there is none. Who relies on
    one must have it under another name.

    Raises:
        RunError: the disk refuses, for example because it is full; `path` is then untouched.
    """
    with _temporary(path) as temporary:
        temporary.mkdir()
        write(temporary)
        for file in temporary.rglob("*"):
            _flush(file)
        _flush(temporary)
        remove_folder(path)
        os.rename(temporary, path)
        _flush(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder if there is one, so that a kill leaves either all of it or nothing under its name.

    Raises:
        RunError: it cannot be removed.
    """
    if path.is_dir():
        with _temporary(path, ending=".old.tmp") as aside:
            os.rename(path, aside)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders of writers that were killed; none may be at work in `folder`."""
    for path in folder.glob(".*.tmp"):
        _remove(path)


def move(source: Path, path: Path) -> None:
    """Give a file that is whole and on the disk its name `path`, in the same file system.

    Raises:
        RunError: the disk refuses; `path` is then untouched.
    """
    with explained(path):
        os.replace(source, path)
        _flush(path.parent)


@contextlib.contextmanager
def lock(folder: Path, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Create a folder, and keep other processes that ask for it out, until the end of this one, however it ends.

    Args:
        folder: where only one is to write.
        waiting: told, once, when another one is waited for; None refuses instead of waiting.

    Raises:
        RunError: another process has it.
    """
    while True:
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY)
        try:
            try:
                if waiting is None:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                else:
                    with _told_later(waiting, f"waiting for another process that is writing to {folder}"):
                        fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno == errno.EWOULDBLOCK:
                    hint = "Wait for it, or stop it."
                    raise RunError(f"another process is writing to {folder}", hint=hint) from error
                # Some network file systems know no locks; the work goes on without.
            if not folder.is_dir() or not os.path.samestat(os.fstat(descriptor), folder.stat()):
                continue  # the other one has removed it since, and a third one may have made a new one
            yield
            return
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _told_later(tell: Callable[[str], None], text: str) -> Iterator[None]:
    """Tell something where what is done within takes longer than `PATIENCE`."""
    timer = threading.Timer(PATIENCE, tell, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def check_out(out: Path, *, folder: bool) -> None:
    """Refuse what cannot be written because a file is in its way, before anything is computed for it.

    Args:
        out: what is to be written.
        folder: it is a folder, so it must not be a file itself either.

    Raises:
        ConfigError: it lies below a file, or is one.
    """
    there = next((each for each in (out, *out.parents)[not folder :] if each.exists()), None)
    if there is not None and not there.is_dir():
        hint = "Name a folder to write to." if folder else "Name a file in a folder."
        raise ConfigError(f"cannot write to {out}, because {there} is a file", hint=hint)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says about writing `path` into an error for the reader.

    Raises:
        RunError: an `OSError` was raised within; it says so when the disk is full.
        ConfigError: `path` lies below a file.
    """
    try:
        yield
    except OSError as error:
        check_out(path, folder=False)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise RunError(
                f"the disk is full: cannot write {path} ({error.strerror})",
                hint="Free some space. `facecycle pretrain --resume` continues a run from its last checkpoint; "
                "--keep N makes it keep no more than N of them.",
            ) from error
        raise RunError(f"cannot write {path}: {error}", hint="Is the disk read-only, or the folder gone?") from error


@contextlib.contextmanager
def _temporary(path: Path, ending: str = ".tmp") -> Iterator[Path]:
    """Lend a name beside `path` that is free, and free again afterwards; explain what the system refuses."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{ending}")
    with explained(path):
        missing = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        for created in missing:  # a folder is on the disk before anything is written below it
            _flush(created.parent)
        _remove(temporary)
        try:
            yield temporary
        finally:
            _remove(temporary)


def _flush(path: Path) -> None:
    """Make sure that a file's contents, or a folder's list of names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
