"""How `--data` names a data set: a path, `KIND:PATH`, or the name of a data set that needs no path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from facecycle.errors import DataError


def parse(text: str, default_kind: str) -> dict[str, Any]:
    """Turn a `--data` value into a component's name and options.

    Args:
        text: an existing path, `KIND:PATH`, or `synthetic`.
        default_kind: the data set that reads a path without a kind.

    Raises:
        DataError: nothing by that name exists.
    """
    path = Path(text)
    if path.exists():
        return {"name": default_kind, "options": {"path": str(path)}}
    if text == "synthetic":
        return {"name": text, "options": {}}
    kind, colon, rest = text.partition(":")
    if colon:
        if not Path(rest).exists():
            raise DataError(f"--data {text}: there is no file or folder {rest}")
        return {"name": kind, "options": {"path": rest}}
    raise DataError(f"--data {text}: there is no file or folder of that name")
