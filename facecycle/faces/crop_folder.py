"""A folder of photographs and videos to one of aligned crops, with a table of what was found in each of them.

The work is done in parts. A part's crops are on the disk before its rows are, and its rows before the next call skips
it, so a command that was killed goes on where it was. So does one whose files were replaced, or got others beside them.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from facecycle.atomic import check_out, lock, remove_leftovers
from facecycle.data.folders import formats_read, stamp, walk
from facecycle.data.video import SUFFIXES, is_video, library
from facecycle.errors import ConfigError, DataError, RunError
from facecycle.faces.crop_photograph import NO_FACE, OK, Work, crop_name, crop_photograph
from facecycle.faces.crop_table import FORMAT, begin, finish, next_part, write_part
from facecycle.faces.crop_video import crop_video, track_name
from facecycle.faces.cropped import Cropped
from facecycle.faces.detection import named

PART = 64
"""Photographs of a part. A video is a part of its own."""


def crop_folder(
    root: Path,
    out: Path,
    *,
    size: int = 128,
    detector: str = "yunet",
    fps: float = 5.0,
    workers: int = 1,
    own: bool = False,
    waiting: Callable[[str], None] | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Cropped:
    """Cut the largest face out of every photograph below a folder; folders and file names stay as they are.

    A video becomes a track: a folder, of its name without the suffix, of crops of some of its frames.

    `faces.parquet` has a row per photograph and per frame that was taken: path, number of the frame, status (`ok`, `no
    face`, or why it cannot be read), the crop's path, how many faces there are, box, landmarks and score of the one
    that was cropped, the crop's similarity (x, y, side, roll) and warnings. Positions are in pixels, upright.

    Args:
        root: folder of photographs and videos, or one video.
        out: folder of the crops; created.
        size: side of the crops, in pixels.
        detector: name of the detector.
        fps: frames per second that are taken of videos.
        workers: processes; 1 works in this one.
        own: `out` is for this folder alone: crops of files that are gone are removed, instead of refusing them.
        waiting: told when another command that writes to `out` is waited for; None refuses instead of waiting.
        tell: told how many photographs and videos are done, and of how many.

    Raises:
        DataError: there are neither photographs nor videos.
        ConfigError: there is no such detector, `out` lies in `root` or is a file, or PyAV is missing for videos.
        RunError: `out` holds something else or crops of files that are gone, another command writes there, or it
            cannot be written.
    """
    named(detector)  # an unknown one is refused before anything is written
    check_out(out, folder=True)
    root, names, passed_over = _listed(root, out)
    _check_names(names, root)
    if any(map(_is_video, names)):
        library()
    work = Work(root, out, size, detector, fps)
    ordered = [name for part in _parts(names) for name in part]
    with lock(out, waiting=waiting):
        plan, to_try = begin(work, _settings(work, names), ordered, own=own)
        for folder in {track_name(name) if _is_video(name) else os.path.dirname(name) for name in names}:
            remove_leftovers(out / folder)
        parts = dict(enumerate(_parts(to_try), next_part(out)))
        done = before = len(names) - len(to_try)
        for number in _run(work, parts, workers):
            done += len(parts[number])
            tell(done, len(names))
        result = Cropped(len(names), before, table=finish(work, plan, ordered), passed_over=passed_over)
    _count(result)
    return result


def _is_video(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def fingerprint(root: Path, size: int) -> str:
    """Return a digest that tells a folder or a video, and the size of its crops, from others."""
    return hashlib.sha256(json.dumps([FORMAT, size, str(root.resolve())]).encode()).hexdigest()


def _settings(work: Work, names: Sequence[str]) -> dict[str, Any]:
    """Return how crops are made."""
    fps = {"fps": work.fps} if any(map(_is_video, names)) else {}
    return {"size": work.size, "detector": work.detector, **fps}


def _listed(root: Path, out: Path) -> tuple[Path, list[str], str]:
    """Return a folder, the names of its photographs and videos, and in words what it holds else.

    Raises:
        DataError: there are neither photographs nor videos.
        ConfigError: `out` lies in the folder.
    """
    if root.is_file() and is_video(root):
        return root.parent, [root.name], ""
    if not root.is_dir():
        what = f"{root} is neither a folder nor a video" if root.exists() else f"there is no folder {root}"
        raise DataError(what, hint="Expected a folder of photographs and videos, or one video.")
    if out.resolve().is_relative_to(root.resolve()):
        raise ConfigError(f"--out {out} lies in {root}, whose images are read", hint="Choose a folder beside it.")
    tree = walk(root, also=SUFFIXES)
    names = [os.path.relpath(path, root) for path in tree.paths()]
    if not names:
        raise DataError(
            f"the folder {root} holds neither images nor videos", hint=f"{formats_read()} {tree.left_out()}".strip()
        )
    return root, names, tree.left_out()


def _parts(names: Sequence[str]) -> list[list[str]]:
    """Share out the work: many photographs make a part, and so does a video."""
    videos = [[name] for name in names if _is_video(name)]
    photographs = [name for name in names if not _is_video(name)]
    return [photographs[start : start + PART] for start in range(0, len(photographs), PART)] + videos


def _check_names(names: Sequence[str], root: Path) -> None:
    """Refuse photographs whose crops would have the same name, and videos whose crops would lie among others.

    Raises:
        DataError: there are such.
    """
    tracks = [track_name(name) for name in names if _is_video(name)]
    crops = [crop_name(name) for name in names if not _is_video(name)]
    folders = {os.path.dirname(name) for name in crops}
    twice = [name for name, count in Counter([*crops, *tracks, *folders]).items() if count > 1]
    if twice:
        raise DataError(f"{root}: the crops of two of them would be called {twice[0]}", hint="Rename one of them.")


def _run(work: Work, parts: dict[int, list[str]], workers: int) -> Iterator[int]:
    """Do parts in one or several processes, and yield the number of each that is done.

    Raises:
        RunError: a process was killed.
    """
    if min(workers, len(parts)) <= 1:
        for number, part in parts.items():
            _do(work, number, part)
            yield number
        return
    # Forked processes would share the threads' locks of the runtimes.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker) as pool:
        # Ctrl-C waits until workers are born. They begin without it, and let it end them when they are ready.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            pending = {pool.submit(_do, work, number, part): number for number, part in parts.items()}
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            for future in as_completed(pending):
                future.result()
                yield pending.pop(future)
        except BrokenProcessPool as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the Ctrl-C that ended it comes out here
            hint = "Was the memory too little? Fewer --workers take less. The same command goes on where it was."
            raise RunError("a worker was killed", hint=hint) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Leave the other cores to the other processes, and end with the command: at Ctrl-C, or when it is killed."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as in the background, where the command goes on too
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would print where it was
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ["OMP_NUM_THREADS"] = "1"  # read when a runtime is imported
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(work: Work, number: int, names: Sequence[str]) -> None:
    """Crop the photographs or the video of a part, and write its rows when all its crops are on the disk."""
    rows = []
    for name in names:
        size, modified = stamp(work.root / name)
        found = crop_video(work, name) if _is_video(name) else [crop_photograph(work, name)]
        rows += [row | {"bytes": size, "modified": modified} for row in found]
    write_part(work, rows, number)


def _count(result: Cropped) -> None:
    """Count what is in the table."""
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(result.table).iter_batches(columns=["path", "status", "warnings"]):
        for row in batch.to_pylist():
            # A video that ends too early has a row of its own beside those of its frames.
            result.images += row["status"] in (OK, NO_FACE) or not _is_video(row["path"])
            if row["status"] == OK:
                result.crops += 1
                result.doubts.update(doubt.partition(":")[0] for doubt in row["warnings"])
            elif row["status"] == NO_FACE:
                result.no_face[row["path"]] += 1
            else:
                result.unreadable[row["path"]] = row["status"]
