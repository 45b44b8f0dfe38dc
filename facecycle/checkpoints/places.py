"""Where weights lie: those that come with the package, and the file that a name of a run, folder or file stands for."""

from __future__ import annotations

from pathlib import Path

from facecycle.checkpoints import folders
from facecycle.errors import CheckpointError

SHIPPED = Path(__file__).parent.parent / "weights" / "default.safetensors"
"""The weights that come with the package; `README.md` beside them is their model card."""


def find(path: Path) -> Path:
    """Return the model file that a run folder, a checkpoint folder or a file name stands for.

    Raises:
        CheckpointError: nothing there is a checkpoint.
    """
    if path.is_file():
        return path
    if not path.exists():
        raise CheckpointError(f"there is no checkpoint at {path}", hint="Give a run folder or a .safetensors file.")
    if (path / folders.MODEL).is_file():
        return path / folders.MODEL
    return folders.latest_folder(path) / folders.MODEL


def said_of(path: Path, licence: str | None) -> str:
    """Say where weights come from, and under which terms where they came with the package."""
    return str(path) if path != SHIPPED else f"the one that comes with facecycle ({licence or 'no terms stated'})"
