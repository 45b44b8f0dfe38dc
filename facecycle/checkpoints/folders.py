"""The checkpoint folders of a run: which there are, which is the newest, whether one is whole, which may go.

A folder comes under its name by one rename, after its files are on the disk: what has the name is complete.
`latest`, a text file beside the folders, names the one to continue from, and moves last.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from facecycle.atomic import explained, file_sha256, remove_folder, write_text
from facecycle.errors import CheckpointError

FOLDERS = "checkpoints"
LATEST = "latest"
MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
SUMS = "SHA256SUMS"
"""Digests of the files of a folder, in the format of `sha256sum -c`."""


def all_folders(run: Path) -> list[Path]:
    """Return the checkpoint folders of a run, the one of the fewest steps first."""
    found = [(_key(path), path) for path in (run / FOLDERS).glob("step-*")]
    return [path for key, path in sorted(found) if key[0] >= 0 and path.is_dir()]


def _key(path: Path) -> tuple[int, int]:
    """Return the step in a folder's name and how often it was written anew; (-1, 0) for other names."""
    match = re.fullmatch(r"step-(\d+)(?:-(\d+))?", path.name)
    return (int(match[1]), int(match[2] or 1)) if match else (-1, 0)


def latest_folder(run: Path) -> Path:
    """Return the checkpoint folder to continue from: the one that `latest` names, else the newest.

    Raises:
        CheckpointError: the run has none yet.
    """
    pointer = run / FOLDERS / LATEST
    if pointer.is_file():
        name = pointer.read_text(errors="replace").strip()
        # The name of a folder beside it, never a path to elsewhere; `isdir` takes any text for a name.
        if name not in {"", ".", ".."} and "/" not in name and os.path.isdir(pointer.parent / name):
            return pointer.parent / name
    folders = all_folders(run)
    if not folders:
        raise CheckpointError(
            f"{run} holds no checkpoint",
            hint="A run writes its first one at the end of its first stage, or earlier.",
        )
    return folders[-1]


def runs_below(folder: Path) -> list[Path]:
    """Return the runs in a folder that hold a checkpoint, by name."""
    return sorted(path.parent for path in folder.glob(f"*/{FOLDERS}") if all_folders(path.parent))


def free_folder(folder: Path) -> Path:
    """Return `folder`, or another name for it while `latest` names it: what is relied on is never replaced."""
    pointer = folder.parent / LATEST
    relied_on = _key(Path(pointer.read_text(errors="replace").strip())) if pointer.is_file() else (-1, 0)
    step, _ = _key(folder)
    return folder.with_name(f"{folder.name}-{relied_on[1] + 1}") if relied_on[0] == step else folder


def point_latest(folder: Path) -> None:
    """Make `latest` name a checkpoint folder.

    Raises:
        RunError: it cannot be written.
    """
    write_text(folder.parent / LATEST, folder.name + "\n")


def prune(run: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, counted back from the one that `latest` names.

    Raises:
        RunError: one cannot be removed.
    """
    latest = latest_folder(run)
    upto = [folder for folder in all_folders(run) if _key(folder) <= _key(latest)]
    for folder in upto[:-keep]:
        remove_folder(folder)


# --- damage -------------------------------------------------------------------------------------


def write_sums(folder: Path) -> None:
    """Write the digests of a checkpoint folder's files into it."""
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in (MODEL, OPTIMIZER, STATE)]
    (folder / SUMS).write_text("".join(lines))


def damage(folder: Path) -> list[str]:
    """Read every byte of a checkpoint folder and return what is wrong with which file."""
    sums = folder / SUMS
    text = sums.read_text(errors="replace") if sums.exists() else ""
    stated = {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}
    if set(stated) != {MODEL, OPTIMIZER, STATE} or not text.endswith("\n"):
        return [f"{SUMS} is missing, cut short or damaged"]
    found = []
    for name, digest in stated.items():
        try:
            if file_sha256(folder / name) != digest:
                found.append(f"{name} does not have the sha256 that {SUMS} states")
        except FileNotFoundError:
            found.append(f"{name} is missing")
        except OSError as error:
            found.append(f"{name} cannot be read ({error.strerror})")
    return found


def set_aside(folder: Path) -> Path:
    """Rename a damaged checkpoint folder, so that it is kept but no longer taken for a checkpoint.

    Raises:
        RunError: it cannot be renamed.
    """
    number = 1
    while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
        number += 1
    with explained(folder):
        folder.rename(aside)
    return aside
