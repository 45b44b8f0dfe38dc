"""A training step of the `paper` preset against the public reference's way: python benchmarks/training.py [PAIRS].

Same weights, images and losses on both sides, zero noise, no optimizer step. Prints the ratio of times over
interleaved rounds, how far losses and gradients are from a float64 step, with the reference's own error beside them;
the same ratio where the allocator of both sides gives no page back to the system; and the peak memory of each side.
"""

from __future__ import annotations

import copy
import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict, replace

import torch
from common import Result, interleave, peak_bytes, ratio, seconds
from embed import peak
from reference import expression_step, identity_step
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from facecycle.api import Pairs
from facecycle.config import preset_layers, resolve, set_layer
from facecycle.engine.build import build_method, computes_bfloat16
from facecycle.engine.objective import Objective

PAIRS = 16
ROUNDS = 3
STEPS = {"expression": expression_step, "identity": identity_step}
TARGETS = {"float32": 1.4, "bfloat16": 2.5}
KEEPING_PAGES = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""Settings of glibc's allocator: fresh pages are a part of what a step costs."""
KEEPING_PAGES_TARGET = 1.2


class Sides:
    """The reference's step and ours, over networks with the same weights."""

    def __init__(self, cycle: str, save_memory: bool = False) -> None:
        saving = f"{{pretrained = false, save_memory = {str(save_memory).lower()}}}"
        options = [
            f"stages.{cycle}.losses.perceptual.options={saving}",
            f"method.options.save_memory={str(save_memory).lower()}",
        ]
        config = resolve([*preset_layers("paper"), set_layer(options)])
        self.cycle = cycle
        self.plain = build_method(config, weights_follow=True).requires_grad_(False)
        self.ours = copy.deepcopy(self.plain).to(memory_format=torch.channels_last)
        for module in self.ours.trainable(cycle):
            module.requires_grad_(True)
        # The reference freezes its VGG19 stems alone: stage 2 computes gradients of the generator, and drops them.
        for module in [*self.plain.trainable("expression"), *self.plain.trainable("identity")]:
            module.requires_grad_(True)
        torch.manual_seed(0)
        self.objective = Objective(config.stages[cycle], cycle, self.ours, torch.device("cpu"))
        (self.vgg,) = (term.loss.network for term in self.objective.terms if term.label == "perceptual")

    def reference(self, full: Tensor) -> Tensor:
        return STEPS[self.cycle](self.plain, self.vgg, full)

    def fast(self, full: Tensor, approximate: bool = False) -> Tensor:
        full = full.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=approximate):
            views = self.ours(Pairs(*full.chunk(2)), self.cycle, self.objective.wanted, None)
            return self.objective(views)[0]

    def errors(self, images: Tensor) -> dict[str, tuple[float, float]]:
        """Return the relative errors of loss and gradient of each side, against the reference in float64."""
        exact_method, exact_vgg = copy.deepcopy(self.plain).double(), copy.deepcopy(self.vgg).double()
        loss = STEPS[self.cycle](exact_method, exact_vgg, images.double())
        exact_loss, exact = loss.detach(), gradients(loss, exact_method, self.cycle)
        found = {
            "reference": (loss := self.reference(images), gradients(loss, self.plain, self.cycle)),
            "float32": (loss := self.fast(images), gradients(loss, self.ours, self.cycle)),
            "bfloat16": (loss := self.fast(images, True), gradients(loss, self.ours, self.cycle)),
        }
        return {
            name: (float((loss.detach() / exact_loss - 1).abs()), float((g - exact).norm() / exact.norm()))
            for name, (loss, g) in found.items()
        }


def gradients(loss: Tensor, method: nn.Module, cycle: str) -> Tensor:
    """Backpropagate and return the gradients of what a cycle trains as one vector, float64."""
    method.zero_grad(set_to_none=True)
    loss.backward()
    trained = [p for module in method.trainable(cycle) for p in module.parameters()]
    return torch.cat([p.grad.double().flatten() for p in trained])


