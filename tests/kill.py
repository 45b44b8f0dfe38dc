"""Kill writers and runs at many moments, and count what is lost: python tests/kill.py [--every N] [--runs N].

A checkpoint writer is killed before every N-th line of the code that writes, and at random times; `facecycle pretrain`
at random moments, and resumed until it ends. A point is a loss when the newest checkpoint that was acknowledged
cannot be loaded, or a resumed run ends with other weights than one that nobody killed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from facecycle_cli.main import run as command
from safetensors.torch import load_file
from torch import nn

from facecycle import atomic
from facecycle.checkpoints import folders, model_file, places
from facecycle.checkpoints.folders import MODEL, all_folders
from facecycle.pretraining.resume import newest_whole

WRITING = {module.__file__ for module in (model_file, folders, atomic, shutil)}
KEEP = 2
CROWD = 10
"""Folders that killed writers may leave before one is let live to remove them."""
KILLS = 4
"""How often a run is killed before it is left to end."""
LINES = 10_000
"""About as many lines of writing code as a run of some checkpoints takes."""
TINY = [
    *("--preset", "small", "--encoder", "timm:mobilenetv3_small_050", "--cache-gb", "0"),
    *("--set", "method.options={width=4, motion_width=16, generator_blocks=1, renormalizer_blocks=1}"),
    *("--set", "data=[{name='synthetic', options={identities=2, test_identities=20, takes=2, frames=2}}]"),
    *("--set", "pairs=2", "--set", "size=32", "--set", "log_every=1", "--set", "checkpoint_every=3"),
    *("--set", "stages.direct.steps=7", "--set", "stages.expression.steps=5", "--set", "stages.identity.steps=4"),
]


class Numbers(nn.Module):
    """Networks whose every number is the step, so that files of two steps cannot be mixed up unseen."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.full((1000,), float(step)))


def in_child(work: Callable[[], object], prepare: Callable[[], object]) -> int:
    """Run `work` in a forked process that `prepare` may have doomed; return its status, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare()
            work()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def spare() -> None:
    """Doom nothing."""


def doom_at_line(number: int) -> Callable[[], None]:
    """Return what makes a process kill itself before the line of writing code with this number is run."""

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal number
        if frame.f_code.co_filename not in WRITING:
            return None
        if event == "line":
            number -= 1
            if number == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return lambda: sys.settrace(trace)


def doom_after(seconds: float) -> Callable[[], None]:
    """Return what makes a process be killed after a time, whatever it is doing."""

    def prepare() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    return prepare


# --- the writer of checkpoints ------------------------------------------------------------------


def write(run: Path, first: int, acknowledged: Path) -> None:
    """Write three checkpoints, the first of which may be there already, and note each one when it is safe."""
    for step in range(first, first + 3):
        folder = run / "checkpoints" / f"step-{step:06d}"
        tensors = {"step": torch.full((1000,), float(step))}
        model_file.save(folder, Numbers(step), tensors, {"step": step}, {}, KEEP)
        with acknowledged.open("a") as file:
            file.write(f"{step}\n")


def found(run: Path, damage: list[str]) -> int:
    """Return the step of the newest checkpoint, every file of which agrees; -1 where there is none."""
    folder = newest_whole(run, damage.append)
    if folder is None:
        return -1
    tensors, state = model_file.read_resume(folder)
    steps = {state["step"], *tensors["step"].tolist(), *load_file(folder / MODEL)["numbers"].tolist()}
    return int(steps.pop()) if len(steps) == 1 else -2


def kill_writer(run: Path, doom: Callable[[], None]) -> tuple[bool, bool]:
    """Start a writer that goes on where the last one was killed; tell whether this one was, and lost something."""
    damage: list[str] = []
    acknowledged = run / "acknowledged"
    before = max(found(run, damage), 0)
    acknowledged.write_text(f"{before if all_folders(run) else -1}\n")
    status = in_child(lambda: write(run, before, acknowledged), doom)
    safe = int(acknowledged.read_text().split()[-1])
    newest = found(run, damage)
    return status != 0, bool(damage) or not safe <= newest <= safe + 1


def writer_rows(run: Path, every: int) -> list[tuple[str, int, int]]:
    """Kill writers before every n-th line of their code until one ends by itself, and as often at random times."""
    run.mkdir()
    kill_writer(run, spare)
    started = time.monotonic()
    kill_writer(run, spare)
    seconds = time.monotonic() - started
    at_lines = []
    while not at_lines or at_lines[-1][0]:
        at_lines.append(kill_writer(run, doom_at_line(1 + every * len(at_lines))))
        if len(all_folders(run)) > CROWD:
            # Whoever is killed before the old folders are removed leaves one more, whose removal takes more lines.
            kill_writer(run, spare)
    timed = [kill_writer(run, doom_after(random.uniform(1e-4, seconds))) for _ in at_lines]
    kill_writer(run, spare)
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"latest", *(path.name for path in all_folders(run)[-KEEP:])}, f"left behind: {names}"
    return [
        (what, sum(killed for killed, _ in results), sum(lost for _, lost in results))
        for what, results in ((f"the writer, every {every} lines", at_lines), ("the writer, at random times", timed))
    ]


# --- the command --------------------------------------------------------------------------------


def pretrain(out: Path, resume: bool) -> None:
    """Run the command as `facecycle pretrain` would, without its output."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    sys.argv = ["facecycle", "pretrain", "--out", str(out), *(["--resume"] if resume else TINY)]
    command()


def run_row(work: Path, runs: int) -> tuple[str, int, int]:
    """Kill runs at random moments, half of them while they write, and resume each until it ends by itself."""
    started = time.monotonic()
    assert in_child(lambda: pretrain(work / "whole", False), spare) == 0
    seconds = time.monotonic() - started
    whole = load_file(places.find(work / "whole"))
    killed, lost = 0, 0
    for number in range(runs):
        out, status, kills = work / f"run-{number}", -1, 0
        while status < 0:
            again = (out / "config.json").exists()
            doom = doom_after(random.uniform(0.3 * seconds, seconds))
            if number % 2:
                doom = doom_at_line(random.randint(1, LINES))
            if kills == KILLS:
                doom = spare
            status = in_child(lambda out=out, again=again: pretrain(out, again), doom)
            kills += status < 0
        killed += kills
        ended = load_file(places.find(out)) if status == 0 else {}
        lost += whole.keys() != ended.keys() or any(not torch.equal(whole[name], ended[name]) for name in whole)
        shutil.rmtree(out)
    return ("facecycle pretrain, then --resume", killed, lost)


def main() -> None:
    """Print the table; exit with 1 when something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=3, help="lines of the writer between two points")
    parser.add_argument("--runs", type=int, default=12, help="runs that are killed until they end")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random.seed(given.seed)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = writer_rows(Path(folder) / "writer", given.every)
        if given.runs:
            rows.append(run_row(Path(folder), given.runs))
    print(f"{'killed':36} {'points':>8} {'losses':>8}")
    for what, points, losses in rows:
        print(f"{what:36} {points:8} {losses:8}")
    lost = sum(row[2] for row in rows)
    print(f"points tried {sum(row[1] for row in rows)}, losses {lost}")
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
