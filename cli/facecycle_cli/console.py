"""What commands print: lines for people, and a progress display that is quiet when nobody watches."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape

WIDTH = 160
"""Columns where standard output is not a terminal, so that a table in a log is not folded."""
SILENT = os.environ.get("RANK", "0") != "0"
"""Of the processes that a launcher started, the first one speaks."""
console = Console(soft_wrap=True, highlight=False, quiet=SILENT, width=None if sys.stdout.isatty() else WIDTH)
QUIET_INTERVAL = 30.0
"""Seconds between two lines of progress where standard output is not a terminal."""
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def visible(text: str) -> str:
    """Return text with what would steer a terminal, or has no encoding, as escapes; files and headers hold anything."""
    return text.translate(CONTROLS).encode("utf-8", "backslashreplace").decode()


def say(text: str) -> None:
    """Print a line as it is; nothing in it is taken for markup, or by the terminal."""
    console.print(escape(visible(text)))


def say_log() -> None:
    """Say what the packages log about their own choices, such as an implementation picked for this machine."""
    handler = logging.Handler()
    handler.emit = lambda record: say(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("facecycle")
    log.handlers = [handler]
    log.setLevel(logging.INFO)


def occasionally() -> Callable[[str], None]:
    """Return a function that prints a line, but none within seconds of the last."""
    last = -QUIET_INTERVAL

    def tell(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= QUIET_INTERVAL:
            last = now
            say(text)

    return tell


class Progress:
    """Shows stages and steps: a live bar on a terminal, a line now and then elsewhere."""

    def __enter__(self) -> Progress:
        self._bar: Any = None
        self._task: Any = None
        if sys.stdout.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[metrics]}"),
                console=console,
            )
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def stage(self, name: str, first: int, total: int) -> None:
        """A stage begins at step `first` of `total`."""
        self._total, self._first = total, first
        self._started = self._printed = time.monotonic()
        if self._bar is not None:
            self._task = self._bar.add_task(name, total=total, completed=first, metrics="")
        else:
            say(f"stage {name}: {total} steps" + (f", continuing after {first}" if first else ""))

    def step(self, name: str, done: int, losses: dict[str, float], images_per_second: float) -> None:
        """A step was taken."""
        values = " ".join(f"{label} {value:.3f}" for label, value in losses.items())
        text = f"{values}  {images_per_second:.0f} images/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, metrics=text)
            return
        now = time.monotonic()
        if done == self._total or done == self._first + 1 or now - self._printed >= QUIET_INTERVAL:
            self._printed = now
            left = (now - self._started) / max(1, done - self._first) * (self._total - done)
            say(f"  {name} {done}/{self._total}  {text}  {left:.0f} s left")

    def note(self, text: str) -> None:
        """Something worth knowing happened."""
        say(text)


def show_table(title: str, titles: list[str], rows: list[list[str]], text: int = 1) -> None:
    """Print a table; so many of its first columns are text, the others are right-aligned."""
    from rich.table import Table

    shown = Table(title=title, title_justify="left")
    for number, name in enumerate(titles):
        shown.add_column(name, justify="left" if number < text else "right")
    for cells in rows:
        shown.add_row(*(escape(visible(cell)) for cell in cells))
    console.print(shown)
