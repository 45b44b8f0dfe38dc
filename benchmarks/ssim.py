"""SSIM forward and backward, banded products against a one-channel convolution: python benchmarks/ssim.py."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from facecycle_kernels.ssim import ssim
from torch import Tensor

VIEWS, BATCH, SIZE, ROUNDS = 3, 32, 64, 9


def eager(predictions: Tensor, target: Tensor) -> Tensor:
    """SSIM with separable convolutions, all moments for every view."""
    taps = torch.exp(-((torch.arange(11) - 5.0) ** 2) / 4.5)
    taps = taps / taps.sum()

    def blur(x: Tensor) -> Tensor:
        maps = F.conv2d(x.reshape(-1, 1, SIZE, SIZE), taps.view(1, 1, 1, -1), padding=(0, 5))
        return F.conv2d(maps, taps.view(1, 1, -1, 1), padding=(5, 0)).view(x.shape)

    p, t = predictions, target.expand_as(predictions)
    mp, mt = blur(p), blur(t)
    vp, vt, cov = blur(p * p) - mp * mp, blur(t * t) - mt * mt, blur(p * t) - mp * mt
    value = (2 * mp * mt + 1e-4) * (2 * cov + 9e-4) / ((mp * mp + mt * mt + 1e-4) * (vp + vt + 9e-4))
    return value.mean(dim=(1, 2, 3, 4))


def timed(function: Callable[[Tensor, Tensor], Tensor], p: Tensor, t: Tensor) -> float:
    """Return the seconds of one forward and backward pass."""
    p.grad = None
    start = time.perf_counter()
    function(p, t).sum().backward()
    return time.perf_counter() - start


def main() -> None:
    """Check values and gradients against each other, then time in turn."""
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(VIEWS, BATCH, 3, SIZE, SIZE, generator=generator).requires_grad_()
    t = torch.randn(BATCH, 3, SIZE, SIZE, generator=generator)
    ours, theirs = ssim(p, t), eager(p, t)
    assert torch.allclose(ours, theirs, atol=1e-6)
    a, b = (torch.autograd.grad(value.sum(), p)[0] for value in (ours, theirs))
    assert torch.allclose(a, b, atol=1e-4 * float(b.abs().max()))
    new, old = [], []
    for _ in range(ROUNDS):
        new.append(timed(ssim, p, t))
        old.append(timed(eager, p, t))
    fast, slow = statistics.median(new), statistics.median(old)
    print(f"{VIEWS} views of {BATCH} x 3 x {SIZE} x {SIZE}, {torch.get_num_threads()} threads, median of {ROUNDS}")
    print(f"banded products {1000 * fast:7.0f} ms    convolutions {1000 * slow:7.0f} ms    ratio {slow / fast:.1f}")


if __name__ == "__main__":
    main()
