"""Where the time of a training step goes: python benchmarks/step_profile.py [PRESET [STAGE]].

Prints the operations of our step, of the expression stage of `paper` when left out, by their own time, and how fast its
convolutions are beside this machine's peak.
"""

from __future__ import annotations

import sys
from collections import defaultdict

from embed import peak
from step import Step, config_of
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from facecycle.machine import keep_pages

LEAST = 0.005
"""Share of the time below which an operation is not printed."""
CONVOLUTIONS = ("convolution", "mkldnn")


def main() -> None:
    """Profile the second step; the first one builds kernels."""
    keep_pages()
    name, stage = (*sys.argv[1:], *("paper", "expression")[len(sys.argv) - 1 :])
    made = Step(config_of(name), stage)
    images = made.images()

    def step() -> None:
        made.loss(images).backward()

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
    share, pairs = 100 * convolutions / total, made.config.pairs
    print(f"step of {name}, {stage}, {pairs} pairs: {total:.2f} s, {share:.0f} % of it convolutions")
    print(f"{counter.get_total_flops() / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s; peak {most / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    main()
