"""Fused ops against the plain-torch composition, forward and backward: python benchmarks/ops.py.

Prints a row an op and shape: the ratio of medians of interleaved runs (more than 1: the op is faster), the bytes
the op has to move, and how fast it moves them. Each row is checked before it is timed. Runs on CUDA where there is
one, else on the CPU. On CUDA a second row, not interleaved, has the times of replayed graphs, without what Python
takes to launch them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from facecycle_kernels.flow_warp import flow_warp
from facecycle_kernels.flow_warp.reference import flow_warp as flow_warp_reference
from facecycle_kernels.renormalize import renormalize
from facecycle_kernels.renormalize.reference import renormalize as renormalize_reference
from facecycle_kernels.ssim import ssim
from facecycle_kernels.ssim.reference import ssim as ssim_reference
from torch import Tensor

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ROUNDS = 15
TOLERANCE = 1e-2


@dataclass
class Case:
    """An op, its reference and inputs; `bytes` is what forward and backward must read and write at least."""

    name: str
    op: Callable[..., Tensor]
    reference: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    bytes: int


def leaf(*shape: int, scale: float = 1.0, wants: bool = True) -> Tensor:
    """Return N(0, scale²) on the device."""
    return (torch.randn(*shape, device=DEVICE) * scale).requires_grad_(wants)


def cases() -> list[Case]:
    """Return the shapes of training: 16 pairs at 64 px, and maps of the generator and the renormalizer."""
    found = []
    for shape in ((32, 3, 64, 64), (32, 32, 32, 32), (32, 128, 32, 32), (32, 256, 16, 16)):
        x, flow = leaf(*shape), leaf(shape[0], 2, 16, 16, scale=0.2)
        moved = 4 * (5 * x.numel() + 3 * flow.numel() + 4 * x.numel() // shape[1])
        found.append(Case(f"flow_warp {shape}", flow_warp, flow_warp_reference, (x, flow), moved))
    for shape in ((32, 64, 16, 16), (32, 256, 16, 16), (32, 128, 32, 32)):
        for spatial in (False, True):
            x = leaf(*shape)
            gamma, beta = (leaf(*(shape if spatial else (*shape[:2], 1, 1))) for _ in range(2))
            kind = "spatial" if spatial else "per channel"
            # A spatial beta's gradient is the result's own.
            moved = 4 * (5 * x.numel() + (4 if spatial else 5) * gamma.numel())
            name = f"renormalize {shape} {kind}"
            found.append(Case(name, renormalize, renormalize_reference, (x, gamma, beta), moved))
    for views in (1, 3):
        predictions, target = leaf(views, 32, 3, 64, 64), leaf(32, 3, 64, 64, wants=False)
        moved = 4 * (9 * predictions.numel() + 2 * target.numel())
        found.append(Case(f"ssim {views} x (32, 3, 64, 64)", ssim, ssim_reference, (predictions, target), moved))
    return found


def step(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], grad: Tensor) -> tuple[Tensor, ...]:
    """Run forward and backward; return the result and the gradients."""
    out = function(*inputs)
    return out.detach(), *torch.autograd.grad(out, [t for t in inputs if t.requires_grad], grad)


def seconds(run: Callable[[], object]) -> float:
    """Return the wall-clock time of a call."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def on_device(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], grad: Tensor) -> float:
    """Return the seconds of forward and backward as a replayed CUDA graph: without what Python takes to launch them."""
    from triton.testing import do_bench

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(function, inputs, grad)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(function, inputs, grad)
    return do_bench(graph.replay, return_mode="median") / 1e3


def copy_bandwidth() -> float:
    """Return the bytes a second at which a large tensor is read and written."""
    x = torch.zeros(64 * 2**20, device=DEVICE)
    y = torch.empty_like(x)
    if DEVICE.type == "cuda":
        from triton.testing import do_bench

        taken = do_bench(lambda: y.copy_(x), return_mode="median") / 1e3
    else:
        taken = statistics.median(seconds(lambda: y.copy_(x)) for _ in range(7))
    return 2 * x.numel() * 4 / taken


def check(case: Case, grad: Tensor) -> None:
    """Raise unless op and reference agree in true float32."""
    torch.backends.cudnn.allow_tf32 = False
    for mine, wanted in zip(step(case.op, case.inputs, grad), step(case.reference, case.inputs, grad), strict=True):
        # Not by the largest: where a pixel samples just beside an integer, rounding decides on the flow's gradient.
        assert (mine - wanted).norm() <= TOLERANCE * wanted.norm(), case.name
    torch.backends.cudnn.allow_tf32 = True


def main() -> None:
    """Check, time and print every case."""
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}: copies at {copy_bandwidth() / 1e9:.1f} GB/s; {ROUNDS} interleaved rounds of forward + backward")
    print(f"{'':42} {'torch':>9} {'op':>9} {'ratio':>6} {'spread':>7} {'MB':>7} {'GB/s':>8}")
    for case in cases():
        torch.manual_seed(0)
        grad = torch.randn_like(case.reference(*case.inputs))
        check(case, grad)
        pairs = []
        for _ in range(ROUNDS):
            eager = seconds(lambda case=case, grad=grad: step(case.reference, case.inputs, grad))
            pairs.append((eager, seconds(lambda case=case, grad=grad: step(case.op, case.inputs, grad))))
        eager, fused = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(a / b for a, b in pairs)
        spread = (ratios[-4] - ratios[3]) / 2 / statistics.median(ratios)
        print(
            f"{case.name:42} {eager * 1e3:6.2f} ms {fused * 1e3:6.2f} ms {eager / fused:6.2f} {spread:6.0%} "
            f"{case.bytes / 1e6:7.1f} {case.bytes / fused / 1e9:8.1f}",
            flush=True,
        )
        if DEVICE.type == "cuda":
            eager, fused = (on_device(f, case.inputs, grad) for f in (case.reference, case.op))
            row = f"{'    on the device':42} {eager * 1e3:6.3f} ms {fused * 1e3:6.3f} ms {eager / fused:5.2f}"
            print(f"{row} {case.bytes / fused / 1e9:24.1f}", flush=True)


if __name__ == "__main__":
    main()
