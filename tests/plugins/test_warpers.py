"""Which warper runs where, and that all of them train alike."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from facecycle_kernels.backend import why_not_triton
from facecycle_kernels.flow_warp import flow_warp
from facecycle_kernels.renormalize import renormalize
from facecycle_kernels.ssim import ssim
from facecycle_plugins.warpers.fused import _announce

from facecycle.api import Pairs, Parts
from facecycle.checkpoints import model_file
from facecycle.config.layers import preset_layers, resolve
from facecycle.config.settings import Choice
from facecycle.errors import ConfigError
from facecycle.networks import build_method, load
from facecycle.pretraining.step import Objective
from facecycle.registry import build


def test_auto_says_what_it_picked_and_why(caplog: pytest.LogCaptureFixture) -> None:
    _announce.cache_clear()
    with caplog.at_level(logging.INFO, "facecycle"):
        for _ in range(2):
            build("warper", "auto")
    assert caplog.text.count("warper auto") == 1
    reason = why_not_triton()
    assert (reason or "Triton kernels") in caplog.text


def test_gpus_that_triton_does_not_support_take_torchs_own_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for capability, expected in (((7, 5), "compute capability is 7.5"), ((8, 0), None)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda found=capability: found)
        reason = why_not_triton.__wrapped__()
        assert reason is None if expected is None else expected in reason


@pytest.mark.skipif(why_not_triton() is None, reason="Triton runs here")
def test_fused_is_refused_where_it_cannot_run() -> None:
    with pytest.raises(ConfigError, match="fused cannot run here: torch finds no CUDA device"):
        build("warper", "fused")


@pytest.mark.parametrize(
    ("preset", "stage"),
    [("small", "direct"), ("small", "expression"), ("small", "identity")]
    + [(preset, stage) for preset in ("base", "paper") for stage in ("expression", "identity")],
)
def test_a_preset_costs_the_same_with_every_warper(preset: str, stage: str) -> None:
    weightless = {"losses": {"perceptual": {"options": {"pretrained": False}}}}
    changes = {"stages": {stage: weightless}} if preset != "small" else {}
    config = resolve([*preset_layers(preset), ("test", changes)])
    generator = torch.Generator().manual_seed(0)
    pairs = Pairs(*(torch.randn(2, 3, 64, 64, generator=generator) for _ in range(2)))
    objective: Objective | None = None
    totals = []
    for name in ("auto", "reference"):
        torch.manual_seed(0)
        method = build("method", config.method.name, {"width": 8, "motion_width": 16, "generator_blocks": 1})
        method.assemble(Parts(lambda: build("encoder", "facecycle"), build("warper", name), 64))
        objective = objective or Objective(config, stage, method)
        views = method(pairs, config.stages[stage].cycle, objective.wanted, torch.Generator().manual_seed(1))
        totals.append(objective(views)[0])
    assert torch.allclose(*totals, rtol=1e-4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: flow_warp(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)),
        lambda: flow_warp(torch.zeros(2, 3, 4, 4), torch.zeros(1, 2, 4, 4)),
        lambda: renormalize(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)),
        lambda: ssim(torch.zeros(1, 1, 3, 4, 4), torch.zeros(1, 3, 4, 5)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()  # type: ignore[operator]


def test_a_checkpoint_trained_with_fused_kernels_loads_anywhere(tmp_path: Path) -> None:
    options = {"width": 4, "motion_width": 8, "generator_blocks": 1, "renormalizer_blocks": 1}
    config = resolve([*preset_layers("small"), ("test", {"encoder": {"name": "facecycle"}})])
    config = config.model_copy(update={"method": Choice(name="facecycle", options=options)})
    network = build_method(config)
    config = config.model_copy(update={"warper": Choice(name="fused")})
    metadata = {"config": config.model_dump_json(), "trained": json.dumps(["expression", "identity"])}
    model_file.save(tmp_path / "checkpoints" / "step-1", network, {}, {}, metadata)
    loaded = load(tmp_path)
    assert torch.equal(loaded.method.motion.toflow4[3].weight, network.motion.toflow4[3].weight)
