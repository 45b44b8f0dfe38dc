"""A seeded handful of the fuzzer's inputs on every reader: only our own errors come out, within bounds."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from fuzz.harness import Target, try_inputs

TARGETS: list[Target] = [
    target
    for path in sorted((Path(__file__).parent / "fuzz" / "targets").glob("*.py"))
    for target in importlib.import_module(f"fuzz.targets.{path.stem}").TARGETS
]
INPUTS = 30
"""For a target of share 1; `make fuzz` tries some hundred times as many."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_inputs_give_a_result_or_one_clear_error(target: Target) -> None:
    tally = try_inputs(target, max(1, round(INPUTS * target.share)), first_seed=1000)
    assert not tally.faults, "\n".join(f"{fault}\n{shortest}" for fault, (_, shortest) in tally.faults.items())
    assert tally.tried > 0
