"""A training step of the `paper` preset against the public reference's way: python benchmarks/training.py [PAIRS].

Same weights, images and losses on both sides, zero noise, no optimizer step. Prints the ratio of times over
interleaved rounds, and how far losses and gradients are apart, with the reference's own error in float32 beside it.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable

import torch
from reference import expression_step, identity_step
from torch import Tensor, nn

from facecycle.api import Pairs
from facecycle.config import preset_layers, resolve, set_layer
from facecycle.engine.build import build_method
from facecycle.engine.objective import Objective

ROUNDS = 3
STEPS = {"expression": expression_step, "identity": identity_step}


def gradients(loss: Tensor, method: nn.Module) -> Tensor:
    """Backpropagate and return all gradients as one vector, float64."""
    method.zero_grad(set_to_none=True)
    loss.backward()
    return torch.cat([p.grad.double().flatten() for p in method.parameters() if p.grad is not None])


def timed(step: Callable[[], Tensor], method: nn.Module) -> float:
    """Return the seconds of a forward and backward pass."""
    start = time.perf_counter()
    method.zero_grad(set_to_none=True)
    step().backward()
    return time.perf_counter() - start


def compare(cycle: str, pairs: int) -> None:
    """Check one stage in float64 on few images, then time it on many."""
    layers = [*preset_layers("paper"), set_layer([f"stages.{cycle}.losses.perceptual.options.pretrained=false"])]
    config = resolve(layers)
    plain = build_method(config, weights_follow=True)
    plain.requires_grad_(False)
    for module in plain.trainable(cycle):
        module.requires_grad_(True)
    ours = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    torch.manual_seed(0)
    objective = Objective(config.stages[cycle], cycle, ours, torch.device("cpu"))
    (vgg,) = (term.loss.network for term in objective.terms if term.label == "perceptual")
    images = torch.randn(2 * pairs, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def reference(method: nn.Module, network: nn.Module, full: Tensor) -> Tensor:
        return STEPS[cycle](method, network, full)

    def fast(full: Tensor, autocast: bool) -> Tensor:
        full = full.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            total, _ = objective(ours(Pairs(*full.chunk(2)), cycle, objective.wanted, None))
        return total

    few = images[:4]
    exact_method, exact_vgg = copy.deepcopy(plain).double(), copy.deepcopy(vgg).double()
    exact_loss = reference(exact_method, exact_vgg, few.double())
    exact = gradients(exact_loss, exact_method)
    found = {
        "reference": (loss := reference(plain, vgg, few), gradients(loss, plain)),
        "float32": (loss := fast(few, False), gradients(loss, ours)),
        "bfloat16": (loss := fast(few, True), gradients(loss, ours)),
    }
    errors = {
        name: (float((loss.detach() / exact_loss.detach() - 1).abs()), float((g - exact).norm() / exact.norm()))
        for name, (loss, g) in found.items()
    }
    assert errors["float32"][0] < 1e-5, f"the losses differ by {errors['float32'][0]:.1e}"
    assert errors["float32"][1] < 2 * errors["reference"][1] + 1e-6, "the gradients differ"
    sides: dict[str, Callable[[], float]] = {
        "reference": lambda: timed(lambda: reference(plain, vgg, images), plain),
        "float32": lambda: timed(lambda: fast(images, False), ours),
        "bfloat16": lambda: timed(lambda: fast(images, True), ours),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            seconds[name].append(side())
    base = statistics.median(seconds["reference"])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        spread = (max(taken) - min(taken)) / median
        loss_error, gradient_error = errors[name]
        print(
            f"{cycle:11} {name:10} {median:7.2f} s  spread {spread:4.0%}  ratio {base / median:5.2f}  "
            f"loss off by {loss_error:.0e}, gradient by {gradient_error:.1e}",
            flush=True,
        )


def main() -> None:
    """Compare both stages."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    print(f"paper preset, {pairs} pairs, forward + backward, {torch.get_num_threads()} threads, {ROUNDS} rounds")
    for cycle in STEPS:
        compare(cycle, pairs)


if __name__ == "__main__":
    main()
