"""What the losses of a view alone cost: nothing for what they ask for, something for its opposite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from facecycle.errors import CheckpointError, FacecycleError
from facecycle.registry import build


@given(st.integers(3, 17), st.integers(3, 17), st.integers(0, 2**31))
def test_an_affine_flow_is_smooth_and_a_folding_one_is_not(height: int, width: int, seed: int) -> None:
    smoothness = build("loss", "smoothness")
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"))
    affine = torch.einsum("oi,ihw->ohw", torch.randn(2, 2, generator=generator), grid) + 0.3
    folding = -2 * grid.abs()
    values = smoothness(torch.stack([affine, folding])[:, None])
    assert values[0] < 1e-5
    assert values[1] > 0.01


@given(st.integers(3, 17), st.integers(3, 17), st.floats(0.25, 4), st.floats(0.25, 4))
def test_a_flow_that_keeps_its_order_folds_nothing(height: int, width: int, across: float, down: float) -> None:
    folding = build("loss", "folding")
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    kept = torch.stack([(across - 1) * x + 0.2 * y, (down - 1) * y - 0.3])
    mirrored = torch.stack([-2 * x, torch.zeros_like(y)])
    values = folding(torch.stack([kept, mirrored])[:, None])
    assert values[0] < 1e-10
    assert torch.allclose(values[1], torch.tensor(1.25**2), rtol=1e-4)  # neighbours at -1 of their distance


@given(st.integers(2, 9), st.integers(0, 2**31))
def test_a_face_and_its_mirror_image_average_to_a_symmetric_one(width: int, seed: int) -> None:
    symmetry = build("loss", "symmetry")
    face = torch.randn(1, 2, 3, 8, width, generator=torch.Generator().manual_seed(seed))
    assert symmetry(face + face.flip(-1)).abs().max() < 1e-6
    assert symmetry(face) > 0
    assert torch.allclose(symmetry(face), symmetry(face.flip(-1)))


def test_a_transformer_of_another_size_may_be_the_perceptual_network() -> None:
    perceptual = build("loss", "perceptual", {"network": "vit_tiny_patch16_224", "pretrained": False})
    target = torch.zeros(2, 3, 64, 64)
    values = perceptual(torch.stack([target, target + 1]), target)
    assert values[0] == 0 < values[1]


def grams(maps: list[torch.Tensor]) -> list[torch.Tensor]:
    return [torch.einsum("nchw,ndhw->ncd", f, f) / f[0, 0].numel() for f in maps]


def units(maps: list[torch.Tensor]) -> list[torch.Tensor]:
    return [f / f.square().sum(1, keepdim=True).sqrt() for f in maps]


@pytest.mark.parametrize(
    ("compare", "maps", "of_maps", "power"), [("gram", 3, grams, 2), ("maps", 4, units, 1)], ids=["gram", "maps"]
)
def test_the_perceptual_loss_and_its_gradient_are_those_of_the_formula(
    compare: str, maps: int, of_maps: Callable[[list[torch.Tensor]], list[torch.Tensor]], power: int
) -> None:
    options = {"network": "mobilenetv3_small_050", "pretrained": False, "compare": compare}
    perceptual = build("loss", "perceptual", options).double()
    generator = torch.Generator().manual_seed(0)
    predictions, target = torch.rand(3, 2, 3, 32, 32, generator=generator, dtype=torch.float64).split((2, 1))
    predictions.requires_grad_()
    weights = torch.tensor([1.0, 0.3], dtype=torch.float64)
    assert len(perceptual.network(target[0])) == maps

    pairs = [zip(*map(of_maps, map(perceptual.network, (view, target[0]))), strict=True) for view in predictions]
    expected = torch.stack([sum(((a - b).abs() ** power).mean() for a, b in pair) for pair in pairs])
    values = perceptual(predictions, target[0])
    assert torch.allclose(values, expected, rtol=1e-10)
    (found,) = torch.autograd.grad((values * weights).sum(), predictions)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), predictions)
    assert torch.allclose(found, wanted, rtol=1e-8, atol=1e-12)
    with torch.no_grad():
        assert torch.allclose(perceptual(predictions, target[0]), expected, rtol=1e-10)


def test_the_perceptual_network_may_come_out_of_a_file(tmp_path: Path) -> None:
    file, options = tmp_path / "weights.safetensors", {"network": "mobilenetv3_small_050"}
    network = timm.create_model("mobilenetv3_small_050", num_classes=2)
    save_file(network.state_dict(), file)
    perceptual = build("loss", "perceptual", {**options, "weights": str(file)})
    (found,) = (tensor for name, tensor in perceptual.state_dict().items() if name.endswith("conv_stem.weight"))
    assert torch.equal(found, network.conv_stem.weight)
    save_file({"other": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="does not hold the weights of timm's"):
        build("loss", "perceptual", {**options, "weights": str(file)})


def test_vgg19_has_no_four_maps_to_compare() -> None:
    with pytest.raises(FacecycleError, match="looks at the four maps of another network"):
        build("loss", "perceptual", {"compare": "maps", "pretrained": False})
