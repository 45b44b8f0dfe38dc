"""Label files by line: their numbered lines, and what is said of a line that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facecycle.errors import DataError, MalformedError, shown

SHOWN = 60
"""So many characters of a line are shown; a line may be a whole picture."""


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Return number and text of each line that is not blank, without the spaces around it.

    A byte order mark and any line ending are accepted.

    Raises:
        DataError: the file cannot be read, is no text, or is blank.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = [(number, line.strip()) for number, line in enumerate(file, 1)]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file: {error}") from error
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise DataError(f"{path} holds no lines")
    return lines


def problem(path: Path, number: int, wanted: str, got: str) -> str:
    """Say what a line should hold, and what it holds instead."""
    return f"{path}, line {number}: expected {wanted}, got {shown(got, SHOWN)}"


def missing_images(path: Path, absent: Sequence[tuple[int, object]]) -> MalformedError:
    """Return the error for images that lines of a file name, each with its line, and that do not exist."""
    return MalformedError(
        f"{path} names images that do not exist",
        [f"{path}, line {number}: there is no image {image}" for number, image in absent],
        hint="Complete the images, or leave these rows out with --allow-missing (the option allow_missing).",
    )
