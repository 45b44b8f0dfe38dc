"""Losses of embeddings and bands of a batch: what libraries and the public codes give, and what the losses ask for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers import rivals
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from facecycle.registry import build


def unit_free(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs))


# --- against pytorch-metric-learning --------------------------------------------------------------


@settings(max_examples=25)
@given(st.integers(2, 9), st.integers(2, 20), st.floats(0.05, 1.0), st.integers(0, 2**31))
def test_nt_xent_is_the_librarys(pairs: int, width: int, temperature: float, seed: int) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses", reason="the oracle is in the extra dev")
    first, second = (unit_free(seed + n, pairs, width).requires_grad_() for n in range(2))
    ours = build("loss", "nt-xent", {"temperature": temperature})(second[None], first).sum()
    labels = torch.arange(pairs).repeat(2)
    theirs = losses.NTXentLoss(temperature)(torch.cat([first, second]), labels)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6, abs=1e-9)
    for a, b in zip(gradients(ours, first, second), gradients(theirs, first, second), strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)


@settings(max_examples=25)
@given(st.integers(2, 9), st.integers(2, 20), st.floats(0.1, 3.0), st.integers(0, 2**31))
def test_the_terms_of_vicreg_are_the_librarys(pairs: int, width: int, scale: float, seed: int) -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses", reason="the oracle is in the extra dev")
    first, second = ((scale * unit_free(seed + n, pairs, width)).requires_grad_() for n in range(2))
    both = torch.stack([first, second])
    ours = 25 * build("loss", "mse")(second[None], first).sum()
    ours = ours + 12.5 * build("loss", "variance")(both).sum() + build("loss", "covariance")(both).sum()
    theirs = losses.VICRegLoss()(first, ref_emb=second)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    for a, b in zip(gradients(ours, first, second), gradients(theirs, first, second), strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["nt-xent", "covariance"])
def test_bfloat16_elsewhere_leaves_the_loss_exact(name: str) -> None:
    predictions, target = unit_free(0, 1, 6, 16).float(), unit_free(1, 6, 16).float()
    loss = build("loss", name)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(predictions, target)
    assert torch.equal(found, loss(predictions, target))


# --- against the public codes ---------------------------------------------------------------------


def recorded_embeddings(scale: float = 1.0) -> tuple[Tensor, Tensor]:
    z0 = rivals.draw("ssl.z0", 8, 128)
    z1 = 0.3 * z0 + rivals.draw("ssl.z1", 8, 128)
    first, second = (torch.from_numpy(scale * z).float().requires_grad_() for z in (z0, z1))
    return first, second


@pytest.mark.parametrize("temperature", ["0.07", "0.1", "0.5"])
def test_nt_xent_is_that_of_the_public_codes(temperature: str) -> None:
    recorded = rivals.values("contrastive")["nt_xent"][temperature]["ssl_fer_code"]
    first, second = recorded_embeddings()
    loss = build("loss", "nt-xent", {"temperature": float(temperature)})(second[None], first).sum()
    norms = [g.norm().item() for g in gradients(loss, first, second)]
    assert loss.item() == pytest.approx(recorded[0], rel=1e-5)
    assert norms == pytest.approx(recorded[1:], rel=1e-5)


@pytest.mark.parametrize(("name", "scale"), [("vicreg", 1.0), ("vicreg_small", 0.3)])
def test_vicreg_is_that_of_lightly(name: str, scale: float) -> None:
    recorded = rivals.values("contrastive")["vicreg"][name]
    first, second = recorded_embeddings(scale)
    both = torch.stack([first, second])
    terms = {
        "invariance": build("loss", "mse")(second[None], first).sum(),
        "variance": build("loss", "variance")(both).mean(),
        "covariance": build("loss", "covariance")(both).sum(),
    }
    assert {k: v.item() for k, v in terms.items()} == pytest.approx(recorded["terms"], rel=1e-5)
    total = 25 * terms["invariance"] + 25 * terms["variance"] + terms["covariance"]
    norms = [g.norm().item() for g in gradients(total, first, second)]
    assert [total.item(), *norms] == pytest.approx(recorded["lightly"], rel=1e-5)


def test_the_ranking_loss_is_that_of_the_public_code_where_some_hinges_are_at_rest() -> None:
    recorded = rivals.values("temporal")["loss_alone"]
    anchors, noise = rivals.draw("temporal.A", 4, 256), rivals.draw("temporal.N", 4, 11, 256)
    a, n = (torch.from_numpy(values).float().requires_grad_() for values in (anchors, noise))
    spread = (0.03 * torch.arange(1, 12)).sqrt()[:, None]
    loss = build("loss", "ranking")(F.normalize(a[:, None] + spread * n, dim=2)[None], F.normalize(a)[:, None]).sum()
    assert loss.item() == pytest.approx(recorded["loss"], rel=1e-5)
    norms = [g.norm().item() for g in gradients(loss, a, n)]
    assert norms == pytest.approx([recorded["gradient_norms"][f"temporal.{name}"] for name in "AN"], rel=3e-3)


# --- what they ask for ----------------------------------------------------------------------------


def test_a_collapsed_code_costs_all_of_the_variance_and_a_spread_one_nothing() -> None:
    variance = build("loss", "variance")
    assert variance(torch.ones(1, 6, 4)).item() == pytest.approx(0.99)  # 1 - sqrt(1e-4)
    assert variance(3 * torch.eye(8)[None]).item() == 0


def test_equal_dimensions_covary_and_independent_ones_do_not() -> None:
    covariance = build("loss", "covariance")
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert covariance(signs[None]).item() == 0
    assert covariance(signs[:, [0, 0]][None]).item() > 1


def test_frames_that_go_away_step_by_step_cost_nothing() -> None:
    ranking = build("loss", "ranking", {"margin": 0.03})
    steps = torch.arange(1, 6).float()[:, None] * torch.tensor([[0.2, 0.0]])
    anchor = torch.zeros(1, 1, 2)
    assert ranking(steps[None, None], anchor).item() == 0
    assert ranking(steps.flip(0)[None, None], anchor).item() == pytest.approx(0.96 + 4 * 0.03)


def test_one_person_has_to_be_near_and_two_have_to_be_far() -> None:
    same, different = (build("loss", "pair-hinge", {"same": same}) for same in (True, False))
    code = F.normalize(unit_free(0, 5, 8), dim=1)
    assert same(code[None], code).item() == 0
    assert different(code[None], code).item() == pytest.approx(1.5)
    assert same(-code[None], code).item() == pytest.approx(3.5)
    assert different(-code[None], code).item() == 0


@given(st.integers(2, 20), st.sampled_from([(0.0, 0.5), (0.25, 0.75), (0.4, 0.9), (0.1, 1.0)]), st.integers(0, 999))
def test_a_band_averages_the_images_between_its_bounds(images: int, band: tuple[float, float], seed: int) -> None:
    loss = build("loss", "l1", {"low": band[0], "high": band[1]})
    if images < loss.fewest_images:
        return
    predictions, target = unit_free(seed, 2, images, 3, 4, 4), unit_free(seed + 1, images, 3, 4, 4)
    each = (predictions - target).abs().mean((2, 3, 4)).sort(1).values
    expected = each[:, int(band[0] * images) : int(band[1] * images)].mean(1)
    assert torch.allclose(loss(predictions, target), expected)
    assert loss(predictions, target).isfinite().all()


def test_a_band_holds_an_image_of_every_batch_that_is_large_enough() -> None:
    for low in range(10):
        for high in range(low + 1, 11):
            loss = build("loss", "l1", {"low": low / 10, "high": high / 10})
            for images in range(loss.fewest_images, 40):
                assert int(high / 10 * images) > int(low / 10 * images), (low, high, images)
