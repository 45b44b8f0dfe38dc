"""The rival methods compute what the public codes do: maps, codes, losses and gradients on formula images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from facecycle_plugins.methods.tcae import merged
from helpers import rivals
from torch import Tensor, nn

from facecycle.api import Pairs, Views
from facecycle.registry import build

BANDS = {"all": (0.0, 1.0), "easiest_half": (0.0, 0.5), "band_25_75": (0.25, 0.75)}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fresh(method: Any) -> Any:
    """Return a method in training mode, with batch norm's statistics as they begin."""
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return method.train()


def half(first: range, second: range, *further: range) -> Pairs:
    """Return pairs of formula images, times 0.5."""
    more = torch.stack([0.5 * rivals.images(numbers) for numbers in further], 1) if further else None
    return Pairs(0.5 * rivals.images(first), 0.5 * rivals.images(second), more)


def cost(name: str, views: Views, view: str, band: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Return the loss of a view over a band of its images."""
    loss = build("loss", name, {"low": band[0], "high": band[1]})
    found = views.views[view]
    return loss(found.prediction[None], views.targets[found.target]).squeeze()


def agree(found: Mapping[str, float], expected: Mapping[str, float]) -> None:
    assert {name: found[name] for name in expected} == {n: pytest.approx(v, rel=3e-3) for n, v in expected.items()}


# --- FAb-Net --------------------------------------------------------------------------------------


def fab_net_name(golden: str) -> str:
    network, _, key = golden.partition(".")
    key = key.replace("conv8", "head" if network == "fab_encoder" else "last")
    inner = "encoder.encoder" if network == "fab_encoder" and not key.startswith("head") else ""
    return f"{inner or network.removeprefix('fab_')}.{key}"


@pytest.fixture(scope="module")
def fab_net() -> Any:
    return rivals.assembled("fab-net", "fab-net", {}, rivals.values("fab_net"), fab_net_name)


def test_fab_nets_maps_are_the_published_ones(fab_net: Any) -> None:
    expected = rivals.maps("fab_net")
    method, faces = fresh(fab_net).eval(), rivals.images(range(2))
    with torch.no_grad():
        code = method.features(faces, frozenset({"code"}))["code"]
        rivals.close(code, expected["code"])
        sources = code.flip(0)
        rivals.close(method.decoder(sources, code), expected["flow"])
        rivals.close(method.mask(sources, code), expected["mask"])
        driven = method.translate(faces.flip(0), faces, None, frozenset({"driven"}))["driven"]
    rivals.close(driven, expected["warped"])


def test_a_step_of_fab_net_is_the_published_one(fab_net: Any) -> None:
    recorded = rivals.values("fab_net")["single"]
    method = fresh(fab_net)
    views = method(half(range(4), range(4, 8)), "one-source", frozenset({"reconstruction"}), None)
    rivals.close(views.views["reconstruction"].prediction, rivals.maps("fab_net")["train_warped"])
    for band, bounds in BANDS.items():
        loss = cost("l1", views, "reconstruction", bounds)
        assert loss.item() == pytest.approx(recorded[band], rel=1e-5)
        if f"gradient_norms_{band}" in recorded:
            norms = recorded[f"gradient_norms_{band}"]
            del norms["fab_mask"]  # zero but for rounding: with one source the mask cancels, and is not run here
            networks = {"fab_encoder": method.encoder, "fab_decoder": method.decoder}
            agree(rivals.gradient_norms(loss, networks), norms)


def test_a_step_of_fab_net_with_three_sources_is_the_published_one(fab_net: Any) -> None:
    recorded = rivals.values("fab_net")["three_sources"]
    method = fresh(fab_net)
    batch = half(range(2), range(2, 4), range(4, 6), range(6, 8))
    views = method(batch, "several-sources", frozenset({"reconstruction"}), None)
    rivals.close(views.views["reconstruction"].prediction, rivals.maps("fab_net")["three_warped"])
    loss = cost("l1", views, "reconstruction")
    assert loss.item() == pytest.approx(recorded["all"], rel=1e-5)
    networks = {f"fab_{name}": getattr(method, name) for name in ("encoder", "decoder", "mask")}
    agree(rivals.gradient_norms(loss, networks), recorded["gradient_norms_all"])


# --- TCAE -----------------------------------------------------------------------------------------

BRANCH = {"conv6": "0", "norm6": "1", "conv7": "3", "norm7": "4", "conv8": "7"}


def tcae_name(golden: str) -> str:
    network, _, key = golden.partition(".")
    if network != "tcae_encoder":
        return f"{network.removeprefix('tcae_')}.{key.replace('conv8', 'last')}"
    branch, _, rest = key.partition(".")
    if branch in {"pose", "action"}:
        layer, _, what = rest.partition(".")
        return f"encoder.{branch}.{BRANCH[layer]}.{what}"
    return f"encoder.encoder.{key}"


# The terms of the public code: which loss, and how much it weighs.
TERMS = {
    **dict.fromkeys(("reconstruction", "pose_cycle", "action_cycle"), "l1"),
    **{f"{image}_{code}": "mse" for image in ("pose_image", "action_image", "output") for code in ("pose", "action")},
    "action_flow_size": "size",
}


@pytest.fixture(scope="module")
def tcae() -> Any:
    return rivals.assembled("tcae", "tcae", {}, rivals.values("tcae"), tcae_name)


def test_tcaes_maps_are_the_published_ones(tcae: Any) -> None:
    expected = rivals.maps("tcae")
    method, faces = fresh(tcae).eval(), rivals.images(range(2))
    with torch.no_grad():
        codes = method.features(faces, frozenset({"pose", "action"}))
        flows = {}
        for name in ("pose", "action"):
            rivals.close(codes[name], expected[f"{name}_code"])
            flows[name] = getattr(method, f"{name}_decoder")(codes[name].flip(0), codes[name])
            rivals.close(flows[name][:, :2], expected[f"{name}_flow"])
            rivals.close(flows[name][:, 2:], expected[f"{name}_mask"])
        rivals.close(merged(flows["pose"], flows["action"]), expected["merged_flow"])
        panels = method.translate(faces.flip(0), faces, None, frozenset(method.panels_from))
        views = method(Pairs(faces, faces.flip(0)), "pairs", frozenset({"pose_cycle"}), None)
    for panel, recorded in (
        ("pose_driven", "pose_image"),
        ("action_driven", "action_image"),
        ("driven", "output_image"),
    ):
        rivals.close(panels[panel], expected[recorded])
    rivals.close(views.views["pose_cycle"].prediction, expected["pose_back_image"])


@pytest.fixture(scope="module")
def tcae_step(tcae: Any) -> tuple[Any, Views]:
    method = fresh(tcae)
    return method, method(half(range(4), range(4, 8)), "pairs", method.view_names["pairs"], None)


def tcae_terms(views: Views, band: tuple[float, float]) -> dict[str, Tensor]:
    return {term: cost(loss, views, term.removesuffix("_size"), band) for term, loss in TERMS.items()}


def tcae_norms(method: Any, loss: Tensor) -> dict[str, float]:
    encoder = method.encoder
    networks = {"tcae_encoder.trunk": encoder.encoder, "tcae_encoder.pose": encoder.pose}
    networks |= {"tcae_encoder.action": encoder.action}
    networks |= {f"tcae_{name}": getattr(method, name) for name in ("pose_decoder", "action_decoder")}
    return rivals.gradient_norms(loss, networks)


@pytest.mark.parametrize("band", ["all", "easiest_half"])
def test_a_step_of_tcae_is_the_published_one(tcae_step: tuple[Any, Views], band: str) -> None:
    golden = rivals.values("tcae")
    method, views = tcae_step
    terms, recorded = tcae_terms(views, BANDS[band]), golden[band]
    for name, expected in recorded["terms"].items():
        assert terms[name].item() == pytest.approx(expected, rel=1e-5), name
    total = torch.stack([golden["weights"][name] * term for name, term in terms.items()]).sum()
    assert total.item() == pytest.approx(recorded["total"], rel=1e-5)
    agree(tcae_norms(method, total), recorded["gradient_norms_total"])


@pytest.mark.parametrize("term", TERMS)
def test_gradients_of_a_term_of_tcae_are_the_published_ones(tcae_step: tuple[Any, Views], term: str) -> None:
    method, views = tcae_step
    loss = cost(TERMS[term], views, term.removesuffix("_size"))
    agree(tcae_norms(method, loss), rivals.values("tcae")["all"]["gradient_norms"][term])


def test_images_of_a_step_of_tcae_are_the_published_ones(tcae_step: tuple[Any, Views]) -> None:
    expected = rivals.maps("tcae")
    _, views = tcae_step
    rivals.close(views.views["reconstruction"].prediction, expected["train_output_image"])
    rivals.close(views.views["action_cycle"].prediction, expected["train_action_back_image"])


# --- temporal ranking -----------------------------------------------------------------------------


def temporal_name(golden: str) -> str:
    _, _, key = golden.partition(".")
    return f"encoder.head.{key.removeprefix('fc1.')}" if key.startswith("fc1.") else f"encoder.encoder.body.{key}"


@pytest.fixture(scope="module")
def temporal() -> Any:
    options = {"max_stride": 32}
    return rivals.assembled("temporal", "timm:resnet18", options, rivals.values("temporal"), temporal_name)


def test_temporals_codes_are_the_published_ones(temporal: Any) -> None:
    expected = rivals.maps("temporal")
    with torch.no_grad():
        found = fresh(temporal).eval().features(rivals.images(range(2)), frozenset({"code", "conv"}))
    rivals.close(found["code"], expected["code"])
    rivals.close(found["conv"], expected["pooled"])


def test_a_step_of_temporal_is_the_published_one(temporal: Any) -> None:
    recorded, expected = rivals.values("temporal")["step"], rivals.maps("temporal")
    method = fresh(temporal)
    samples = 0.5 * rivals.images(range(24)).unflatten(0, (2, 12))
    views = method(Pairs(samples[:, 0], samples[:, 1], samples[:, 2:]), "sequence", frozenset({"following"}), None)
    following, anchor = views.views["following"].prediction, views.targets["anchor"]
    rivals.close(anchor[:, 0], expected["anchor"])
    rivals.close(following[:, 0], expected["sibling"])
    rivals.close(following[:, 1:], expected["following"])
    loss = build("loss", "ranking")(following[None], anchor).squeeze()
    assert loss.item() == pytest.approx(recorded["loss"], rel=1e-5)
    networks = {"temporal_encoder.trunk": method.encoder.encoder, "temporal_encoder.fc1": method.encoder.head}
    agree(rivals.gradient_norms(loss, networks), recorded["gradient_norms"])
