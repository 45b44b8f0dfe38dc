"""A step of each stage of `small` in bfloat16 beside float32: python benchmarks/bfloat16.py [SEED...].

Prints the ratio of their times on one thread, and how far losses and gradients are off. With seeds, the `demo` preset
is trained from each of them in both precisions, and what its features are worth is printed side by side, in hours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from common import Result, interleave, ratio
from step import Step, config_of

from facecycle.api import Pairs
from facecycle.machine import computes_bfloat16, keep_pages
from facecycle.pretraining.optimizer import make_optimizer
from facecycle.pretraining.step import take_step, training_step

PAIRS = 16
ROUNDS = 5
STAGES = ("direct", "expression", "identity")
TASKS = ("pose", "emotion", "verify")


def stage_ratio(stage: str) -> Result:
    """Print how far bfloat16 is off in a stage, and return how much faster its step is, optimizer included."""
    config = config_of("small", f"stages.{stage}.pairs={PAIRS}", f"pairs={PAIRS}")
    made = Step(config, stage)
    optimizer = make_optimizer(config.stages[stage].optimizer, made.parameters)
    pairs = Pairs(*made.images().chunk(2))

    def gradients(approximate: bool) -> tuple[torch.Tensor, float]:
        optimizer.zero_grad(set_to_none=True)
        losses, _ = training_step(made.method, made.objective, pairs, config, 0, 0, approximate)
        return torch.cat([p.grad.flatten() for p in made.parameters if p.grad is not None]), losses["total"].item()

    def step(approximate: bool) -> float:
        start = time.process_time()
        take_step(made.method, made.objective, optimizer, pairs, config, 0, approximate)
        return time.process_time() - start

    (exact, loss), (rounded, near) = gradients(False), gradients(True)
    off = ((exact - rounded).norm() / exact.norm()).item()
    taken = interleave({"float32": partial(step, False), "bfloat16": partial(step, True)}, ROUNDS)
    seconds = ", ".join(f"{name} {min(times):.2f} s" for name, times in taken.items())
    print(f"{stage}: {seconds}; gradient {100 * off:.1f} % off, loss {100 * abs(near / loss - 1):.2f} %", flush=True)
    return ratio(f"bfloat16: {stage}", taken["float32"], taken["bfloat16"], target=1.5)


def probes(precision: str, seed: int, folder: Path) -> dict[str, float]:
    """Train the demo's preset, and return the main figure of every feature of every probe."""

    def facecycle(*arguments: object) -> None:
        subprocess.run([sys.executable, "-m", "facecycle_cli", *map(str, arguments)], check=True, capture_output=True)

    run = folder / f"{precision}-{seed}"
    facecycle("pretrain", "--encoder", "resnet18", "--seed", seed, "--set", f"precision={precision}", "--out", run)
    found = {}
    for task in TASKS:
        facecycle("probe", "--task", task, "--checkpoint", run, "--out", run / task)
        for row in json.loads((run / task / "result.json").read_text())["rows"]:
            name, value = next(iter(row["metrics"].items()))
            found[f"{task} {row['feature']}, {name}"] = value
    return found


def measure() -> list[Result]:
    """Time every stage, where the processor has instructions for bfloat16."""
    if not computes_bfloat16():
        print("bfloat16: this processor has no instructions for it")
        return []
    keep_pages()
    torch.set_num_threads(1)
    return [stage_ratio(stage) for stage in STAGES]


def main() -> None:
    """Print the ratios, and for each seed what trained features are worth."""
    for result in measure():
        print(result.line())
    for seed in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            exact, rounded = (probes(precision, seed, Path(folder)) for precision in ("float32", "bfloat16"))
        print(f"seed {seed}: trained in float32 and in bfloat16")
        for name in exact:
            print(f"  {name:60} {exact[name]:8.3f} {rounded[name]:8.3f}", flush=True)


if __name__ == "__main__":
    main()
