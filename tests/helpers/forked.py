"""Work in processes that are forked from one that has imported torch: `facecycle`, and what two have to agree on.

A process that starts anew imports for seconds. `command` and torchrun start such processes, where the start is tested.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["facecycle.pretraining.run", "facecycle_cli.main", "torchvision.transforms.v2", "timm"])
ENDS_WITHIN = 300
"""Seconds."""


def facecycle(*arguments: str) -> None:
    """Run a command line."""
    from facecycle_cli.main import run

    sys.argv = ["facecycle", *arguments]
    run()


def python(lines: str, *arguments: str) -> None:
    """Run lines of Python, as `python -c` would."""
    sys.argv = ["-c", *arguments]
    exec(lines, {})


def script(file: str, *arguments: str) -> None:
    """Run a file of Python, as `python FILE` would."""
    sys.argv = [file, *arguments]
    runpy.run_path(file, run_name="__main__")


def start(said: Path, work: Callable[..., None], *arguments: object, **env: str) -> BaseProcess:
    """Start work with words for arguments, in the folder of the file that what it says goes to."""
    words, whole = [*map(str, arguments)], {**os.environ, **env}
    started = SERVER.Process(target=_do, args=(work, words, said, whole))
    started.start()
    return started


def _do(work: Callable[..., None], words: list[str], said: Path, env: dict[str, str]) -> None:
    multiprocessing.set_start_method(None, force=True)  # what it starts, it starts as it would elsewhere
    os.chdir(said.parent)
    with said.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(env)
    work(*words)


def do(folder: Path, work: Callable[..., None], *arguments: object) -> str:
    """Do work in a process and a folder; return what it said."""
    said = folder / "said"
    started = start(said, work, *arguments)
    ended(started)
    assert started.exitcode == 0, said.read_text()
    return said.read_text()


def two_do(folder: Path, work: Callable[..., None], *arguments: object, code: int = 0) -> str:
    """Do work in two processes that torch can bring together, as torchrun would; return what both said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    said = [folder / f"said-{rank}" for rank in range(2)]
    both = [start(said[rank], work, *arguments, RANK=str(rank), LOCAL_RANK=str(rank), **meeting) for rank in range(2)]
    for each in both:
        ended(each)
    text = "".join(file.read_text() for file in said)
    assert [each.exitcode for each in both] == [code, code], text
    return text


def ended(process: BaseProcess) -> None:
    """Wait for the end of a process, but not for ever."""
    process.join(ENDS_WITHIN)
    process.kill()
    process.join()
