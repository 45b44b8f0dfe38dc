"""A seeded handful of the fuzzer's inputs on every reader: only our own errors come out, within bounds."""

from __future__ import annotations

import importlib
import mmap
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fuzz import harness
from fuzz.harness import Tally, Target, try_inputs
from hypothesis import strategies as st

TARGETS: list[Target] = [
    target
    for path in sorted((Path(__file__).parent / "targets").glob("*.py"))
    for target in importlib.import_module(f"fuzz.targets.{path.stem}").TARGETS
]
INPUTS = 15
"""For a target of share 1; `make fuzz` tries some thirty times as many."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_inputs_give_a_result_or_one_clear_error(target: Target) -> None:
    tally = try_inputs(target, max(1, round(INPUTS * target.share)), first_seed=1000)
    assert not tally.faults, "\n".join(f"{fault}\n{shortest}" for fault, (_, shortest) in tally.faults.items())
    assert tally.tried > 0


def _spin(value: Any, folder: Path) -> None:
    while True:
        pass


def _wait(value: Any, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "pipe").read_bytes()


def _grow(value: Any, folder: Path) -> None:
    # Straight from the system: the allocator may have pages that a training run in this process told it to keep.
    with mmap.mmap(-1, 300 * 1024**2) as pages:
        pages.write(b"x" * len(pages))


def _leave(value: Any, folder: Path) -> None:
    (folder.parent.parent / f"{folder.parent.name}-beside").mkdir()
    (folder.parent.parent / f"{folder.parent.name}-beside").rmdir()


def _start(value: Any, folder: Path) -> None:
    subprocess.run(["true"], check=True)


def _raise(value: Any, folder: Path) -> None:
    raise ValueError("no error of ours")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_spin, "no end after"),
        (_wait, "no end after"),
        (_grow, "grew by more than 256 MiB"),
        (_leave, "reached outside its folder: os.mkdir"),
        (_start, "reached outside its folder: subprocess.Popen"),
        (_raise, "ValueError from"),
    ],
)
def test_every_rule_is_watched_over(fault: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "PATIENCE", 3)
    tally = Tally()
    harness._attempt(Target("rule/broken", st.none(), fault, None, seconds=0.5), None, tally)
    assert any(found.startswith(said) for found in tally.faults), tally.faults
