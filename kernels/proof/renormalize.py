"""renormalize: its checks against the reference in float64, and the faults that they must catch."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from checking import Call, Check, Launch, Mutant, agree, askew, double, draw, fenced_outputs, meta, numbers
from facecycle_kernels.renormalize.op import renormalize
from facecycle_kernels.renormalize.reference import EPS
from facecycle_kernels.renormalize.reference import renormalize as formula
from hypothesis import strategies as st


def check(
    kernels: ModuleType, shape: tuple[int, ...], spatial: bool, channels_last: bool = False,
    dtype: torch.dtype = torch.float32, mean: float = 0.0, seed: int = 0, skew: bool = False,
) -> None:  # fmt: skip
    """Forward and all gradients."""
    modulation = shape if spatial else (*shape[:2], 1, 1)
    x = numbers(*shape, seed=seed, dtype=dtype, channels_last=channels_last)
    x += mean
    gamma, beta = (numbers(*modulation, seed=seed + n, dtype=dtype) for n in (1, 2))
    grad = numbers(*shape, seed=seed + 3, dtype=dtype)
    if skew:
        x, gamma, beta, grad = askew(x, gamma, beta, grad)
    wide = double(x, gamma, beta)
    wanted = formula(*wide)
    wanted_grads = torch.autograd.grad(wanted, wide, grad.double())
    with fenced_outputs():
        out, means, rstd = kernels.forward(x, gamma, beta)
        grad_x, grad_gamma, grad_beta = kernels.backward(grad, x, gamma, means, rstd)
    agree("forward", out, wanted)
    # Sums over a map of terms of both signs.
    tolerance = 5e-5 if dtype is torch.float32 else None
    variance, mean_of_map = torch.var_mean(wide[0].detach(), (2, 3), correction=0)
    deviation = (variance + EPS).sqrt()
    agree("mean", means, mean_of_map)
    agree("1 / deviation", rstd, 1 / deviation)
    # What is left of x's gradient can be nothing, as it is for maps of one pixel; its terms round all the same.
    largest_term = float((grad.double() * gamma.double() / deviation[..., None, None]).abs().max())
    agree("gradient of x", grad_x, wanted_grads[0], tolerance, largest_term)
    agree("gradient of gamma", grad_gamma, wanted_grads[1], tolerance)
    if modulation != shape:
        agree("gradient of beta", grad_beta, wanted_grads[2], tolerance)


def _checks() -> Iterator[Check]:
    shapes: list[tuple[tuple[int, ...], dict[str, Any]]] = [
        ((1, 1, 1, 1), {}),
        ((2, 3, 5, 7), {}),
        ((2, 3, 5, 7), {"skew": True}),
        ((1, 17, 4, 4), {"mean": 100.0}),
        ((1, 2, 37, 31), {}),  # two blocks of positions and more
        ((2, 33, 5, 9), {"channels_last": True}),
        ((2, 3, 5, 7), {"dtype": torch.float16}),
        ((2, 3, 5, 7), {"dtype": torch.bfloat16, "channels_last": True}),
    ]
    for shape, options in shapes:
        for spatial in (False, True):
            label = ", ".join([f"x {shape}, spatial {spatial}", *(f"{k} {v}" for k, v in options.items())])
            yield Check(label, lambda k, a=shape, s=spatial, o=options: check(k, a, s, **o))


CHECKS = list(_checks())
SIDE = st.integers(1, 12)
DRAWN = st.fixed_dictionaries(
    {
        "shape": st.tuples(st.integers(1, 2), st.integers(1, 20), SIDE, SIDE),
        "spatial": st.booleans(),
        "channels_last": st.booleans(),
        "seed": st.integers(0, 999),
    }
)


def calls(dtype: torch.dtype) -> Iterator[Call]:
    """Yield calls of the op."""
    x = draw(2, 3, 6, 4, seed=0, dtype=dtype)
    for shape in ((2, 3, 1, 1), (2, 3, 6, 4)):
        inputs = (x, draw(*shape, seed=2, dtype=dtype), draw(*shape, seed=3, dtype=dtype))
        yield Call("renormalize", renormalize, renormalize, formula, torch.ops.facecycle.renormalize, inputs)


def launches() -> Iterator[Launch]:
    """Yield what is compiled for each target."""
    for spatial in (False, True):
        yield _launch((32, 256, 16, 16), spatial, vectors=True)
        yield _launch((2, 32, 64, 64), spatial, vectors=True)
        yield _launch((2, 5, 9, 7), spatial)
        yield _launch((32, 256, 16, 16), spatial, vectors=True, channels_last=True)
        yield _launch((32, 256, 16, 16), spatial, dtype=torch.bfloat16)
        # Triton makes a constant of every size that is 1, which has no methods.
        yield _launch((1, 1, 1, 1), spatial)


def _launch(shape: tuple[int, ...], spatial: bool, vectors: bool = False, **kind: Any) -> Launch:
    x, moment = meta(*shape, **kind), meta(*shape[:2])
    gamma = meta(*(shape if spatial else (*shape[:2], 1, 1)), **kind)
    case = ", ".join([f"{shape} spatial={spatial}", *(f"{key} {value}" for key, value in kind.items())])
    return Launch(case, vectors, lambda k: (k.forward(x, gamma, gamma), k.backward(x, x, gamma, moment, moment)))


MUTANTS = [
    Mutant(
        "E[x²] - E[x]²",
        "centred = tl.where(mask, x - mean[:, None], 0.0)\n        total += centred * centred",
        "total += x * x - (tl.where(mask, mean[:, None] * mean[:, None], 0.0))",
    ),
    Mutant(
        "padding counted in the variance",
        "centred = tl.where(mask, x - mean[:, None], 0.0)",
        "centred = x - mean[:, None]",
    ),
    Mutant("unbiased variance", "tl.sum(total, axis=1) / HW + eps", "tl.sum(total, axis=1) / (HW - 0.5) + eps"),
    Mutant("eps left out", "/ HW + eps)", "/ HW)"),
    Mutant("mean of the first block only", "for start in range(0, HW, BLOCK):", "for start in range(0, BLOCK, BLOCK):"),
    Mutant(
        "second half of the result unwritten",
        "for start in range(0, HW, BLOCK):",
        "for start in range(0, BLOCK, BLOCK):",
        2,
    ),
    Mutant(
        "row mask dropped on the moments", "tl.store(mean_ptr + row, mean, mask=here)", "tl.store(mean_ptr + row, mean)"
    ),
    Mutant("position mask dropped on reading", "mask = here[:, None] & (p < HW)[None, :]", "mask = here[:, None]"),
    Mutant("beta left out", "* gamma + beta, mask=mask)", "* gamma, mask=mask)"),
    Mutant("mean of the gradient left out", "(grad - mean_g - normal * mean_gn)", "(grad - normal * mean_gn)"),
    Mutant("reduction over the normal left out", "(grad - mean_g - normal * mean_gn)", "(grad - mean_g)"),
    Mutant("gamma left out of the gradient", "* rstd * gamma[:, None], mask=mask)", "* rstd, mask=mask)"),
    Mutant(
        "spatial gamma left out of the sums",
        "            grad *= tl.load(gamma_ptr",
        "            grad *= 0 * tl.load(gamma_ptr",
    ),
    Mutant(
        "maps read as they lie",
        "x, gamma, beta = (t.contiguous(memory_format=layout) for t in (x, gamma, beta))",
        "gamma, beta = (t.contiguous(memory_format=layout) for t in (gamma, beta))",
    ),
    Mutant(
        "channels_last ignored",
        "return ((row // C).to(tl.int64) * HW + p) * C + row % C",
        "return row.to(tl.int64) * HW + p",
    ),
]
