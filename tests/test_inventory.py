"""One name for one thing: the names that users write are those of the inventory, and mean what it says everywhere."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
import torch
from facecycle_plugins.warpers.reference import ReferenceWarper
from helpers.common import ROOT

from facecycle.api import Pairs, Parts
from facecycle.config.preset_files import preset_names
from facecycle.method.encoder import FaceCycleEncoder
from facecycle.method.facecycle import FaceCycle, FaceCycleOptions
from facecycle.probing.protocols import PROTOCOLS


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({name for name, _ in pairs}) == len(pairs), "a name stands twice"
    return dict(pairs)


INVENTORY = json.loads((ROOT / "tests" / "inventory.json").read_text(), object_pairs_hook=once)


@pytest.fixture(scope="module")
def method() -> FaceCycle:
    torch.manual_seed(0)
    made = FaceCycle(FaceCycleOptions(width=4, motion_width=16, generator_blocks=1, renormalizer_blocks=1))
    warper = ReferenceWarper(ReferenceWarper.Options())
    made.assemble(Parts(lambda: FaceCycleEncoder(FaceCycleEncoder.Options()), warper, 32))
    return made.eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def views_of(method: FaceCycle, images: torch.Tensor) -> Any:
    # Pairs of one image with itself, without noise: what a swap or a partner changes is then nothing.
    found = {}
    for cycle, names in method.view_names.items():
        with torch.no_grad():
            found[cycle] = method(Pairs(images, images), cycle, names, None)
    return found


def test_the_inventory_lists_every_name_with_its_roles(method: FaceCycle, images: torch.Tensor) -> None:
    roles: dict[str, set[str]] = defaultdict(set)
    monitored = [name for views in views_of(method, images).values() for name in views.monitored]
    for role, found in {
        "view": [name for names in method.view_names.values() for name in names],
        "panel": method.panels_from,
        "feature": method.features_from,
        "monitored": monitored,
        "cycle": method.view_names,
        "preset": preset_names(),
        "protocol": PROTOCOLS,
        "task": {protocol.task for protocol in PROTOCOLS.values()},
    }.items():
        for name in found:
            roles[name].add(role)
    assert {name: sorted(each) for name, each in roles.items()} == {n: e["roles"] for n, e in INVENTORY.items()}


def test_no_two_names_are_said_to_be_the_same() -> None:
    assert len({entry["is"] for entry in INVENTORY.values()}) == len(INVENTORY)


def test_one_name_is_one_tensor_wherever_it_stands(method: FaceCycle, images: torch.Tensor) -> None:
    panels = method.translate(images, None, None, frozenset(method.panels_from))
    views = views_of(method, images)
    shared = 0
    for cycle, found in views.items():
        for name, view in found.views.items():
            if method.panels_from.get(name) == cycle:
                assert torch.allclose(view.prediction[:2], panels[name], atol=1e-5), name
                shared += 1
            elif name in method.features_from:
                code = method.features(images, frozenset({name}))[name]
                assert torch.allclose(view.prediction, code, atol=1e-5), name
                shared += 1
        for name, tensor in found.monitored.items():
            expected = panels[name] if name in panels else method.features(images, frozenset({name}))[name]
            assert torch.allclose(tensor[:2], expected, atol=1e-5), name
    assert shared == 7
