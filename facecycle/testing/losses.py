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

    def _built(self) -> tuple[Any, Tensor, Tensor | None]:
        """Return the loss, predictions (3, 2, 3, 64, 64), and a target where the loss needs one."""
        loss = self.build()
        return loss, random(3, 2, 3, 64, 64), random(2, 3, 64, 64, seed=1) if loss.needs_target else None

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
        if target is None:
            return
        predictions[0] = target
        values = loss(predictions, target)
        assert (values[0] <= values[1:]).all()
        if self.zero_when_equal:
            assert abs(float(values[0])) < 1e-5

    def test_gradients_reach_the_predictions_alone(self) -> None:
        loss, predictions, target = self._built()
        predictions.requires_grad_()
        loss(predictions, target).sum().backward()
        assert predictions.grad is not None
        assert predictions.grad.isfinite().all()
        assert predictions.grad.abs().sum() > 0
        if isinstance(loss, torch.nn.Module):
            assert all(p.grad is None for p in loss.parameters())
