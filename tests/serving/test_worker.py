"""The queue: one work at a time, so many places, and what happens to work that nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from facecycle.serving.worker import Full, NotBegun, NotDone, Worker


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Closed until a test opens it, and at its end."""
    made = threading.Event()
    yield made
    made.set()


def test_work_is_done_one_after_the_other() -> None:
    worker, running, most, order = Worker(8, 30), 0, 0, []

    def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(number)
        running -= 1
        return number

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(worker.do(work, number) for number in range(50)))

    assert asyncio.run(all_of_them()) == list(range(50)) == order
    assert most == 1
    worker.end()


def test_places_are_counted() -> None:
    worker = Worker(2, 30)
    with worker.place(), worker.place(), pytest.raises(Full), worker.place():
        pass
    with pytest.raises(ZeroDivisionError), worker.place():
        raise ZeroDivisionError
    with worker.place(), worker.place():
        pass
    worker.end()


def test_late_work_is_told_from_work_that_never_began(gate: threading.Event) -> None:
    worker, begun = Worker(8, 0.2), []

    async def two() -> list[object]:
        late = worker.do(gate.wait)
        waiting = worker.do(begun.append, "never")
        return await asyncio.gather(late, waiting, return_exceptions=True)

    late, waiting = asyncio.run(two())
    assert isinstance(late, NotDone)
    assert isinstance(waiting, NotBegun)
    gate.set()  # what was begun ends, and the next one is computed
    assert asyncio.run(worker.do(lambda: 7)) == 7
    assert begun == []
    worker.end()


def test_an_error_of_the_work_comes_out_of_it() -> None:
    worker = Worker(8, 30)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(worker.do(lambda: 1 // 0))
    assert asyncio.run(worker.do(lambda: 7)) == 7
    worker.end()
