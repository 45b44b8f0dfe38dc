"""The thread that computes: one work at a time, a bounded queue before it, and a limit on how long it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from facecycle.errors import RunError

Made = TypeVar("Made")


class Full(RunError):
    """As many wait as there are places."""


class NotBegun(RunError):
    """A work was not begun in time, because others took theirs."""


class NotDone(RunError):
    """A work was begun and not done in time."""


class Worker:
    """One thread and the places of those who wait for it; used from one event loop.

    A thread cannot be ended. Work that takes too long is answered for and done all the same, and nothing else begins
    before. Limits on what is computed have to keep it to seconds. Work that nobody waits for any more never begins.
    """

    def __init__(self, places: int, seconds: float) -> None:
        """Start with nothing to do.

        Args:
            places: how many may wait or be computed at a time.
            seconds: how long each may wait and be computed, together.
        """
        self._executor = ThreadPoolExecutor(1, "facecycle-serve")
        self._free, self._seconds = places, seconds

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place. Whoever reads a photograph from the network holds one, so that their number is bounded too.

        Raises:
            Full: there is none.
        """
        if self._free < 1:
            raise Full("Too many photographs wait. Try again in a moment.")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def do(self, work: Callable[..., Made], *arguments: object) -> Made:
        """Compute, and return what comes of it.

        Raises:
            NotBegun: others took all of the time.
            NotDone: it took too long itself.
        """
        future = self._executor.submit(work, *arguments)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._seconds)
        except TimeoutError as error:
            if future.cancelled():
                raise NotBegun("Other photographs took too long. Try again in a moment.") from error
            raise NotDone(f"The photograph takes longer than {self._seconds:g} seconds.") from error

    def begin(self, work: Callable[[], object]) -> None:
        """Compute what nobody waits for."""
        self._executor.submit(work)

    def end(self) -> None:
        """Begin nothing more."""
        self._executor.shutdown(wait=False, cancel_futures=True)
