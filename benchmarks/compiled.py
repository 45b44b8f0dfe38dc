"""A training step of `small` with its networks compiled, against one as they are: python benchmarks/compiled.py.

Needs a C++ compiler where there is no GPU. Prints the seconds that compiling took, and the ratio of steps after it.
"""

from __future__ import annotations

import torch
from common import interleave, ratio, seconds

from facecycle.api import Pairs
from facecycle.config.layers import preset_layers, resolve
from facecycle.device import keep_pages
from facecycle.networks import build_method, choose_device
from facecycle.pretraining.objective import Objective

ROUNDS = 5


class Side:
    """Steps of the expression stage, on images and with weights that are the same on both sides."""

    def __init__(self, compiled: bool) -> None:
        config = resolve(preset_layers("small"))
        device = choose_device()
        self.method = build_method(config).to(device, memory_format=torch.channels_last)
        for module in self.method.trainable("expression"):
            module.train()
        if compiled:
            self.method.compile(mode="reduce-overhead")
        self.objective = Objective(config.stages["expression"], "expression", self.method, device)
        images = torch.randn(2 * config.pairs, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(device)
        self.pairs = Pairs(*images.contiguous(memory_format=torch.channels_last).chunk(2))

    def step(self) -> float:
        """Take a step and return its loss."""
        torch.compiler.cudagraph_mark_step_begin()
        views = self.method(self.pairs, "expression", self.objective.wanted, torch.Generator().manual_seed(0))
        total = self.objective(views)[0]
        self.method.zero_grad()
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
