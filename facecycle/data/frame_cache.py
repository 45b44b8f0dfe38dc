"""Decoded frames kept on disk: one file a data set and size, filled as frames are read, shared by processes."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facecycle.cache import cache_home

log = logging.getLogger("facecycle")
CHUNK = 1 << 24
_limit = [4.0 * 1024**3]


@contextlib.contextmanager
def limit(gigabytes: float) -> Iterator[None]:
    """Bound what data sets keep of the frames they read meanwhile, on the disk or in memory; 0 keeps nothing."""
    before = _limit[0]
    _limit[0] = gigabytes * 1024**3
    try:
        yield
    finally:
        _limit[0] = before


def open_cache(fingerprint: str, count: int, size: int) -> tuple[Tensor, Tensor] | None:
    """Return decoded frames, uint8 (count, 3, size, size), and marks (count,) that say which are there.

    Both are mapped from a file whose name is the data set's fingerprint: a changed tree has another file. Two
    processes may fill it at once, for they write the same bytes, and a frame is marked after its pixels. Files
    that were used least recently make room. Where the disk has none, both are in memory.

    Returns:
        None where the frames need more than the limit; they are then decoded whenever they are asked for.
    """
    pixels, total = count * 3 * size * size, count * (3 * size * size + 1)
    if total > _limit[0]:
        if _limit[0] and multiprocessing.parent_process() is None:  # said once, not by each of `workers`
            need = f"{count:,} frames of {size} pixels need {total / 1024**3:.1f} GB"
            log.info("cache: %s, more than --cache-gb allows; each is decoded whenever it is read", need)
        return None
    path = cache_home() / "frames" / f"{fingerprint}-{size}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path, total)
        mapped = torch.from_numpy(_map(path, total))
    except OSError:
        mapped = torch.zeros(total, dtype=torch.uint8)
    return mapped[:pixels].view(count, 3, size, size), mapped[pixels:].view(torch.bool)


def _map(path: Path, length: int) -> np.ndarray:
    """Map a file of so many bytes, all of them taken on the disk: one that fills up would kill the process."""
    with path.open("ab") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, length)
            else:  # macOS
                for start in range(file.tell(), length, CHUNK):
                    file.write(bytes(min(CHUNK, length - start)))
        except OSError:
            path.unlink(missing_ok=True)
            raise
    os.utime(path)  # when it was used last
    return np.memmap(path, np.uint8, "r+", shape=(length,))


def _make_room(path: Path, length: int) -> None:
    """Delete the files used least recently until the rest leave room; who has one mapped keeps it."""
    others = [(p.stat(), p) for p in path.parent.iterdir() if p != path]
    room = _limit[0] - length
    for status, other in sorted(others, key=lambda entry: -entry[0].st_mtime):
        room -= status.st_size
        if room < 0:
            with contextlib.suppress(OSError):
                other.unlink()
