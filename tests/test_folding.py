"""Folded batch norms give the numbers that they gave, and stay where they would not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from facecycle.folding import fold_batch_norms
from facecycle.registry import build


def lived_in(network: nn.Module) -> nn.Module:
    """Give every batch norm statistics and weights of its own, as training does."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            for tensor, low in ((module.running_mean, -0.2), (module.running_var, 0.5), (module.weight, 0.5)):
                tensor.data.uniform_(low, low + 1, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    return network.eval().requires_grad_(False)


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", ["timm:resnet10t", "timm:mobilenetv3_small_050", "timm:densenet121"])
def test_folding_changes_no_number_beyond_rounding(name: str) -> None:
    network = lived_in(build("encoder", name))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    before, count = network(images), norms(network)
    fold_batch_norms(network, lambda: [network(images)])
    assert (network(images) - before).abs().max() <= 1e-5 * before.abs().max()
    # A dense block reads the outputs of convolutions that are joined; those of a residual network are read by one.
    assert norms(network) < count
    if name != "timm:densenet121":
        assert norms(network) == 0


class Twice(nn.Module):
    """A convolution whose output a batch norm reads, and a sum too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        made = self.conv(images)
        return self.norm(made) + made


def test_nothing_is_folded_where_the_numbers_would_change() -> None:
    network = lived_in(Twice())
    images = torch.randn(2, 3, 8, 8)
    before = network(images)
    fold_batch_norms(network, lambda: [network(images)])
    assert norms(network) == 1
    assert torch.equal(network(images), before)
