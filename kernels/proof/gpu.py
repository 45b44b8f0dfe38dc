"""Level 5: the kernels on a GPU, where there is one: what the other levels check, and what only a GPU shows.

Usage: python kernels/proof/gpu.py; it ends with 77 where torch finds no CUDA device.
"""

from __future__ import annotations

import os

os.environ.pop("TRITON_INTERPRET", None)

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import checking
import flow_warp
import reference
import renormalize
import ssim
import torch
from ops import OPS, check_drawn
from ops import kernels as kernels_of_ops
from torch import Tensor

SKIPPED = 77
REPEATS = 100
ROOM = 24e9
"""Bytes of the largest tensors, of which four are there at a time, and some."""


class NoRoom(Exception):
    """The card's memory is too small for a group of checks."""


def listed(kernels: dict[str, ModuleType]) -> None:
    """The interpreter's checks, and maps as large as in training, where programs run beside each other."""
    for op, module in OPS.items():
        for check in module.CHECKS:
            check.run(kernels[op])
    # More pixels than this have no flow that keeps all of them away from integers.
    for images, channels, side in ((1, 3, 64), (4, 32, 32), (4, 128, 32), (16, 256, 16)):
        for last in (False, True):
            shape = (images, channels, side, side)
            flow_warp.check(kernels["flow_warp"], shape, (16, 16), channels_last=last, spread=0.2)
            for spatial in (False, True):
                renormalize.check(kernels["renormalize"], (32, channels, side, side), spatial, last)
    ssim.check(kernels["ssim"], (3, 32, 3, 64, 64))


def shapes(_: dict[str, ModuleType]) -> None:
    """Random shapes."""
    check_drawn(15)


def results(kernels: dict[str, ModuleType]) -> Iterator[tuple[str, Callable[[], Tensor], float]]:
    """Yield what a kernel computes at sizes of training, and how far two runs may differ, of the largest value."""
    x, grad = (checking.numbers(32, 64, 32, 32, seed=seed) for seed in (0, 1))
    flow = checking.numbers(32, 2, 16, 16, seed=2) * 0.2
    gamma, beta = (checking.numbers(32, 64, 1, 1, seed=seed) for seed in (3, 4))
    predictions, target = checking.numbers(3, 32, 3, 64, 64, seed=5), checking.numbers(32, 3, 64, 64, seed=6)
    warp, norm, similarity = kernels["flow_warp"], kernels["renormalize"], kernels["ssim"]
    _, mean, rstd = norm.forward(x, gamma, beta)
    _, maps = similarity.forward(predictions, target, True)
    weights = torch.ones(3, device=checking.DEVICE)
    yield "warped", lambda: warp.forward(x, flow, False), 0
    yield "gradient of the warped image", lambda: warp.backward(grad, x, flow, False, True, False)[0], 1e-5
    yield "gradient of the flow", lambda: warp.backward(grad, x, flow, False, False, True)[1], 0
    yield "renormalized", lambda: norm.forward(x, gamma, beta)[0], 0
    for place, name in enumerate(("x", "gamma", "beta")):
        yield f"gradient of {name}", lambda p=place: norm.backward(grad, x, gamma, mean, rstd)[p], 0
    yield "ssim", lambda: similarity.forward(predictions, target, False)[0], 0
    yield "gradient of ssim", lambda: similarity.backward(weights, predictions, target, maps), 0


def races(kernels: dict[str, ModuleType]) -> None:
    """A hundred runs in float32 give the same bits; the image's gradient, added with atomics, all but the last ones."""
    for name, compute, tolerance in results(kernels):
        first = compute()
        for _ in range(REPEATS):
            if tolerance:
                checking.agree(name, compute(), first, tolerance)
            elif not torch.equal(compute(), first):
                raise checking.Wrong(f"{name}: two runs differ")


def offsets(kernels: dict[str, ModuleType]) -> None:
    """Past 2^31 numbers the last image is warped and renormalized, with the flow's and the map's gradient, as alone."""
    if torch.cuda.mem_get_info()[0] < ROOM:
        raise NoRoom(f"needs {ROOM / 1e9:.0f} GB of free memory")
    x = torch.randn(33, 64, 1024, 1024, dtype=torch.float16, device=checking.DEVICE)
    flow = torch.randn(33, 2, 16, 16, device=checking.DEVICE) * 0.1
    gamma, beta = torch.randn(2, 33, 64, 1, 1, dtype=torch.float16, device=checking.DEVICE).unbind()
    alone = [t[-1:].clone() for t in (x, flow, gamma, beta)]
    warp, norm = kernels["flow_warp"], kernels["renormalize"]
    checking.agree("warped", warp.forward(x, flow, False)[-1:], warp.forward(*alone[:2], False), 1e-3)
    _, grads = warp.backward(x, x, flow, False, False, True)
    checking.agree("gradient of flow", grads[-1:], warp.backward(alone[0], *alone[:2], False, False, True)[1], 1e-3)
    out, mean, rstd = norm.forward(x, gamma, beta)
    wanted, its_mean, its_rstd = norm.forward(alone[0], *alone[2:])
    checking.agree("renormalized", out[-1:], wanted, 1e-3)
    found = norm.backward(x, x, gamma, mean, rstd)[0][-1:]
    checking.agree("gradient", found, norm.backward(alone[0], alone[0], alone[2], its_mean, its_rstd)[0], 1e-3)


def on_gpu(inputs: Any) -> list[Any]:
    """Return an op's arguments on the GPU."""
    moved = [t.detach().to(checking.DEVICE) if isinstance(t, Tensor) else t for t in inputs]
    return [t.requires_grad_() if isinstance(t, Tensor) else t for t in moved]


def ops(_: dict[str, ModuleType]) -> None:
    """The public ops pass opcheck, differentiate, and compile with inductor into one graph, in float32."""
    for call in reference.calls(torch.float32):
        found = on_gpu(call.inputs)
        torch.library.opcheck(call.registered.default, (*found, *call.extra))
        leaves = [t for t in found if isinstance(t, Tensor)]
        wide = [t.detach().double().requires_grad_() if isinstance(t, Tensor) else t for t in found]
        wanted = call.formula(*wide)
        grad = checking.numbers(*wanted.shape, seed=9)
        exact = torch.autograd.grad(wanted, [t for t in wide if isinstance(t, Tensor)], grad.double())
        for way in (call.op, torch.compile(call.op, fullgraph=True)):
            out = way(*found)
            checking.agree(call.name, out, wanted, 1e-4)
            for mine, its in zip(torch.autograd.grad(out, leaves, grad), exact, strict=True):
                checking.agree(f"gradient of {call.name}", mine, its, 1e-4)


def main() -> int:
    """Run every group of checks up to its first failure; print what failed."""
    if not torch.cuda.is_available():
        print("gpu: not run, because torch finds no CUDA device")
        return SKIPPED
    kernels = kernels_of_ops()
    checks = (listed, shapes, races, offsets, ops)
    failed = left_out = 0
    for check in checks:
        try:
            check(kernels)
        except NoRoom as error:
            left_out += 1
            print(f"--  {check.__name__}: {error}", flush=True)
        except Exception as error:  # noqa: BLE001 - report all, then fail
            failed += 1
            print(f"WRONG  {check.__name__}: {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok  {check.__name__}: {(check.__doc__ or '').strip()}", flush=True)
    where = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    print(f"gpu: {len(checks) - failed - left_out} of {len(checks)} groups of checks passed on {where}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