def compare(cycle: str, pairs: int) -> list[Result]:
    """Check one stage on few images, then time it on many."""
    sides = Sides(cycle)
    images = torch.randn(2 * pairs, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    errors = sides.errors(images[:4])
    assert errors["float32"][0] < 1e-5, f"the losses differ by {errors['float32'][0]:.1e}"
    assert errors["float32"][1] < 2 * errors["reference"][1] + 1e-6, "the gradients differ"
    taken = interleave(
        {
            "reference": lambda: seconds(lambda: sides.reference(images).backward()),
            "float32": lambda: seconds(lambda: sides.fast(images).backward()),
            **(
                {"bfloat16": lambda: seconds(lambda: sides.fast(images, True).backward())}
                if computes_bfloat16()
                else {}
            ),
        },
        ROUNDS,
    )
    with FlopCounterMode(display=False) as counter:
        sides.fast(images[: len(images) // 4]).backward()
    floor = 4 * counter.get_total_flops() / max(peak() for _ in range(3))
    for name, each in taken.items():
        print(
            f"{cycle:11} {name:10} {statistics.median(each):6.2f} s, loss off by {errors[name][0]:.0e}, "
            f"gradient by {errors[name][1]:.1e}",
            flush=True,
        )
    if "bfloat16" not in taken:
        print(f"{cycle:11} bfloat16 gradient off by {errors['bfloat16'][1]:.1e}; this CPU has no instructions for it")
    results = [ratio(f"step: {cycle}, {n}", taken["reference"], taken[n], TARGETS[n]) for n in TARGETS if n in taken]
    results[0] = replace(results[0], floor=statistics.median(taken["reference"]) / floor)
    return results


def measure(pairs: int = PAIRS) -> list[Result]:
    """Compare both stages in time, under both settings of the allocator, and the first in memory."""
    results = [result for cycle in STEPS for result in compare(cycle, pairs)]
    for cycle in STEPS:
        command = [sys.executable, __file__, "--keeping-pages", cycle, str(pairs)]
        environment = {**os.environ, **KEEPING_PAGES}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        results.append(Result(**json.loads(done.stdout)))
    used = {side: _memory_of(side, pairs) for side in ("reference", "fast", "saving")}
    print(", ".join(f"{side} {bytes_ / 1024**3:.2f} GiB" for side, bytes_ in used.items()))
    for name, side, target in (("memory: step", "fast", 1.0), ("memory: step, save_memory", "saving", 2.0)):
        least = used["reference"] / used[side]
        results.append(Result(name, least, least, least, target))
    return results


def _print_ratio(cycle: str, pairs: int) -> None:
    sides = Sides(cycle)
    images = torch.randn(2 * pairs, 3, 64, 64)
    taken = interleave(
        {
            "reference": lambda: seconds(lambda: sides.reference(images).backward()),
            "float32": lambda: seconds(lambda: sides.fast(images).backward()),
        },
        ROUNDS,
    )
    name = f"step: {cycle}, float32, pages kept"
    print(json.dumps(asdict(ratio(name, taken["reference"], taken["float32"], KEEPING_PAGES_TARGET))))


def _memory_of(side: str, pairs: int) -> int:
    """Return what a step adds to the peak memory of a process of its own, in bytes."""
    command = [sys.executable, __file__, "--memory", side, str(pairs)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def _print_memory(side: str, pairs: int) -> None:
    sides = Sides("expression", save_memory=side == "saving")
    images = torch.randn(2 * pairs, 3, 64, 64)
    before = peak_bytes()
    (sides.reference if side == "reference" else sides.fast)(images).backward()
    print(peak_bytes() - before)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        _print_memory(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["--keeping-pages"]:
        _print_ratio(sys.argv[2], int(sys.argv[3]))
    else:
        for result in measure(*map(int, sys.argv[1:2])):
            print(result.line())
