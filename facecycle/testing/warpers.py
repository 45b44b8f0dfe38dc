"""The contract of warpers."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from facecycle.testing.common import Contract, random


class WarperContract(Contract):
    """A warper samples at identity grid + flow and re-normalizes, for any H x W."""

    kind = "warper"

    def test_zero_flow_is_the_identity(self) -> None:
        x = random(2, 3, 9, 14)
        assert torch.allclose(self.build().warp(x, torch.zeros(2, 2, 4, 5)), x, atol=1e-4)

    def test_a_flow_of_whole_pixels_shifts(self) -> None:
        x = random(1, 2, 6, 11)
        flow = torch.zeros(1, 2, 3, 3)
        flow[:, 0] = 2 / 10  # one pixel to the right of 11
        flow[:, 1] = 2 / 5  # one pixel down of 6
        warped = self.build().warp(x, flow)
        assert torch.allclose(warped[..., 1:-2, 1:-2], x[..., 2:-1, 2:-1], atol=1e-3)

    def test_outside_is_zero_and_clamping_limits_the_flow(self) -> None:
        warper, x = self.build(), random(1, 1, 8, 8)
        far = torch.full((1, 2, 2, 2), 3.0)
        assert warper.warp(x, far).abs().max() == 0
        assert torch.allclose(warper.warp(x, far, clamp=True), warper.warp(x, torch.ones_like(far)), atol=1e-5)

    def test_gradients_reach_image_and_flow(self) -> None:
        x = random(2, 3, 8, 8).requires_grad_()
        flow = (0.1 * random(2, 2, 4, 4, seed=1)).requires_grad_()
        gradients = torch.autograd.grad(self.build().warp(x, flow).square().sum(), (x, flow))
        assert all(gradient.abs().sum() > 0 for gradient in gradients)

    def test_renormalize_sets_mean_and_deviation(self) -> None:
        warper, x = self.build(), random(2, 5, 8, 9) * 3 + 7
        gamma, beta = random(2, 5, 1, 1, seed=1), random(2, 5, 1, 1, seed=2)
        y = warper.renormalize(x, gamma, beta)
        assert torch.allclose(y, F.instance_norm(x, eps=1e-5) * gamma + beta, atol=1e-4)
        spatial = warper.renormalize(x, gamma.expand_as(x), beta.expand_as(x))
        assert torch.allclose(spatial, y, atol=1e-4)
