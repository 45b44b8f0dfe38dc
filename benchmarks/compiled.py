"""A training step of `small` with its networks compiled, against one as they are: python benchmarks/compiled.py.

Needs a C++ compiler where there is no GPU. Prints the seconds that compiling took, and the ratio of steps after it.
"""

from __future__ import annotations

import torch
from common import interleave, ratio, seconds
from step import Step, config_of

from facecycle.machine import keep_pages
from facecycle.networks import choose_device

ROUNDS = 5


class Side:
    """Steps of the expression stage, on images and with weights that are the same on both sides."""

    def __init__(self, compiled: bool) -> None:
        self.taken = Step(config_of("small"), device=str(choose_device()))
        if compiled:
            self.taken.method.compile(mode="reduce-overhead")
        self.images = self.taken.images()

    def step(self) -> float:
        """Take a step and return its loss."""
        torch.compiler.cudagraph_mark_step_begin()
        total = self.taken.loss(self.images, torch.Generator().manual_seed(0))
        self.taken.method.zero_grad()
        total.backward()
        return total.item()


def main() -> None:
    """Check that both sides compute the same loss, then time them in turn."""
    keep_pages()
    plain, compiled = Side(False), Side(True)
    expected = plain.step()
    losses: list[float] = []
    print(f"first step, compiled: {seconds(lambda: losses.append(compiled.step())):.0f} s")
    assert abs(losses[0] / expected - 1) < 1e-4, f"the losses differ: {losses[0]} and {expected}"
    sides = {"plain": lambda: seconds(plain.step), "compiled": lambda: seconds(compiled.step)}
    interleave(sides, 1)
    taken = interleave(sides, ROUNDS)
    print(ratio("step of small: compiled", taken["plain"], taken["compiled"]).line())


if __name__ == "__main__":
    main()
