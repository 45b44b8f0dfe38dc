"""A step of the `paper` preset on a GPU against the public reference's way: python benchmarks/gpu.py [PAIRS].

The sides are those of benchmarks/training.py, and ours compiled, which is timed but not checked. Losses and gradients
are compared with a float64 step in true float32; times are of interleaved rounds, a process a side, in torch's default
precision of convolutions (TF32) on all sides.
"""

from __future__ import annotations

import statistics
import sys

import torch
from common import interleave, ratio
from training import PAIRS, STEPS, Steps, check

WARM_UP = 5
ROUNDS = 20
OURS = [["float32", "bfloat16"], ["float32, compiled", "bfloat16, compiled"]]


def main() -> None:
    """Check and compare both stages."""
    if not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device")
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {pairs} pairs, {ROUNDS} interleaved rounds")
    torch.backends.cudnn.allow_tf32 = False
    for cycle in STEPS:
        for side, (loss, gradient) in check(cycle, "cuda").items():
            print(f"{cycle:11} {side:20} loss off by {loss:.0e}, gradient by {gradient:.1e}", flush=True)
    for ours in OURS:
        for cycle in STEPS:
            sides = {name: Steps(cycle, name, pairs, "cuda") for name in ["reference", *ours]}
            interleave(sides, WARM_UP)
            taken = interleave(sides, ROUNDS)
            for name, side in sides.items():
                side.end()
                took = statistics.median(taken[name])
                print(f"{cycle:11} {name:20} {1e3 * took:7.1f} ms {side.peak / 2**20:8.0f} MiB")
            for name in ours:
                print(ratio(f"step on a GPU: {cycle}, {name}", taken["reference"], taken[name]).line(), flush=True)


if __name__ == "__main__":
    main()
