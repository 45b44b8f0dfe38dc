"""The contract of methods."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

import torch

from facecycle import registry
from facecycle.api import Pairs, Parts, Task, Views
from facecycle.testing.common import Contract, random

SIZE = 64


def pairs_for(method: Any, cycle: str) -> Pairs:
    """Return two pairs of two people, with the frames that a cycle reads."""
    first, second = random(2, 3, SIZE, SIZE), random(2, 3, SIZE, SIZE, seed=1)
    frames = getattr(method, "frames", {}).get(cycle, 2)
    further = random(2, frames - 2, 3, SIZE, SIZE, seed=2) if frames > 2 else None
    numbers = torch.arange(2)
    return Pairs(first, second, further, torch.arange(frames).expand(2, -1), numbers, numbers)


def _noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class MethodContract(Contract):
    """A method computes the views, features and panels it names; it is assembled with the encoder and warper here."""

    kind = "method"
    encoder: ClassVar[str] = "facecycle"
    warper: ClassVar[str] = "reference"

    def assembled(self) -> Any:
        """Build the method and its networks."""
        method = self.build()
        method.assemble(
            Parts(
                encoder=lambda: registry.build("encoder", self.encoder),
                warper=registry.build("warper", self.warper),
                size=SIZE,
                pretrained_encoder=lambda name: registry.build("encoder", name, {"pretrained": True}),
            )
        )
        return method

    def views(self, method: Any, cycle: str, wanted: frozenset[str]) -> Views:
        """Compute views of two pairs."""
        found = method(pairs_for(method, cycle), cycle, wanted, _noise())
        assert isinstance(found, Views)
        return found

    def test_it_names_its_own_cycles(self) -> None:
        method = self.assembled()
        cycles = set(method.view_names)
        assert set(getattr(method, "frames", {})) <= cycles
        for cycle, before in getattr(method, "builds_on", {}).items():
            assert {cycle, *before} <= cycles
            assert cycle not in before

    def test_it_shows_panels_and_codes_of_its_own(self) -> None:
        method = self.assembled()
        assert set(getattr(method, "figure", ())) <= set(method.panels_from)
        assert set(getattr(method, "codes", ())) <= set(method.features_from)
        captions = getattr(method, "captions", {})
        assert set(captions) <= set(method.panels_from)
        assert all(title and isinstance(about, str) for title, about in captions.values())

    def test_it_is_probed_by_features_and_panels_of_its_own(self) -> None:
        method = self.assembled().eval()
        probed = dict(getattr(method, "probed", {}))
        assert set(probed.pop("neutral", ())) <= set(method.panels_from)
        assert set(probed) <= set(get_args(Task))
        assert {name for names in probed.values() for name in names} <= set(method.features_from)

    def test_maps_exist_at_another_size(self) -> None:
        method = self.assembled().eval()
        maps = frozenset(getattr(method, "maps", ()))
        assert maps <= set(method.features_from)
        with torch.no_grad():
            assert set(method.features(random(2, 3, 2 * SIZE, 2 * SIZE), maps)) == maps

    def test_every_cycle_gives_its_views_and_trains_something(self) -> None:
        method = self.assembled()
        for cycle, names in method.view_names.items():
            views = self.views(method, cycle, names)
            assert set(views.views) == names
            assert all(view.target in views.targets for view in views.views.values())
            parameters = [p for module in method.trainable(cycle) for p in module.parameters()]
            total = torch.stack([view.prediction.square().mean() for view in views.views.values()]).sum()
            assert any(g is not None for g in torch.autograd.grad(total, parameters, allow_unused=True))

    def test_only_wanted_views_are_returned(self) -> None:
        method = self.assembled()
        for cycle, names in method.view_names.items():
            one = frozenset({min(names)})
            assert set(self.views(method, cycle, one).views) == one

    def test_features_and_panels_have_a_row_an_image(self) -> None:
        method = self.assembled().eval()
        images = random(2, 3, SIZE, SIZE)
        with torch.no_grad():
            for name, cycle in method.features_from.items():
                assert cycle in method.view_names
                found = method.features(images, frozenset({name}))
                assert set(found) == {name}
                assert found[name].shape[0] == 2
            every = method.features(images, frozenset(method.features_from))
            assert set(every) == set(method.features_from)
            wanted = frozenset(method.panels_from)
            panels = method.translate(images, images.flip(0), _noise(), wanted)
            for name in wanted:
                one = method.translate(images, images.flip(0), _noise(), frozenset({name}))
                assert set(one) == {name}
        assert set(panels) == wanted
        assert all(panel.shape[0] == 2 for panel in panels.values())
