"""What a stopped command keeps of a file that takes long to make, so that the same command goes on: a hidden folder."""

from __future__ import annotations

import contextlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from facecycle.atomic import explained, lock, remove_leftovers, write_atomically, write_text
from facecycle.errors import ConfigError, DataError

PLAN = "plan.json"


@contextlib.contextmanager
def unfinished(path: Path, plan: Mapping[str, str], say: Callable[[str], None]) -> Iterator[Path]:
    """Lend a hidden folder beside a file that is being made; it goes when the file is made, and outlives a stop.

    Args:
        path: the file.
        plan: everything that the file depends on, by what it is called. What was kept by another plan is thrown away.
        say: told why what was kept is thrown away, and that the same command goes on after a stop.

    Raises:
        RunError: another process makes the file, or the disk refuses.
    """
    folder = path.with_name(f".{path.name}.unfinished")
    with lock(folder):
        remove_leftovers(folder)
        before = _plan_of(folder)
        if changed := [name for name in plan if before is not None and before.get(name) != plan[name]]:
            say(f"{path}: it is made from its beginning, because this has changed: {', '.join(changed)}")
        if before != plan:
            for file in folder.iterdir():
                file.unlink()
            write_text(folder / PLAN, json.dumps(plan))
        try:
            yield folder
        except BaseException as error:
            # What a reader has to mend comes back, whatever was kept.
            if isinstance(error, ConfigError | DataError) or not any(folder.glob("*.npz")):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                say(f"{path} is not finished; the same command goes on where it was")
            raise
        with explained(path):
            shutil.rmtree(folder)


def _plan_of(folder: Path) -> dict[str, str] | None:
    """Return what was being made in a folder; None where nothing is known."""
    try:
        found = json.loads((folder / PLAN).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else {}


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by their names.

    Raises:
        RunError: the disk refuses.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    write_atomically(path, write)


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a file.

    Raises:
        DataError: it is not as it was written.
    """
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        # Errors of this kind take what was kept with them, see `unfinished`.
        raise DataError(f"{path} is damaged: {error}", hint="The same command begins again.") from error


def kept(path: Path, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Read the arrays of a file, which is made where it is not there.

    Raises:
        DataError: the file is damaged.
        RunError: the disk refuses.
    """
    if not path.exists():
        save(path, make())
    return read(path)
