"""The contract of encoders."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn

from facecycle.testing.common import Contract, random


class EncoderContract(Contract):
    """An encoder maps normalised images to a feature map of the shape it announces."""

    kind = "encoder"
    trainable: ClassVar[bool] = True
    """False for a handcrafted encoder without parameters."""

    def test_it_is_a_module_with_a_shape(self) -> None:
        encoder = self.build()
        assert encoder.channels > 0
        assert encoder.stride > 0
        assert isinstance(encoder, nn.Module)

    @pytest.mark.parametrize("cells", [(4, 4), (6, 6), (4, 8)])
    def test_its_map_has_the_announced_channels_and_stride(self, cells: tuple[int, int]) -> None:
        encoder = self.build().eval()
        step = encoder.stride * max(1, 16 // encoder.stride)
        height, width = (side * step for side in cells)
        with torch.no_grad():
            features = encoder(random(2, 3, height, width))
        assert features.shape == (2, encoder.channels, height // encoder.stride, width // encoder.stride)
        assert features.isfinite().all()

    def test_it_is_deterministic_and_treats_images_independently(self) -> None:
        encoder = self.build().eval()
        images = random(3, 3, 64, 64)
        with torch.no_grad():
            together = encoder(images)
            assert torch.equal(together, encoder(images))
            alone = encoder(images[1:2])
        scale = together.abs().max()
        assert torch.allclose(together[1:2], alone, atol=float(1e-4 * scale))

    def test_other_images_give_other_features(self) -> None:
        encoder = self.build().eval()
        with torch.no_grad():
            first, second = encoder(random(2, 3, 64, 64))
        assert not torch.allclose(first, second)

    def test_its_weights_move_to_another_instance(self) -> None:
        first, second = self.build().eval(), self.build().eval()
        for tensor in second.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1)
        second.load_state_dict(first.state_dict())
        images = random(1, 3, 64, 64)
        with torch.no_grad():
            assert torch.equal(first(images), second(images))

    def test_gradients_reach_its_weights(self) -> None:
        if not self.trainable:
            pytest.skip("handcrafted: nothing to train")
        encoder = self.build().train()
        encoder(random(2, 3, 64, 64)).square().mean().backward()
        gradients = [p.grad for p in encoder.parameters()]
        # Single ones may be zero (residual branches often start at zero), or unused; most are not.
        assert gradients
        assert sum(g is not None for g in gradients) > len(gradients) / 2
        assert any(bool(g.abs().sum() > 0) for g in gradients if g is not None)
