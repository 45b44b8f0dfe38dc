"""Stages that cannot be trained are refused before a run begins, with one message each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.common import Command, picture, refused
from helpers.sites import distribution
from helpers.training import Quiet, tiny
from torch import nn

from facecycle.api import View, Views
from facecycle.checkpoints import model_file
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.config.settings import RunConfig
from facecycle.errors import CheckpointError, ConfigError, DataError, FacecycleError, PluginError
from facecycle.networks import build_method, load
from facecycle.pretraining.checks import check_cycles
from facecycle.pretraining.run import Pretraining
from facecycle.pretraining.run_folder import RunFolder
from facecycle.pretraining.step import Objective

SMALL = "data=[{name='synthetic', options={identities=2, test_identities=20, takes=2, frames=4}}]"


def of(preset: str, *settings: str) -> RunConfig:
    encoder = [] if preset in {"fab-net", "tcae"} else ["encoder.name='timm:mobilenetv3_small_050'"]
    return resolve([*preset_layers(preset), set_layer([SMALL, "size=64", "pairs=4", *encoder, *settings])])


REFUSED: dict[str, tuple[RunConfig, type[FacecycleError], str]] = {
    "too short for a sequence": (
        of("temporal"),
        DataError,
        r"stages\.ranking reads sequences that span 12 frames, and the longest track has 4",
    ),
    "spaced too far": (
        of("temporal", "stages.ranking.frames=3", "stages.ranking.spacing=4", "method.options.frames=3"),
        DataError,
        "span 6 frames",
    ),
    "frames of another number": (
        of("temporal", "stages.ranking.frames=4"),
        ConfigError,
        r"stages\.ranking\.frames = 4: the cycle sequence of the method temporal reads 12 frames",
    ),
    "frames of a method that reads two": (
        of("simclr", "stages.pairs.frames=3"),
        ConfigError,
        r"stages\.pairs\.frames = 3: the cycle pairs of the method simclr reads 2 frames",
    ),
    "a view that the method lacks": (
        of("simclr", "stages.pairs.losses.contrast.views.secnd=1"),
        ConfigError,
        r"(?s)views\.secnd: the pairs cycle has no such view.*Did you mean second",
    ),
    "one pair": (
        of("simclr", "pairs=1"),
        ConfigError,
        r"stages\.pairs\.losses\.contrast: the loss nt-xent needs 2 pairs in a batch, and pairs = 1",
    ),
    "one pair of a stage": (of("vicreg", "stages.pairs.pairs=1"), ConfigError, "variance needs 2 pairs"),
    "a band of nothing": (of("fab-net", "pairs=1"), ConfigError, "l1 needs 2 pairs"),
    "passes": (of("simclr", "accumulate=2"), ConfigError, r"compares the images of a batch, and accumulate = 2"),
    "sources without the networks they build on": (
        of("fab-net", "cycle=several-sources"),
        ConfigError,
        r"(?s)trains the cycle several-sources, which needs trained networks of the cycle one-source.*--from RUN",
    ),
    "a size that no decoder reaches": (of("tcae", "size=96"), ConfigError, r"(?s)size = 96.*a power of two"),
    "a cycle of another method": (
        of("vicreg", "stages.pairs.cycle=expression"),
        ConfigError,
        r"stages\.pairs\.cycle = 'expression': the method has pairs",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_before_training(tmp_path: Path, case: str) -> None:
    config, error, said = REFUSED[case]
    with pytest.raises(error, match=said):
        Pretraining(config, RunFolder(tmp_path / "run"), Quiet())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["stages.direct.spacing=2"], "spacing belongs to the pairing sequence, not to same-track"),
        (["stages.direct.optimizer.momentum=0.9"], "momentum belongs to sgd, not to adamw"),
        (["stages.direct.frames=1"], r"stages\.direct\.frames = 1"),
        (["stages.direct.losses.photometric.options={low=0.5, high=0.5}"], "low must be less than high"),
        (["stages.direct.losses.photometric.options={low=0.5, hgh=1}"], "Did you mean high"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, settings: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Pretraining(tiny(*settings), RunFolder(tmp_path / "run"), Quiet())


@pytest.mark.parametrize(
    ("preset", "loss", "said"),
    [
        ("simclr", "{name='ssim', views={second=1}}", r"SsimLoss does not compare views such as second"),
        ("simclr", "{name='symmetry', views={second=1}}", r"SymmetryLoss does not compare"),
        ("simclr", "{name='ranking', views={second=1}}", r"(?s)RankingLoss does not compare.*shape \(128,\)"),
        ("fab-net", "{name='nt-xent', views={reconstruction=1}}", r"NtXentLoss does not compare.*\(3, 64, 64\)"),
        ("fab-net", "{name='pair-hinge', views={reconstruction=1}}", "PairHingeLoss does not compare"),
    ],
)
def test_a_loss_of_something_else_is_named(tmp_path: Path, preset: str, loss: str, said: str) -> None:
    config = of(preset, f"stages={{only={{cycle='{CYCLE[preset]}', steps=1, losses={{wrong={loss}}}}}}}")
    only = config.model_copy(update={"stages": {"only": config.stages["only"]}})
    with pytest.raises(ConfigError, match=said):
        Pretraining(only, RunFolder(tmp_path / "run"), Quiet()).run()


CYCLE = {"simclr": "pairs", "fab-net": "one-source"}


def test_a_cycle_that_an_earlier_stage_trains_is_there() -> None:
    config = of("fab-net")
    method: Any = build_method(config)
    check_cycles(config, method, set())
    alone = config.model_copy(update={"cycle": "several-sources"})
    check_cycles(alone, method, {"one-source"})
    with pytest.raises(ConfigError, match="one-source"):
        check_cycles(alone, method, {"several-sources"})


def test_tracks_that_are_left_out_are_counted(tmp_path: Path) -> None:
    for name, frames in (("short", 2), ("long", 5)):
        for number in range(frames):
            picture(tmp_path / name / f"{number}.png", number)
    data = f"data=[{{name='tracks', options={{path='{tmp_path}'}}}}]"
    config = of("temporal", "method.options.frames=4", "stages.ranking.frames=4", data)
    listener = Quiet()
    Pretraining(config, RunFolder(tmp_path / "run"), listener)
    assert "stage ranking: 1 tracks are too short for its sequences" in listener.notes


def test_a_command_says_what_is_wrong(inside: Command) -> None:
    refused(inside("pretrain", "--preset", "simclr", "--set", "pairs=1", "--set", SMALL), "needs 2 pairs")
    refused(inside("pretrain", "--cycle", "expresion"), "no stage trains that cycle")


def test_a_checkpoint_of_a_method_that_is_not_installed_names_its_package(tmp_path: Path) -> None:
    config = of("simclr")
    values = json.loads(config.model_dump_json())
    values["method"]["name"] = "gone"
    made_with = {"method:gone": {"distribution": "gone-methods", "version": "1.2", "entry_point": "gone:Gone"}}
    metadata = {"config": json.dumps(values), "trained": "[]", "components": json.dumps(made_with)}
    path = tmp_path / "model.safetensors"
    model_file.save_model(path, build_method(config), metadata)
    with pytest.raises(
        CheckpointError, match=r"(?s)needs a plugin that cannot be used here.*no method 'gone'"
    ) as caught:
        load(path)
    assert "gone-methods 1.2" in str(caught.value)


def test_a_method_that_leaves_out_what_it_names_is_told() -> None:
    objective = Objective(of("simclr"), "pairs", nn.Linear(1, 1))
    codes = torch.ones(4, 8)
    with pytest.raises(PluginError, match="names a view 'second', and did not compute it"):
        objective(Views({}, {"first": codes}))
    with pytest.raises(PluginError, match="compares views with 'first', and did not give it"):
        objective(Views({"second": View(codes, "first")}, {}))


FAULTY_METHOD = """
from facecycle.api import Options
from torch import nn

class Faulty(nn.Module):
    facecycle_api = (1, 1)
    Options = Options
    view_names, features_from, panels_from = {"pairs": frozenset({"second"})}, {}, {}

    def __init__(self, options): super().__init__()
    def assemble(self, parts): FAULT
    def trainable(self, cycle): return [nn.Flatten()]
    def __call__(self, pairs, cycle, wanted, noise): ...
    def features(self, images, wanted): ...
    def translate(self, images, drivers, noise, wanted): ...
"""


@pytest.mark.parametrize(
    ("name", "fault", "said"),
    [
        ("raises", "self.head = parts.heads", r"'raises' of raises 1\.0 .* cannot be assembled: AttributeError"),
        ("rests", "pass", r"stages\.pairs: the method rests names no network with weights that the cycle pairs trains"),
    ],
)
def test_a_faulty_method_is_named(site: Path, tmp_path: Path, name: str, fault: str, said: str) -> None:
    source = FAULTY_METHOD.replace("FAULT", fault)
    distribution(site, name, {"facecycle.methods": {name: f"{name}:Faulty"}}, **{name: source})
    with pytest.raises(PluginError, match=said):
        Pretraining(of("simclr", f"method.name={name}"), RunFolder(tmp_path / "run"), Quiet())
