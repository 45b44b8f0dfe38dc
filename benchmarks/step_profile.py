"""Where the time of a training step goes: python benchmarks/step_profile.py [PRESET], `paper` when left out.

Prints the operations of our step of the expression stage by their own time, and how fast its convolutions are beside
this machine's peak.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import torch
from embed import peak
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from facecycle.api import Pairs
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.device import keep_pages
from facecycle.networks import build_method
from facecycle.pretraining.objective import Objective

LEAST = 0.005
"""Share of the time below which an operation is not printed."""
CONVOLUTIONS = ("convolution", "mkldnn")


def main() -> None:
    """Profile the second step; the first one builds kernels."""
    keep_pages()
    name = sys.argv[1] if len(sys.argv) > 1 else "paper"
    random = ["stages.expression.losses.perceptual.options.pretrained=false"] if name in {"paper", "base"} else []
    config = resolve([*preset_layers(name), set_layer(random)])
    method = build_method(config, weights_follow=True).to(memory_format=torch.channels_last).requires_grad_(False)
    for module in method.trainable("expression"):
        module.requires_grad_(True)
    objective = Objective(config.stages["expression"], "expression", method, torch.device("cpu"))
    images = torch.randn(2 * config.pairs, 3, 64, 64).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        objective(method(Pairs(*images.chunk(2)), "expression", objective.wanted, None))[0].backward()

    with FlopCounterMode(display=False) as counter:
        step()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        step()
    times: dict[str, float] = defaultdict(float)
    for event in found.key_averages():
        times[event.key] += event.self_cpu_time_total / 1e6
    total = sum(times.values())
    for key, taken in sorted(times.items(), key=lambda item: -item[1]):
        if taken > LEAST * total:
            print(f"{key:45} {taken:7.2f} s {100 * taken / total:5.1f} %")
    convolutions = sum(taken for key, taken in times.items() if any(part in key for part in CONVOLUTIONS))
    most = max(peak() for _ in range(3))
    rate = counter.get_total_flops() / convolutions
    print(f"step of {name}, {config.pairs} pairs: {total:.2f} s, {100 * convolutions / total:.0f} % of it convolutions")
    print(f"{counter.get_total_flops() / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s; peak {most / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
