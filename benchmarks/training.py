"""A training step of the `paper` preset against the public reference's way: python benchmarks/training.py [PAIRS].

Same weights, images and losses on both sides, zero noise, no optimizer step. Prints how far losses and gradients are
from a float64 step, with the reference's own error beside them; the ratio of times over interleaved rounds, a process
a side, each with the allocator it has in use: ours keeps its pages, the reference runs under Python's defaults; the
same where both keep them; and the ratio of peak memory.
"""

from __future__ import annotations

import copy
import json
import statistics
import subprocess
import sys
from dataclasses import replace

import torch
from common import Result, interleave, peak_bytes, ratio, seconds
from embed import peak
from reference import expression_step, identity_step
from step import Step, config_of
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from facecycle.machine import computes_bfloat16, keep_pages
from facecycle.networks import build_method

PAIRS = 16
FEWEST = 4
ROUNDS = 3
STEPS = {"expression": expression_step, "identity": identity_step}
TARGETS = {"float32": 1.4, "float32, both keep pages": 1.2, "bfloat16": 2.5}
MEMORY_TARGETS = {"float32": 1.0, "save_memory": 2.0}


class Sides:
    """The reference's step and ours, over networks with the same weights."""

    def __init__(self, cycle: str, save_memory: bool = False, device: str = "cpu") -> None:
        config = config_of("paper", f"method.options.save_memory={str(save_memory).lower()}")
        self.cycle = cycle
        self.plain = build_method(config, weights_follow=True).to(device).requires_grad_(False)
        self.ours = Step(config, cycle, copy.deepcopy(self.plain), device)
        # The reference freezes its VGG19 stems alone: stage 2 computes gradients of the generator, and drops them.
        for module in [*self.plain.trainable("expression"), *self.plain.trainable("identity")]:
            module.requires_grad_(True)
        self.vgg = self.ours.objective.terms["perceptual"].loss.network

    def reference(self, full: Tensor) -> Tensor:
        return STEPS[self.cycle](self.plain, self.vgg, full)

    def errors(self, images: Tensor) -> dict[str, tuple[float, float]]:
        """Return the relative errors of loss and gradient of each side, against the reference in float64."""
        exact_method, exact_vgg = copy.deepcopy(self.plain).double(), copy.deepcopy(self.vgg).double()
        loss = STEPS[self.cycle](exact_method, exact_vgg, images.double())
        exact_loss, exact = loss.detach(), gradients(loss, exact_method, self.cycle)
        ours = self.ours.method
        found = {
            "reference": (loss := self.reference(images), gradients(loss, self.plain, self.cycle)),
            "float32": (loss := self.ours.loss(images), gradients(loss, ours, self.cycle)),
            "bfloat16": (
                loss := self.ours.loss(images, approximate=True),
                gradients(loss, ours, self.cycle),
            ),
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


def check(cycle: str, device: str = "cpu") -> dict[str, tuple[float, float]]:
    """Return the errors of loss and gradient by side; raise where ours are not the reference's own."""
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    errors = Sides(cycle, device=device).errors(images.to(device))
    assert errors["float32"][0] < 1e-5, f"the losses differ by {errors['float32'][0]:.1e}"
    assert errors["float32"][1] < 2 * errors["reference"][1] + 1e-6, "the gradients differ"
    return errors


class Steps:
    """A process that takes steps of one side when asked to; `peak` is what the largest took in memory."""

    def __init__(self, cycle: str, side: str, pairs: int, device: str = "cpu") -> None:
        command = [sys.executable, __file__, "--serve", cycle, side, str(pairs), device]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.peak = 0

    def __call__(self) -> float:
        """Take a step; return its seconds."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        taken = json.loads(self.process.stdout.readline())
        self.peak = taken["peak"]
        return taken["seconds"]

    def end(self) -> None:
        self.process.communicate()


def _serve(cycle: str, side: str, pairs: int, device: str) -> None:
    if side not in {"reference", "save_memory"}:
        keep_pages()
    sides = Sides(cycle, save_memory=side == "save_memory", device=device)
    if side.endswith("compiled"):
        sides.ours.method.compile(mode="reduce-overhead")
    images = torch.randn(2 * pairs, 3, 64, 64, device=device)
    memory, wait = peak_bytes, (lambda: None)
    if device == "cuda":
        memory, wait = torch.cuda.max_memory_allocated, torch.cuda.synchronize
    before = memory()

    def step() -> None:
        if device == "cuda":
            torch.compiler.cudagraph_mark_step_begin()
        if side.startswith("reference"):
            sides.reference(images).backward()
        else:
            sides.ours.loss(images, approximate=side.startswith("bfloat16")).backward()
        wait()

    for _ in sys.stdin:
        print(json.dumps({"seconds": seconds(step), "peak": memory() - before}), flush=True)


def compare(cycle: str, pairs: int) -> list[Result]:
    """Check one stage, then measure its time and memory."""
    errors = check(cycle)
    names = ["reference", "reference, pages kept", "float32", *(["bfloat16"] if computes_bfloat16() else [])]
    names += ["save_memory"] if cycle == "expression" else []
    processes = {name: Steps(cycle, name, pairs) for name in names}
    interleave(processes, 1)  # the first step of a process builds its kernels
    taken = interleave(processes, ROUNDS)
    for process in processes.values():
        process.end()
    for name, each in taken.items():
        wrong = errors.get(name)
        print(
            f"{cycle:11} {name:22} {statistics.median(each):6.2f} s  {processes[name].peak / 1024**3:5.2f} GiB"
            + (f"  loss off by {wrong[0]:.0e}, gradient by {wrong[1]:.1e}" if wrong else ""),
            flush=True,
        )
    if "bfloat16" not in taken:
        print(f"{cycle:11} bfloat16 gradient off by {errors['bfloat16'][1]:.1e}; this CPU has no instructions for it")
    floor = _floor(cycle, pairs)
    results = []
    for name, target in TARGETS.items():
        side, _, _ = name.partition(", both keep pages")
        if side in taken:
            baseline = taken["reference, pages kept" if name != side else "reference"]
            least = statistics.median(baseline) / floor if side == "float32" else None
            results.append(replace(ratio(f"step: {cycle}, {name}", baseline, taken[side], target), floor=least))
    for name, target in MEMORY_TARGETS.items():
        if name in processes:
            less = processes["reference"].peak / processes[name].peak
            results.append(Result(f"memory of a step: {cycle}, {name}", less, less, less, target))
    return results


def _floor(cycle: str, pairs: int) -> float:
    """Return the seconds that the arithmetic of our step takes at this machine's peak."""
    with FlopCounterMode(display=False) as counter:
        Sides(cycle).ours.loss(torch.randn(pairs // 2, 3, 64, 64)).backward()
    return 4 * counter.get_total_flops() / max(peak() for _ in range(3))


def measure(pairs: int = PAIRS) -> list[Result]:
    """Compare both stages."""
    if pairs < FEWEST:
        sys.exit(f"{pairs} pairs take too little memory to compare; take {FEWEST} or more")
    return [result for cycle in STEPS for result in compare(cycle, pairs)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        _serve(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    else:
        for result in measure(*map(int, sys.argv[1:2])):
            print(result.line())
