"""NT-Xent of 256 pairs, forward and backward, ours against pytorch-metric-learning: python benchmarks/contrastive.py.

Prints seconds of one thread and the memory beyond what was there before. Both have to agree to 1e-5.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable

import torch
from common import peak_bytes
from torch import Tensor

from facecycle.registry import build

PAIRS, WIDTH, TEMPERATURE = 256, 128, 0.1


def ours(first: Tensor, second: Tensor) -> Tensor:
    """Return the loss as the plugin computes it."""
    return build("loss", "nt-xent", {"temperature": TEMPERATURE})(second[None], first).sum()


def theirs(first: Tensor, second: Tensor) -> Tensor:
    """Return the loss as the library computes it."""
    from pytorch_metric_learning.losses import NTXentLoss

    return NTXentLoss(TEMPERATURE)(torch.cat([first, second]), torch.arange(len(first)).repeat(2))


def measured(loss: Callable[[Tensor, Tensor], Tensor]) -> tuple[float, float, float]:
    """Return the value, the seconds of a step, and the MiB that it takes."""
    torch.set_num_threads(1)
    source = torch.Generator().manual_seed(0)
    first, second = (torch.randn(PAIRS, WIDTH, generator=source).requires_grad_() for _ in range(2))
    loss(first[:2], second[:2]).backward()  # imports, and the plugin's first look-up
    before, start = peak_bytes(), time.process_time()
    value = loss(first, second)
    value.backward()
    return value.item(), time.process_time() - start, (peak_bytes() - before) / 2**20


def main() -> None:
    """Measure each in a process of its own, because the peak of memory never falls."""
    found = {}
    for side in (ours, theirs):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[side.__name__] = pool.apply(measured, (side,))
        value, seconds, memory = found[side.__name__]
        print(f"{side.__name__:7} loss {value:.6f}, {1000 * seconds:.0f} ms, {memory:.0f} MiB", flush=True)
    assert abs(found["ours"][0] / found["theirs"][0] - 1) < 1e-5, "the losses differ"


if __name__ == "__main__":
    main()
