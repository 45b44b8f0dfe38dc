"""Where weights lie: those that come with the package, and the file that a name of them stands for.

A name is the path of a run, a folder or a file, `hf-hub:OWNER/NAME[@REVISION]`, or `local-dir:PATH`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from facecycle.checkpoints import folders
from facecycle.errors import CheckpointError

SHIPPED = Path(__file__).parent.parent / "weights" / "default.safetensors"
"""The weights that come with the package; `README.md` beside them is their model card."""
HUB, FOLDER = "hf-hub:", "local-dir:"
Name = str | os.PathLike[str]
"""What users call weights by. It stays as it was written: a `Path` would change `hf-hub:a//b`."""
_REPOSITORY = r"\w[\w.-]*/\w[\w.-]*"
_IN_CACHE = re.compile(rf"models--([^/]+)--([^/]+)/snapshots/([0-9a-f]{{40}})/{re.escape(folders.MODEL)}$")


def find(name: Name) -> Path:
    """Return the model file that a name stands for; a hub's is downloaded, if the cache lacks it.

    Raises:
        CheckpointError: nothing there is a checkpoint, or the hub does not give it.
    """
    text = os.fspath(name)
    if text.startswith(HUB):
        from facecycle.checkpoints.hub import download

        return download(*repository_of(text))
    path = Path(text.removeprefix(FOLDER))
    if path.is_file():
        return path
    if not path.exists():
        hint = "Give a run folder or a .safetensors file."
        if not text.startswith(FOLDER) and re.fullmatch(_REPOSITORY, text) and path.suffix != ".safetensors":
            hint = f"{HUB}{text} names weights on the Hugging Face hub, {FOLDER}{text} a folder here."
        raise CheckpointError(f"there is no checkpoint at {path}", hint=hint)
    if (path / folders.MODEL).is_file():
        return path / folders.MODEL
    return folders.latest_folder(path) / folders.MODEL


def repository_of(name: str) -> tuple[str, str | None]:
    """Return the repository and the revision, if any, of `[hf-hub:]OWNER/NAME[@REVISION]`.

    Raises:
        CheckpointError: the name has another form.
    """
    found = re.fullmatch(rf"({_REPOSITORY})(?:@(\w[\w./-]*))?", name.removeprefix(HUB))
    if not found or ".." in name or "--" in found[1]:
        raise CheckpointError(
            f"{name} names nothing on the hub", hint=f"Expected {HUB}OWNER/NAME or {HUB}OWNER/NAME@REVISION."
        )
    return found[1], found[2]


def label_of(name: Name) -> str:
    """Return what a table calls weights: the name of a run, of a file without its ending, or of a repository."""
    text = os.fspath(name)
    if text.startswith(HUB):
        return text.partition("/")[2]
    path = Path(text.removeprefix(FOLDER)).resolve()
    return path.stem if path.suffix == ".safetensors" else path.name


def said_of(path: Path, licence: str | None) -> str:
    """Say where weights come from, and under which terms where they came with the package or from the hub."""
    terms = licence or "no terms stated"
    if path == SHIPPED:
        return f"the one that comes with facecycle ({terms})"
    if cached := _IN_CACHE.search(path.as_posix()):
        owner, name, commit = cached.groups()
        return f"{HUB}{owner}/{name}@{commit[:8]} ({terms})"
    return str(path)
