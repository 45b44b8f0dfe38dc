"""The contract of losses."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from facecycle.testing.common import Contract, random


class LossContract(Contract):
    """A loss gives one value per view."""

    kind = "loss"
    zero_when_equal: ClassVar[bool] = True
    """Whether a prediction equal to its target costs nothing."""
    shape: ClassVar[tuple[int, ...]] = (3, 64, 64)
    """What the loss compares: of an image (3, H, W), of a flow (2, h, w), of an embedding (D,)."""
    target_shape: ClassVar[tuple[int, ...] | None] = None
    """The target's, where it is another one."""

    def _built(self) -> tuple[Any, Tensor, Tensor | None]:
        """Return the loss, predictions (3, B, ...) of `shape`, and a target (B, ...) where the loss needs one."""
        loss = self.build()
        images = max(2, getattr(loss, "fewest_images", 1))
        target = random(images, *(self.target_shape or self.shape), seed=1) if loss.needs_target else None
        return loss, random(3, images, *self.shape), target

    def test_it_gives_one_value_a_view(self) -> None:
        loss, predictions, target = self._built()
        values = loss(predictions, target)
        assert values.shape == (3,)
        assert values.isfinite().all()

    def test_views_do_not_influence_each_other(self) -> None:
        loss, predictions, target = self._built()
        together = loss(predictions, target)
        alone = torch.cat([loss(view[None], target) for view in predictions])
        assert torch.allclose(together, alone, rtol=1e-4)

    def test_a_prediction_equal_to_its_target_costs_least(self) -> None:
        loss, predictions, target = self._built()
        if target is None or predictions[0].shape != target.shape:
            return
        predictions[0] = target
        values = loss(predictions, target)
        assert (values[0] <= values[1:]).all()
        if self.zero_when_equal:
            assert abs(float(values[0])) < 1e-5

    def test_it_says_whether_it_couples_the_images_of_a_batch(self) -> None:
        loss = self.build()
        images = 2 * max(2, getattr(loss, "fewest_images", 1))
        predictions = random(1, images, *self.shape)
        target = random(images, *(self.target_shape or self.shape), seed=1) if loss.needs_target else None
        halves = [slice(0, images // 2), slice(images // 2, images)]
        parts = [loss(predictions[:, half], None if target is None else target[half]) for half in halves]
        is_mean = torch.allclose(loss(predictions, target), torch.stack(parts).mean(0), rtol=1e-4)
        assert is_mean or getattr(loss, "couples_images", False)

    def test_gradients_reach_the_predictions_alone(self) -> None:
        loss, predictions, target = self._built()
        predictions.requires_grad_()
        loss(predictions, target).sum().backward()
        assert predictions.grad is not None
        assert predictions.grad.isfinite().all()
        assert predictions.grad.abs().sum() > 0
        if isinstance(loss, torch.nn.Module):
            assert all(p.grad is None for p in loss.parameters())
