"""What a target is, and how its inputs are tried: one at a time, each within limits of time, memory and place."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.strategies import SearchStrategy

from facecycle.errors import FacecycleError

CHUNK = 250
"""Inputs of one run of hypothesis, which grows slower with every input that it has to tell from others."""
MIB = 1024**2
PATIENCE = 10
"""A busy machine makes an input wait; only one that waits for what never comes waits as much longer."""
OUTSIDE = "reached outside its folder"


@dataclass(frozen=True)
class Target:
    """A reader, and the inputs that are tried on it.

    Attributes:
        name: `family/reader`.
        inputs: draws an input.
        run: reads an input in an empty folder, and checks what comes out.
        valid: an input that is read without an error, so that what is damaged was whole before.
        share: how many of the inputs of a whole run it gets, relative to the other targets.
        seconds: limit of one input, of the process's own time; waiting may last `PATIENCE` times as long.
        mib: how much the process may grow over one input, in MiB.
    """

    name: str
    inputs: SearchStrategy[Any]
    run: Callable[[Any, Path], object]
    valid: Any
    share: float = 1.0
    seconds: float = 20.0
    mib: int = 256


@dataclass
class Tally:
    """Inputs tried and refused, and the faults: what happened, how often, and the shortest input that shows it."""

    tried: int = 0
    refused: int = 0
    faults: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, fault: str, value: Any, says: str = "") -> None:
        """Count a fault; of several inputs that show it the shortest is kept, with what the exception said."""
        count, shortest = self.faults.get(fault, (0, ""))
        shown = f"{says}\n{value!r}"
        self.faults[fault] = count + 1, shown if not count or len(shown) < len(shortest) else shortest

    @property
    def failures(self) -> int:
        """How many inputs broke a rule."""
        return sum(count for count, _ in self.faults.values())


class Hang(BaseException):
    """An input took longer than its limit; no `except Exception` swallows it."""


def try_inputs(target: Target, count: int, first_seed: int = 0, seconds: float = float("inf")) -> Tally:
    """Try so many inputs on a target, or as many as the seconds allow; the seed decides which.

    Raises:
        AssertionError: the target's valid input is refused.
    """
    first, tally = Tally(), Tally()
    _attempt(target, target.valid, first)  # also imports what is imported when it is needed, which may write
    wrong = [fault for fault in first.faults if not fault.startswith(OUTSIDE)]
    assert not first.refused + len(wrong), f"{target.name} refuses its own valid input: {wrong}"
    end = time.monotonic() + seconds
    chunk = 0
    while tally.tried < count and time.monotonic() < end:
        before = tally.tried
        _chunk(target, min(CHUNK, count - tally.tried), first_seed + chunk, tally, end)
        chunk += 1
        if tally.tried == before:
            break  # there are no further inputs
    return tally


def _chunk(target: Target, count: int, chunk_seed: int, tally: Tally, end: float) -> None:
    @seed(chunk_seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(target.inputs)
    def each(value: Any) -> None:
        if time.monotonic() < end:
            _attempt(target, value, tally)

    each()


def _attempt(target: Target, value: Any, tally: Tally) -> None:
    """Try one input; whatever breaks a rule is counted as a fault."""
    tally.tried += 1
    before = _restart_peak()
    # A loop in native code does not see the alarm; then the process ends, with its stack on stderr.
    faulthandler.dump_traceback_later(2 * PATIENCE * target.seconds, exit=True, file=sys.__stderr__)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary, _watch(Path(temporary)) as outside:
        folder = Path(temporary) / "input"
        folder.mkdir()
        try:
            with warnings.catch_warnings(), _alarm(target.seconds):
                warnings.simplefilter("ignore")
                target.run(value, folder)
        except FacecycleError:
            tally.refused += 1
        except Hang:
            tally.add(f"no end after {target.seconds:g} s, in {_place()}", value)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            tally.add(f"{type(error).__name__} from {_place()}", value, str(error)[:200])
        grown = (_peak() - before) // MIB
        if grown > target.mib:
            tally.add(f"grew by more than {target.mib} MiB", value, f"by {grown} MiB")
        faulthandler.cancel_dump_traceback_later()
        for place in outside:
            tally.add(f"{OUTSIDE}: {place}", value)


def _place() -> str:
    """Return where the exception that is being handled came from: the last line of our own code."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    ours = [f for f in frames if "/fuzz/" not in f.filename.rpartition("tests")[2]]
    own = [f for f in ours if "facecycle" in Path(f.filename).parts or "facecycle_plugins" in Path(f.filename).parts]
    frame = (own or ours or list(frames))[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


# --- limits -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise Hang

    timers = (
        (signal.ITIMER_PROF, signal.SIGPROF, seconds),
        (signal.ITIMER_REAL, signal.SIGALRM, PATIENCE * seconds),
    )
    before = [signal.signal(number, ring) for _, number, _ in timers]
    for timer, _, limit in timers:
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for timer, _, _ in timers:
            signal.setitimer(timer, 0)
        for (_, number, _), handler in zip(timers, before, strict=True):
            signal.signal(number, handler)


def _memory(entry: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(entry):
            return int(line.split()[1]) * 1024
    return 0


def _restart_peak() -> int:
    """Forget the process's peak of memory, and return what it holds now, in bytes; 0 where nothing tells."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _memory("VmRSS")
    except OSError:
        return 0


def _peak() -> int:
    try:
        return _memory("VmHWM")
    except OSError:
        return 0


# --- place --------------------------------------------------------------------------------------

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.link", "os.symlink", "os.truncate", "os.chmod"}
FOREIGN = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "socket.getaddrinfo")
_watched: list[tuple[str, list[str]]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Note every write outside the watched folder, every process that is started and every connection."""
    if not _watched:
        return
    inside, outside = _watched[-1]
    if event == "open":
        path, _, flags = arguments
        writes, paths = bool((flags or 0) & WRITES), [path]
    elif event in CHANGES:
        writes, paths = True, [a for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
    else:
        if event.startswith(FOREIGN):
            outside.append(event)
        return
    if writes:
        names = [os.fsdecode(p) for p in paths if isinstance(p, str | bytes | os.PathLike)]
        outside += [f"{event} {n}" for n in names if not _below(n, inside)]


def _below(name: str, folder: str) -> bool:
    whole = os.path.abspath(name)
    return whole.startswith(folder + os.sep) or whole == os.devnull or whole == folder


sys.addaudithook(_audit)


@contextlib.contextmanager
def _watch(folder: Path) -> Iterator[list[str]]:
    """Yield a list that fills with what is done outside a folder; caches are below it meanwhile."""
    outside: list[str] = []
    cache, compiled, here = os.environ.get("XDG_CACHE_HOME"), sys.dont_write_bytecode, Path.cwd()
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    sys.dont_write_bytecode = True
    os.chdir(folder)
    _watched.append((str(folder), outside))
    try:
        yield outside
    finally:
        _watched.pop()
        os.chdir(here)
        sys.dont_write_bytecode = compiled
        if cache is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = cache
