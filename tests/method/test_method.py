"""FaceCycle: invariants of its views, which networks a cycle runs and trains, and reproducible noise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from facecycle_plugins.warpers.reference import ReferenceWarper
from torch import nn

from facecycle.api import Pairs, Parts
from facecycle.config.layers import preset_layers, resolve
from facecycle.config.settings import OptimizerConfig
from facecycle.errors import ConfigError
from facecycle.method.decoders import Stem, backflow, draw_noise
from facecycle.method.encoder import CodeEncoder, FaceCycleEncoder
from facecycle.method.facecycle import FaceCycle, FaceCycleOptions, swap_halves
from facecycle.networks import build_method
from facecycle.pretraining.optimizer import learning_rate, make_optimizer, optimizer_tensors, restore_optimizer
from facecycle.pretraining.step import deviations


def small_method(size: int = 32, renormalizer_width: int | None = None) -> FaceCycle:
    torch.manual_seed(0)
    small = FaceCycleOptions(width=8, motion_width=16, generator_blocks=1, renormalizer_blocks=1)
    method = FaceCycle(small.model_copy(update={"renormalizer_width": renormalizer_width}))
    method.assemble(
        Parts(
            encoder=lambda: FaceCycleEncoder(FaceCycleEncoder.Options()),
            warper=ReferenceWarper(ReferenceWarper.Options()),
            size=size,
        )
    )
    return method


@pytest.fixture(scope="module")
def method() -> FaceCycle:
    return small_method()


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return Pairs(*torch.randn(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1)))


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_swapping_twice_is_nothing() -> None:
    x = torch.randn(6, 2)
    assert torch.equal(swap_halves(swap_halves(x)), x)
    assert torch.equal(swap_halves(x)[:3], x[3:])


@pytest.mark.parametrize("cycle", ["expression", "identity"])
def test_every_view_exists_and_has_the_batch_shape(method: FaceCycle, pairs: Pairs, cycle: str) -> None:
    views = method(pairs, cycle, method.view_names[cycle], noise())
    assert set(views.views) == method.view_names[cycle]
    for name, view in views.views.items():
        shapes = {"flow": (4, 2, 16, 16), "expression": (2, 256), "identity": (2, 256)}
        assert view.prediction.shape == shapes.get(name, (4, 3, 32, 32))
        assert view.target in views.targets


@contextmanager
def calls(method: FaceCycle) -> Iterator[Counter[str]]:
    """Count how often each network runs while the context lasts; the generator by its stem and by its last layer."""
    count: Counter[str] = Counter()
    networks = {name: getattr(method, name) for name in ("expression", "motion", "identity", "renormalizer")}
    networks |= {"stem": method.generator.stem, "generator": method.generator.torgb}
    hooks = [
        network.register_forward_hook(lambda *_, name=name: count.update([name])) for name, network in networks.items()
    ]
    try:
        yield count
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize(
    ("cycle", "wanted", "expected"),
    [
        ("expression", {"expression"}, {"expression": 1}),
        ("expression", {"flow"}, {"expression": 1, "motion": 1}),
        ("expression", {"direct", "frontal"}, {"expression": 1, "motion": 1}),
        ("expression", {"expression", "neutral"}, {"expression": 1, "motion": 1, "stem": 1, "generator": 1}),
        (
            "expression",
            {"neutral", "swapped_warp", "identity_reconstruction"},
            {"expression": 1, "motion": 1, "stem": 1, "generator": 1},
        ),
        (
            "expression",
            {"neutral", "swapped_warp", "reconstruction"},
            {"expression": 1, "motion": 1, "stem": 2, "generator": 2},
        ),
        ("identity", {"identity"}, {"identity": 1}),
        (
            "identity",
            {"identity", "mean_face", "common_mean_face"},
            {"identity": 1, "expression": 1, "motion": 1, "stem": 1, "generator": 1, "renormalizer": 1},
        ),
        (
            "identity",
            {"mean_face", "restored_neutral", "direct", "reconstruction"},
            {"identity": 1, "expression": 1, "motion": 1, "stem": 2, "generator": 2, "renormalizer": 2},
        ),
    ],
)
def test_a_cycle_runs_no_network_that_no_wanted_view_needs(
    method: FaceCycle, pairs: Pairs, cycle: str, wanted: set[str], expected: dict[str, int]
) -> None:
    with calls(method) as count:
        views = method(pairs, cycle, frozenset(wanted), noise())
    assert count == expected
    assert set(views.views) == wanted
    every = method(pairs, cycle, method.view_names[cycle], noise())
    for name, view in views.views.items():
        assert torch.allclose(view.prediction, every.views[name].prediction, atol=1e-5), name
        assert torch.allclose(views.targets[view.target], every.targets[view.target], atol=1e-5), name


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"flow", "frontal"}, {"expression": 1, "motion": 1}),
        ({"neutral", "mean_face"}, {"expression": 1, "motion": 1, "generator": 1, "identity": 1, "renormalizer": 1}),
        ({"expression_swap"}, {"expression": 2, "motion": 2, "generator": 2}),
        ({"identity_swap"}, {"expression": 1, "motion": 1, "generator": 1, "identity": 2, "renormalizer": 2}),
    ],
)
def test_a_panel_runs_no_network_that_it_does_not_need(
    method: FaceCycle, pairs: Pairs, wanted: set[str], expected: dict[str, int]
) -> None:
    with calls(method) as count, torch.no_grad():
        assert set(method.translate(pairs.first, pairs.second, noise(), frozenset(wanted))) == wanted
    assert count - Counter(stem=2) == expected
    with calls(method) as count, torch.no_grad():
        alone = method.translate(pairs.first, None, noise(), frozenset(wanted))
    assert bool(count) == bool(alone) == bool(wanted - {"expression_swap", "identity_swap"})


def test_saving_memory_changes_no_gradient(pairs: Pairs) -> None:
    found = []
    for save_memory in (False, True):
        method = small_method()
        method.generator.save_memory = save_memory
        views = method(pairs, "expression", method.view_names["expression"], noise())
        sum(view.prediction.square().mean() for view in views.views.values()).backward()
        found.append([p.grad for p in method.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(*found, strict=True))


def test_a_pair_of_equal_images_swaps_to_itself(method: FaceCycle, pairs: Pairs) -> None:
    same = Pairs(pairs.first, pairs.first)
    views = method(same, "expression", frozenset({"direct"}), noise()).views
    first, second = views["direct"].prediction.chunk(2)
    assert torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("cycle", ["expression", "identity"])
def test_gradients_reach_all_trainable_networks_and_no_others(pairs: Pairs, cycle: str) -> None:
    method = small_method()
    method.requires_grad_(False)
    for module in method.trainable(cycle):
        module.requires_grad_(True)
    views = method(pairs, cycle, method.view_names[cycle], noise())
    sum(v.prediction.square().mean() for v in views.views.values()).backward()
    trained = {id(p) for m in method.trainable(cycle) for p in m.parameters()}
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in trained), name


def test_the_identity_cycle_shares_one_mean_face(method: FaceCycle, pairs: Pairs) -> None:
    # With one identity code for all, re-identification of the shared mean face gives one face.
    code = torch.zeros(4, 256)
    method_code = method.identity.forward
    try:
        method.identity.forward = lambda images: code  # type: ignore[method-assign]
        views = method(pairs, "identity", frozenset({"restored_neutral"}), noise()).views
    finally:
        method.identity.forward = method_code  # type: ignore[method-assign]
    faces = views["restored_neutral"].prediction
    assert torch.allclose(faces, faces[:1].expand_as(faces), atol=1e-5)


def test_a_swapped_neutral_face_wears_the_identity_of_the_pairs_other_image(method: FaceCycle, pairs: Pairs) -> None:
    wanted = frozenset({"restored_neutral", "swapped_neutral"})
    views = method(pairs, "identity", wanted, noise()).views
    assert torch.allclose(
        views["swapped_neutral"].prediction, swap_halves(views["restored_neutral"].prediction), atol=1e-5
    )
    assert views["swapped_neutral"].target == views["restored_neutral"].target == "neutral"


def test_mean_faces_are_not_watched_for_a_collapse_to_which_they_are_trained(method: FaceCycle, pairs: Pairs) -> None:
    views = method(pairs, "identity", frozenset({"common_mean_face"}), noise())
    assert set(deviations(views)) == {"deviation/identity"}


def test_a_new_stem_sees_a_picture_as_smooth_as_the_mean_face() -> None:
    line = torch.linspace(-1, 1, 64)
    face = torch.exp(-2 * (line**2 + line[:, None] ** 2)).expand(1, 3, 64, 64)
    for seed in range(3):
        torch.manual_seed(seed)
        _, deep = Stem(width=23)(face)
        constant = deep.flatten(2).std(2) < 1e-4
        assert constant.float().mean() < 0.2  # instance norm makes nothing of such a map


def test_the_renormalizer_has_its_own_width_where_one_is_set() -> None:
    shapes = [
        {name: tuple(tensor.shape) for name, tensor in small_method(renormalizer_width=width).state_dict().items()}
        for width in (None, 8, 6)
    ]
    assert shapes[0] == shapes[1]
    assert shapes[2]["renormalizer.torgb.weight"] == (3, 12, 1, 1)
    assert all(shape == shapes[0][name] for name, shape in shapes[2].items() if not name.startswith("renormalizer."))


def test_translation_of_an_image_does_not_depend_on_its_batch(method: FaceCycle) -> None:
    images = torch.randn(3, 3, 32, 32, generator=noise(4))
    with torch.no_grad():
        together = method.translate(images, images.flip(0), noise(), frozenset(method.panels_from))
        alone = method.translate(images[1:2], images[1:2], noise(), frozenset(method.panels_from))
    assert set(together) == set(method.panels_from)
    for name, panel in alone.items():
        assert torch.allclose(together[name][1:2], panel, atol=1e-4), name


def test_panels_are_what_they_are_called(pairs: Pairs) -> None:
    method = small_method()
    for encoder in (method.expression, method.identity):  # codes as far apart as trained ones
        for layer in encoder.head:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.2)
    images, drivers, warper = pairs.first, pairs.second, method.warper

    def generate(faces: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        return method.generator(faces, flow, warper, None)

    with torch.no_grad():
        found = method.translate(images, drivers, None, frozenset(method.panels_from))
        flow, theirs = (method.motion(method.expression(faces)) for faces in (images, drivers))
        identity, other = method.identity(images), method.identity(drivers)
        neutral = generate(images, flow)
        mean_face = method.renormalizer(generate(drivers, theirs), other, "denorm", warper)
        expected = {
            "flow": flow,
            "frontal": warper.warp(images, flow, clamp=True),
            "neutral": neutral,
            "reconstruction": generate(neutral, backflow(warper, flow)),
            "expression_swap": generate(neutral, backflow(warper, theirs)),
            "mean_face": method.renormalizer(neutral, identity, "denorm", warper),
            "identity_swap": method.renormalizer(mean_face, identity, "renorm", warper),
        }
    assert found.keys() == expected.keys()
    for name, panel in expected.items():
        assert torch.allclose(found[name], panel, atol=1e-5), name
    for one, another in (("reconstruction", "expression_swap"), ("mean_face", "identity_swap")):
        assert (found[one] - found[another]).abs().max() > 1e-3


def test_noise_is_drawn_for_each_image_unless_it_is_shared() -> None:
    maps = torch.zeros(3, 2, 4, 4)
    own, shared = draw_noise(maps, noise(), False), draw_noise(maps, noise(), True)
    assert not torch.equal(own[0], own[1])
    assert torch.equal(shared[0], shared[1])
    assert torch.equal(shared[0], own[0])
    assert draw_noise(maps, None, False).abs().max() == 0


def test_noise_follows_the_seed(method: FaceCycle) -> None:
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        first, again, other = (
            method.translate(images, None, noise(s), frozenset({"neutral"}))["neutral"] for s in (1, 1, 2)
        )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_code_exists_at_the_training_size_only() -> None:
    encoder = CodeEncoder(FaceCycleEncoder(FaceCycleEncoder.Options()), 64, 512)
    with torch.no_grad():
        assert encoder(torch.zeros(1, 3, 64, 64)).shape == (1, 256)
        for size, length in ((64, 2048), (100, 6272), (128, 8192)):
            assert encoder.conv_feature(torch.zeros(1, 3, size, size)).shape == (1, length)
        with pytest.raises(ConfigError, match="64 x 64 pixels only"):
            encoder(torch.zeros(1, 3, 128, 128))


def test_both_stems_copy_vgg19_in_order() -> None:
    import timm

    vgg = timm.create_model("vgg19", pretrained=False)
    method = FaceCycle(FaceCycleOptions(motion_width=16, generator_blocks=1, renormalizer_blocks=1, stem="vgg19"))
    warper = ReferenceWarper(ReferenceWarper.Options())
    encoder = lambda: FaceCycleEncoder(FaceCycleEncoder.Options())  # noqa: E731
    method.assemble(Parts(encoder, warper, 32, pretrained_encoder=lambda name: {"vgg19": vgg}[name]))
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for stem in (method.generator.stem, method.renormalizer.stem):
            mid, deep = stem(images)
            assert torch.allclose(mid, vgg.features[:7](images), atol=1e-6)
            assert torch.allclose(deep, vgg.features[:12](images), atol=1e-6)
    with pytest.raises(ConfigError, match="width=64"):
        Stem(32).copy_from(vgg)


def test_the_paper_networks_have_the_published_sizes_and_a_frozen_stem() -> None:
    # Weights of a checkpoint follow, so nothing is downloaded.
    method = build_method(resolve(preset_layers("paper")), weights_follow=True)

    def count(network: nn.Module, frozen: bool = False) -> int:
        return sum(p.numel() for p in network.parameters() if not (frozen and p.requires_grad))

    sizes = [count(n) for n in (method.expression, method.motion, method.generator, method.renormalizer)]
    assert sizes == [4_240_000, 2_996_544, 13_409_475, 10_014_275]
    assert count(method.generator, frozen=True) == count(method.renormalizer, frozen=True) == 555_328
    trained = {id(p) for cycle in method.view_names for m in method.trainable(cycle) for p in m.parameters()}
    assert not trained & {id(p) for p in method.generator.stem.parameters()}


def test_the_paper_rates_change_at_their_epochs() -> None:
    config = OptimizerConfig(lr=[(0, 1e-5), (1, 5e-5), (20, 1e-5)])
    rates = [learning_rate(config, epoch * 7 + 3, 280, 7) for epoch in (0, 1, 19, 20, 39)]
    assert rates == [1e-5, 5e-5, 5e-5, 1e-5, 1e-5]


def test_the_paper_optimizers_are_adam_with_their_own_decays() -> None:
    stages = resolve(preset_layers("paper")).stages
    for name, betas in (("expression", (0.5, 0.999)), ("identity", (0.5, 0.9))):
        optimizer = make_optimizer(stages[name].optimizer, [nn.Parameter(torch.zeros(1))])
        assert type(optimizer) is torch.optim.Adam
        assert (optimizer.defaults["betas"], optimizer.defaults["weight_decay"]) == (betas, 0)
    decayed = make_optimizer(OptimizerConfig(weight_decay=0.1), [nn.Parameter(torch.zeros(1))])
    assert type(decayed) is torch.optim.AdamW
    assert decayed.defaults["weight_decay"] == 0.1


def test_a_restored_state_lies_in_memory_as_its_parameter_does() -> None:
    weight = nn.Parameter(torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last))
    optimizers = [make_optimizer(OptimizerConfig(), [weight]) for _ in range(2)]
    weight.grad = torch.ones_like(weight)
    optimizers[0].step()
    saved = optimizer_tensors(optimizers[0])
    restore_optimizer(optimizers[1], saved)
    for name, value in optimizers[1].state[weight].items():
        assert torch.equal(value, saved[f"0.{name}"])
        assert value.dim() == 0 or value.stride() == weight.stride()


def test_one_cycle_rises_to_its_peak_and_falls() -> None:
    rates = [learning_rate(OptimizerConfig(lr=1.0), step, 100, 10) for step in range(100)]
    assert max(rates) == rates[9] == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.02


def test_compiled_networks_compute_the_same_and_keep_the_names_of_their_tensors(pairs: Pairs) -> None:
    plain, compiled = small_method(), small_method()
    compiled.compile(backend="aot_eager")
    assert list(compiled.state_dict()) == list(plain.state_dict())
    wanted = frozenset({"direct", "neutral", "reconstruction"})
    losses = []
    for network in (plain, compiled):
        views = network(pairs, "expression", wanted, noise()).views
        losses.append(torch.stack([view.prediction.square().mean() for view in views.values()]))
        losses[-1].sum().backward()
    assert torch.allclose(losses[0], losses[1], rtol=1e-5)
    for (name, a), b in zip(plain.named_parameters(), compiled.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None and b.grad is not None:
            assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-6 * float(a.grad.abs().max()) + 1e-9), name
