"""The reference ops: identities, agreement with independent formulas, and float64 gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from facecycle_kernels.flow_warp import flow_warp, reference
from facecycle_kernels.flow_warp.op import flow_warp_op
from facecycle_kernels.renormalize import renormalize
from facecycle_kernels.ssim import ssim
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import forward_ad

sides = st.integers(1, 9)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@given(sides, sides, st.integers(1, 4), st.integers(1, 4))
def test_zero_flow_is_the_identity(height: int, width: int, h: int, w: int) -> None:
    x = random(2, 3, height, width)
    assert torch.allclose(flow_warp(x, torch.zeros(2, 2, h, w, dtype=x.dtype)), x, atol=1e-12)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(-2, 2), st.integers(-2, 2))
def test_a_flow_of_whole_pixels_shifts_and_reads_zeros_outside(height: int, width: int, dx: int, dy: int) -> None:
    x = random(1, 2, height, width)
    flow = torch.empty(1, 2, 1, 1, dtype=x.dtype)
    flow[:, 0] = dx * 2 / (width - 1)
    flow[:, 1] = dy * 2 / (height - 1)
    expected = torch.zeros_like(x)
    for row in range(height):
        for column in range(width):
            if 0 <= row + dy < height and 0 <= column + dx < width:
                expected[..., row, column] = x[..., row + dy, column + dx]
    assert torch.allclose(flow_warp(x, flow), expected, atol=1e-9)


def test_clamping_limits_the_resized_flow() -> None:
    x = random(1, 1, 5, 7)
    far = torch.full((1, 2, 2, 2), 3.0, dtype=x.dtype)
    assert flow_warp(x, far).abs().max() == 0
    assert torch.allclose(flow_warp(x, far, clamp=True), flow_warp(x, far.clamp(-1, 1)))


def test_gradients_of_the_warp_are_right() -> None:
    x = random(2, 2, 5, 6).requires_grad_()
    # Off the grid points, where bilinear sampling has no derivative.
    flow = (random(2, 2, 3, 2, seed=1) * 0.1 + 0.037).requires_grad_()
    assert torch.autograd.gradcheck(flow_warp, (x, flow))


@pytest.mark.parametrize("spatial", [False, True])
def test_renormalize_is_instance_norm_with_given_scale_and_shift(spatial: bool) -> None:
    x = random(2, 3, 4, 5)
    shape = x.shape if spatial else (2, 3, 1, 1)
    gamma, beta = random(*shape, seed=1), random(*shape, seed=2)
    expected = torch.nn.functional.instance_norm(x, eps=1e-5) * gamma + beta
    assert torch.allclose(renormalize(x, gamma, beta), expected)
    inputs = tuple(t.requires_grad_() for t in (x, gamma, beta))
    assert torch.autograd.gradcheck(renormalize, inputs)


def test_renormalize_survives_a_large_mean() -> None:
    x = random(1, 1, 8, 8, dtype=torch.float32) + 1e4
    out = renormalize(x, torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))
    expected = renormalize(x.double(), torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))
    assert torch.allclose(out.double(), expected, atol=1e-3)


def test_ssim_of_an_image_with_itself_is_one_and_less_otherwise() -> None:
    target = random(2, 3, 16, 20)
    noisy = target + 0.3 * random(2, 3, 16, 20, seed=1)
    unrelated = random(2, 3, 16, 20, seed=2)
    values = ssim(torch.stack([target, noisy, unrelated]), target)
    assert values[0] == pytest.approx(1, abs=1e-9)
    assert 1 > values[1] > values[2]
    assert abs(values[2]) < 0.2


def test_ssim_takes_each_image_in_its_own_precision() -> None:
    predictions, target = random(2, 1, 3, 16, 16).bfloat16(), random(1, 3, 16, 16, seed=1).float()
    exact = ssim(predictions.double(), target.double())
    assert torch.allclose(ssim(predictions, target).double(), exact, atol=1e-5)
    assert (ssim(predictions, target.bfloat16()).double() - exact).abs().max() > 1e-5


def test_ssim_agrees_with_windows_written_out() -> None:
    x, y = random(1, 1, 7, 9), random(1, 1, 7, 9, seed=1)
    offsets = torch.arange(11, dtype=x.dtype) - 5
    taps = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = torch.outer(taps, taps) / taps.sum() ** 2
    pad_x, pad_y = (torch.nn.functional.pad(t[0, 0], (5, 5, 5, 5)) for t in (x, y))
    total = 0.0
    for row in range(7):
        for column in range(9):
            a, b = pad_x[row : row + 11, column : column + 11], pad_y[row : row + 11, column : column + 11]
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * a * a).sum() - ma**2, (window * b * b).sum() - mb**2
            cov = (window * a * b).sum() - ma * mb
            total += float((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    assert ssim(x[None], y)[0].item() == pytest.approx(total / 63, rel=1e-9)


@pytest.mark.parametrize("clamp", [False, True])
def test_a_flow_that_is_no_number_spoils_its_own_pixels_alone(clamp: bool) -> None:
    x = random(1, 2, 12, 12, dtype=torch.float32)
    flow = 0.1 * random(1, 2, 3, 3, seed=1, dtype=torch.float32)
    flow[0, 0, 0, 0], flow[0, 1, 0, 2], flow[0, 0, 2, 0] = float("nan"), float("inf"), -float("inf")
    results = []
    for warp in (flow_warp, reference.flow_warp):
        inputs = x.clone().requires_grad_(), flow.clone().requires_grad_()
        out = warp(*inputs, clamp)
        results.append([out, *torch.autograd.grad(out.square().sum(), inputs)])
    for ours, formula in zip(*results, strict=True):
        assert ours.isfinite().all()
        assert torch.allclose(ours, formula, atol=1e-4)


def test_autocast_leaves_the_ops_as_exact_as_their_inputs() -> None:
    x, flow = random(2, 3, 20, 24, dtype=torch.float32), 0.3 * random(2, 2, 4, 4, seed=1, dtype=torch.float32)
    gamma, beta = (random(2, 3, 1, 1, seed=seed, dtype=torch.float32) for seed in (2, 3))
    for op, inputs, backward in [
        (flow_warp, (x, flow), False),  # its gradient is torch's own, which is called outside of autocast
        (flow_warp_op, (x, flow, False), True),
        (renormalize, (x, gamma, beta), True),
        (ssim, (x[None], x.flip(-1)), True),
    ]:
        inputs = [value.clone().requires_grad_() if isinstance(value, torch.Tensor) else value for value in inputs]
        tensors = [value for value in inputs if isinstance(value, torch.Tensor)]
        out = op(*inputs)
        exact = out, *torch.autograd.grad(out.square().sum(), tensors)
        with torch.autocast("cpu", torch.bfloat16):
            out = op(*inputs)
        with torch.autocast("cpu", torch.bfloat16, enabled=backward):
            cast = out, *torch.autograd.grad(out.square().sum(), tensors)
        for a, b in zip(exact, cast, strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b), op


def central_difference(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, t: torch.Tensor) -> Any:
    return (function(x + 1e-5 * t) - function(x - 1e-5 * t)) / 2e-5


@pytest.mark.parametrize("place", [0, 1, 2])
def test_forward_derivatives_of_renormalize_are_those_of_its_values(place: int) -> None:
    inputs = [random(2, 3, 5, 6), random(2, 3, 1, 1, seed=1), random(2, 3, 1, 1, seed=2)]

    def function(x: torch.Tensor) -> torch.Tensor:
        return renormalize(*inputs[:place], x, *inputs[place + 1 :])

    tangent = random(*inputs[place].shape, seed=3)
    _, found = torch.func.jvp(function, (inputs[place],), (tangent,))
    assert found.abs().max() > 0.1
    assert torch.allclose(found, central_difference(function, inputs[place], tangent), atol=1e-7)


@pytest.mark.parametrize("of_target", [False, True])
def test_forward_derivatives_of_ssim_are_those_of_its_values(of_target: bool) -> None:
    predictions, target = random(2, 2, 3, 16, 16).sigmoid(), random(2, 3, 16, 16, seed=1).sigmoid()

    def function(x: torch.Tensor) -> torch.Tensor:
        return ssim(predictions, x) if of_target else ssim(x, target)

    x = target if of_target else predictions
    tangent = random(*x.shape, seed=3)
    _, found = torch.func.jvp(function, (x,), (tangent,))
    assert found.abs().max() > 1e-4
    assert torch.allclose(found, central_difference(function, x, tangent), atol=1e-8)
    with forward_ad.dual_level():
        dual = function(forward_ad.make_dual(x, tangent))
        assert torch.equal(forward_ad.unpack_dual(dual).tangent, found)


def test_the_warp_says_that_it_has_no_forward_derivatives() -> None:
    x, flow = random(1, 2, 5, 6), random(1, 2, 3, 2, seed=1)
    for function, at in ((lambda f: flow_warp(x, f), flow), (lambda x: flow_warp(x, flow), x)):
        with pytest.raises(NotImplementedError, match="forward AD"):
            torch.func.jvp(function, (at,), (at,))
