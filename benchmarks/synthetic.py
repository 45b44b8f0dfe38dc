"""Rendered faces per second, in batches against one by one: python benchmarks/synthetic.py."""

from __future__ import annotations

import statistics
import time

import torch

from facecycle.registry import build

COUNT = 512
ROUNDS = 5
SIZE = 64


def main() -> None:
    """Check that both ways give the same pictures, then time them in turn."""
    dataset = build("dataset", "synthetic", {"identities": 50})
    frames = list(range(COUNT))
    together, _ = dataset.images(frames, SIZE)
    alone = torch.cat([dataset.images([frame], SIZE)[0] for frame in frames[:64]])
    assert torch.equal(together[:64], alone), "a face depends on what it is rendered with"
    batched, single = [], []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        dataset.images(frames, SIZE)
        batched.append(COUNT / (time.perf_counter() - start))
        start = time.perf_counter()
        for frame in frames[:64]:
            dataset.images([frame], SIZE)
        single.append(64 / (time.perf_counter() - start))
    fast, slow = statistics.median(batched), statistics.median(single)
    spread = (max(batched) - min(batched)) / fast
    print(f"{SIZE} px, {torch.get_num_threads()} threads, median of {ROUNDS} rounds")
    print(f"batches     {fast:8.0f} images/s (spread {spread:.0%})")
    print(f"one by one  {slow:8.0f} images/s")
    print(f"ratio       {fast / slow:8.1f}")


if __name__ == "__main__":
    main()
