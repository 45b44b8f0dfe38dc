"""The contract of losses."""

from __future__ import annotations

from typing import ClassVar

import torch

from facecycle.testing.common import Contract, random


class LossContract(Contract):
    """A loss gives one value a view.

    Attributes:
        zero_when_equal: whether a prediction equal to its target costs nothing.
    """

    kind = "loss"
    zero_when_equal: ClassVar[bool] = True

    def _inputs(self) -> tuple[torch.Tensor, torch.Tensor]:
        return random(3, 2, 3, 64, 64), random(2, 3, 64, 64, seed=1)

    def test_it_gives_one_value_a_view(self) -> None:
        loss = self.build()
        predictions, target = self._inputs()
        values = loss(predictions, target if loss.needs_target else None)
        assert values.shape == (3,)
        assert values.isfinite().all()

    def test_views_do_not_influence_each_other(self) -> None:
        loss = self.build()
        predictions, target = self._inputs()
        given = target if loss.needs_target else None
        together = loss(predictions, given)
        alone = torch.cat([loss(view[None], given) for view in predictions])
        assert torch.allclose(together, alone, rtol=1e-4)

    def test_a_prediction_equal_to_its_target_costs_least(self) -> None:
        loss = self.build()
        if not loss.needs_target:
            return
        predictions, target = self._inputs()
        predictions[0] = target
        values = loss(predictions, target)
        assert (values[0] <= values[1:]).all()
        if self.zero_when_equal:
            assert abs(float(values[0])) < 1e-5

    def test_gradients_reach_the_predictions_alone(self) -> None:
        loss = self.build()
        predictions, target = self._inputs()
        predictions.requires_grad_()
        loss(predictions, target if loss.needs_target else None).sum().backward()
        assert predictions.grad is not None
        assert predictions.grad.isfinite().all()
        assert predictions.grad.abs().sum() > 0
        if isinstance(loss, torch.nn.Module):
            assert all(p.grad is None for p in loss.parameters())
