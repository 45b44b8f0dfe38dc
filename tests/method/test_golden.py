"""The paper's networks, losses and gradients agree with values computed by the published code."""

from __future__ import annotations

import pytest
import torch
from facecycle_plugins.losses.perceptual import PerceptualLoss
from helpers import golden
from helpers.golden import GOLDEN
from helpers.rivals import gradient_norms
from torch import Tensor, nn

from facecycle.api import Pairs
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.method.decoders import backflow
from facecycle.method.facecycle import FaceCycle
from facecycle.pretraining.step import Objective

VGG19_CONVOLUTIONS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4", "4_1")
NETWORKS = {
    "expression": {"codegeneration": "expression", "exptoflow": "motion", "Swap_Generator": "generator"},
    "identity": {"idcodegen": "identity", "Swap_Norm": "renormalizer"},
}


@pytest.fixture(scope="module")
def method() -> FaceCycle:
    return golden.paper_networks()


@pytest.fixture(scope="module")
def modules(method: FaceCycle) -> dict[str, Tensor]:
    x, warper = golden.images(2, 0.25), method.warper
    with torch.no_grad():
        code = method.expression(x)
        flow = method.motion(code)
        neutral = method.generator(x, flow, warper, None)
        identity = method.identity(x)
        mean_face = method.renormalizer(neutral, identity, "denorm", warper)
        return {
            "x": x,
            "expression_code": code,
            "flow": flow,
            "backflow": backflow(warper, flow),
            "neutral": neutral,
            "reconstruction_no_flow": method.generator(x, None, warper, None),
            "identity_code": identity,
            "mean_face": mean_face,
            "renormalised": method.renormalizer(mean_face, identity, "renorm", warper),
        }


@pytest.mark.parametrize("name", GOLDEN["modules"])
def test_networks_give_the_published_outputs(modules: dict[str, Tensor], name: str) -> None:
    expected = GOLDEN["modules"][name]
    found = modules[name]
    assert list(found.shape) == expected["shape"]
    flat = found.flatten().double()
    sampled = flat[torch.linspace(0, len(flat) - 1, len(expected["values"])).long()]
    error = (sampled - torch.tensor(expected["values"], dtype=torch.float64)).abs().max()
    assert error <= 1e-4 * expected["largest"]
    assert float(flat.abs().max()) == pytest.approx(expected["largest"], rel=1e-4)


def fill_perceptual(loss: PerceptualLoss) -> None:
    convolutions = [m for m in loss.network.modules() if isinstance(m, nn.Conv2d)]
    for name, layer in zip(VGG19_CONVOLUTIONS, convolutions, strict=True):
        key = f"vgg19.conv{name}.0"
        layer.weight.data = golden.filled(f"{key}.weight", tuple(layer.weight.shape))
        layer.bias.data = golden.filled(f"{key}.bias", tuple(layer.bias.shape))


@pytest.fixture(scope="module", params=["expression", "identity"])
def step(request: pytest.FixtureRequest, method: FaceCycle) -> tuple[str, Tensor, dict[str, Tensor]]:
    """One training step of the `paper` preset on formula images, with filled VGG19 weights."""
    cycle = request.param
    layers = [
        *preset_layers("paper"),
        set_layer([f"stages.{cycle}.losses.perceptual.options.pretrained=false"]),
    ]
    objective = Objective(resolve(layers), cycle, method)
    for term in objective.terms.values():
        if isinstance(term.loss, PerceptualLoss):
            fill_perceptual(term.loss)
    full = golden.images(4, 0.25) * 0.5
    views = method(Pairs(full[:2], full[2:]), cycle, objective.wanted, None)
    total, sums = objective(views)
    return cycle, total, sums


# Our loss names to those of the recorded values.
RECORDED = {"photometric": "pixel"}


def recorded(cycle: str) -> dict[str, float]:
    return GOLDEN["train_step"]["stage1" if cycle == "expression" else "stage2"]


def test_losses_of_a_step_are_the_published_ones(step: tuple[str, Tensor, dict[str, Tensor]]) -> None:
    cycle, total, sums = step
    for label, value in sums.items():
        assert value.item() == pytest.approx(recorded(cycle)[RECORDED.get(label, label)], rel=1e-5), label
    assert total.item() == pytest.approx(recorded(cycle)["total"], rel=1e-5)


def test_gradients_of_a_step_are_the_published_ones(
    method: FaceCycle, step: tuple[str, Tensor, dict[str, Tensor]]
) -> None:
    cycle, total, sums = step
    networks = {theirs: getattr(method, ours) for theirs, ours in NETWORKS[cycle].items()}
    for label, value in [*sums.items(), ("total", total)]:
        for theirs, norm in gradient_norms(value, networks).items():
            expected = recorded(cycle)["grad_norm"][RECORDED.get(label, label)][theirs]  # type: ignore[index]
            assert norm == pytest.approx(expected, rel=3e-3), (label, theirs)
