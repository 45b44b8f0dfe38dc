"""Presets are found by name in any package, and a method of another package trains from its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.common import Command, refused
from helpers.sites import distribution

from facecycle import discovery
from facecycle.api import PRESET_GROUP
from facecycle.config.layers import method_of, preset_layers, resolve
from facecycle.config.preset_files import find_preset, preset_names
from facecycle.errors import AmbiguousName, ConfigError, PluginError
from facecycle.networks import load

METHOD = '''
import torch
from torch import nn
from facecycle.api import Options, View, Views
from facecycle.heads import LinearCode


class Mine(nn.Module):
    """Codes of three frames near each other, and a mean of the weights that follows the steps."""

    facecycle_api = (1, 1)
    Options = Options
    view_names = {"triples": frozenset({"others"})}
    features_from = {"code": "triples"}
    panels_from = {}
    frames = {"triples": 3}

    def __init__(self, options):
        super().__init__()

    def assemble(self, parts):
        self.encoder = LinearCode(parts.encoder(), parts.size, 8)
        self.register_buffer("steps_taken", torch.zeros(()))

    def trainable(self, cycle):
        return [self.encoder]

    def forward(self, pairs, cycle, wanted, noise):
        code = self.encoder(pairs.first)
        others = self.encoder(pairs.further.flatten(0, 1)) - self.encoder(pairs.second)
        return Views({"others": View(others, "code")}, {"code": code})

    def after_step(self, cycle):
        assert cycle == "triples"
        self.steps_taken += 1

    def features(self, images, wanted):
        return {"code": self.encoder(images)}

    def translate(self, images, drivers, noise, wanted):
        return {}
'''
PRESET = """
size = 32
pairs = 2
method = { name = "mine" }
encoder = { name = "timm:mobilenetv3_small_050" }
data = [{ name = "synthetic", options = { identities = 2, test_identities = 20, takes = 2, frames = 3 } }]

[stages.triples]
cycle = "triples"
pairing = "sequence"
frames = 3
steps = 3
optimizer = { name = "sgd", lr = [[0, 1e-3]], momentum = 0.9 }
losses = { near = { name = "mse", views = { others = 1.0 } } }
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that is installed, with a method and its preset."""
    points = {"facecycle.methods": {"mine": "their_package.method:Mine"}}
    points[PRESET_GROUP] = {"mine": "their_package.presets:mine.toml"}
    site = distribution(tmp_path / "site", "their-package", points)
    (site / "their_package" / "presets").mkdir(parents=True)
    (site / "their_package" / "__init__.py").touch()
    (site / "their_package" / "method.py").write_text(METHOD)
    (site / "their_package" / "presets" / "mine.toml").write_text(PRESET)
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name in [name for name in sys.modules if name.startswith("their_package")]:
        del sys.modules[name]


def test_a_method_of_another_package_trains_from_its_own_preset(site: Path, inside: Command, tmp_path: Path) -> None:
    result = inside("pretrain", "--preset", "mine", "--out", tmp_path / "run", "--cache-gb", "0")
    assert result.returncode == 0, result.stderr
    found = load(tmp_path / "run")
    assert found.method.steps_taken == 3
    assert found.checkpoint.trained == {"triples"}
    assert found.checkpoint.components()["method:mine"]["distribution"] == "their-package"
    assert set(found.checkpoint.config.stages) == {"triples"}
    # Nothing is shown, and nothing is said of pictures.
    assert not list((tmp_path / "run").glob("samples/*"))
    assert "samples" not in result.stdout + result.stderr


def test_a_file_of_another_method_is_laid_over_no_stages_of_ours(site: Path, inside: Command, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(PRESET)
    result = inside("pretrain", "--config", tmp_path / "own.toml", "--out", tmp_path / "run", "--cache-gb", "0")
    assert result.returncode == 0, result.stderr
    config = load(tmp_path / "run").checkpoint.config
    assert (config.preset, set(config.stages)) == (None, {"triples"})
    (tmp_path / "own.toml").write_text("pairs = 3\n[method.options]\nwidth = 8\n")
    refused(inside("pretrain", "--config", tmp_path / "own.toml", "--data", "gone"), "no file or folder")


def test_the_check_reads_presets_and_a_method_shows_its_cycles(site: Path, inside: Command) -> None:
    shown = inside("plugins", "show", "mine").stdout
    assert all(word in shown for word in ("triples", "others", "code"))
    (site / "their_package" / "presets" / "mine.toml").write_text("pairs = [")
    checked = inside("plugins", "check")
    assert checked.returncode == 2
    assert "ok      preset small (facecycle)" in checked.stdout
    assert "broken  preset mine: the preset 'mine' of their-package 1.0" in checked.stdout


def test_every_preset_stands_alone(site: Path) -> None:
    assert {"small", "paper", "mine"} <= set(preset_names())
    for name in preset_names():
        layers = preset_layers(name)
        config = resolve(layers)
        assert config.method.name == method_of(layers)
        assert config.preset == name


def test_a_preset_that_two_packages_have_is_named_in_full(site: Path, tmp_path: Path) -> None:
    distribution(site, "another", {PRESET_GROUP: {"mine": "their_package.presets:mine.toml"}})
    discovery._scan.cache_clear()
    with pytest.raises(AmbiguousName, match=r"(?s)more than one package has a preset 'mine'.*another/mine"):
        find_preset("mine")
    assert find_preset("their_package/mine")["pairs"] == 2
    with pytest.raises(ConfigError, match=r"(?s)there is no preset 'mind'.*Did you mean mine"):
        find_preset("mind")


@pytest.mark.parametrize("extends", ["'mine'", "'other'", "3", "''"])
def test_a_preset_extends_another_one(site: Path, extends: str) -> None:
    distribution(site, "another", {PRESET_GROUP: {"other": "their_package.presets:other.toml"}})
    (site / "their_package" / "presets" / "other.toml").write_text("extends = 'mine'")
    discovery._scan.cache_clear()
    assert resolve(preset_layers("other")).pairs == 2
    (site / "their_package" / "presets" / "mine.toml").write_text(f"extends = {extends}\n{PRESET}")
    with pytest.raises(ConfigError, match=r"preset '(mine|other|)' has extends = |there is no preset ''"):
        preset_layers("mine")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("their_package.presets:gone.toml", "gone.toml"),
        ("no_such_package:mine.toml", "no package no_such_package"),
        ("no_such_package.presets:mine.toml", "no_such_package"),
        ("their_package.presets:broken.toml", "TOMLDecodeError"),
    ],
)
def test_a_preset_that_cannot_be_read_names_its_package(site: Path, target: str, said: str) -> None:
    (site / "their_package" / "presets" / "broken.toml").write_text("a = [")
    distribution(site, "worse", {PRESET_GROUP: {"wrong": target}})
    discovery._scan.cache_clear()
    with pytest.raises(PluginError, match=r"(?s)the preset 'wrong' of worse 1\.0") as caught:
        find_preset("wrong")
    assert said in str(caught.value)
