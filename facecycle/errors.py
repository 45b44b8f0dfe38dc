"""Errors made for a reader: what is wrong, where, what was expected, what to do.

Every one of them ends a command with exit code 2 and this message alone; a traceback is shown only
when `FACECYCLE_DEBUG=1`. Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class FacecycleError(Exception):
    """Something the user can mend. The message is complete; `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class ConfigError(FacecycleError):
    """A flag, a config file or a preset holds a wrong key or value."""


class UnfitEncoder(ConfigError):
    """An encoder that does not read images of the run's size, or gives no map of them."""


class PluginError(FacecycleError):
    """A name that no plugin answers to, or a plugin that cannot be used."""


class AmbiguousName(PluginError):
    """A name that more than one plugin answers to."""


class DataError(FacecycleError):
    """A data set, an image or a label file that is missing or malformed."""


class OnlyVideos(DataError):
    """A place that holds videos, or is one, and no images; `path` is where."""

    def __init__(self, message: str, path: Path, *, hint: str | None = None) -> None:
        self.path = path
        super().__init__(message, hint=hint)


class NotOffered(DataError):
    """Tracks, or labels for a task, that a data set was never made to hold."""


class NoFaceError(DataError):
    """An image in which a detector found no face."""


class MalformedError(DataError):
    """Rows of a data set that cannot be used; `problems` names each with its file, line and fault."""

    SHOWN = 5

    def __init__(self, what: str, problems: Sequence[str], *, hint: str | None = None) -> None:
        self.problems = list(problems)
        more = f"\n(+{len(problems) - self.SHOWN} more)" if len(problems) > self.SHOWN else ""
        super().__init__("\n".join([f"{what}:", *self.problems[: self.SHOWN]]) + more, hint=hint)


class CheckpointError(FacecycleError):
    """A checkpoint that cannot be read, or does not fit the networks it is loaded into."""


class RunError(FacecycleError):
    """A run that cannot go on, such as one whose loss stays non-finite."""


def shown(value: object, longest: int = 300) -> str:
    """Return a value as an error shows it: its `repr`, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or lists in lists in lists
        return f"a {type(value).__name__} that is too large to be shown"
    return text if len(text) <= longest else f"{text[:longest]}..."


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests up to three names closest to `wrong`, or '' when none is close."""
    close = difflib.get_close_matches(wrong, list(known))
    return f"Did you mean {' or '.join(close)}?" if close else ""
