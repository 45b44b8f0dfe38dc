"""Signals that ask a run to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stop_requests(insist: bool = True) -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying from them.

    Args:
        insist: a second one kills as usual. Under a launcher it may be the first one once more, passed on.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # signals belong to the main thread
        return
    previous = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, frame: Any) -> None:
        received.append(number)
        if insist:
            signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
