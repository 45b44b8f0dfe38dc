"""Configuration layers: what beats what, what is removed, and how a mistake is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from facecycle.config.layers import file_layer, preset_layers, resolve, set_layer
from facecycle.config.preset_files import preset_names
from facecycle.errors import ConfigError


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_resolves_and_survives_json(name: str, tmp_path: Path) -> None:
    config = resolve(preset_layers(name))
    assert config.preset == name
    (tmp_path / "config.json").write_text(config.model_dump_json())
    assert resolve([file_layer(tmp_path / "config.json")]) == config


def test_later_layers_beat_earlier_ones_key_by_key() -> None:
    config = resolve([*preset_layers("small"), set_layer(["stages.direct.optimizer.lr=0.5", "pairs=4"])])
    assert config.stages["direct"].optimizer.lr == 0.5
    assert config.stages["direct"].optimizer.name == "adamw"
    assert config.pairs == 4


def test_a_renamed_component_loses_the_options_of_the_old_one() -> None:
    layers = [*preset_layers("small"), set_layer(["stages.identity.losses.margin.options.margin=0.2"])]
    assert resolve(layers).stages["identity"].losses["margin"].options == {"margin": 0.2}
    renamed = resolve([*layers, set_layer(["stages.identity.losses.margin.name=l1"])])
    assert renamed.stages["identity"].losses["margin"].options == {}
    assert renamed.stages["identity"].losses["margin"].views == {"mean_face": 2.0}


def test_none_removes_a_stage_a_loss_or_a_view() -> None:
    removed = ["stages.direct=none", "stages.identity.losses.ssim=none"]
    removed.append("stages.expression.losses.photometric.views.direct=none")
    config = resolve([*preset_layers("small"), set_layer(removed)])
    assert "direct" not in config.stages
    assert "ssim" not in config.stages["identity"].losses
    assert "direct" not in config.stages["expression"].losses["photometric"].views


def test_a_cycle_alone_leaves_the_other_stages_out() -> None:
    config = resolve([*preset_layers("small"), set_layer(["cycle=identity"])])
    assert list(config.trained_stages) == ["identity"]
    assert list(config.stages) == ["direct", "expression", "identity"], "what may be trained later is kept"
    with pytest.raises(ConfigError, match=r"(?s)cycle = 'identity': no stage trains that cycle.*direct \(expression\)"):
        resolve([*preset_layers("small"), set_layer(["cycle=identity", "stages.identity=none"])])


def test_a_key_of_the_whole_run_beats_that_of_a_stage() -> None:
    config = resolve([*preset_layers("paper"), ("flags", {"steps": 5}), set_layer(["stages.expression.steps=3"])])
    assert [stage.steps for stage in config.trained_stages.values()] == [5, 5]
    config = resolve([*preset_layers("paper"), ("flags", {"steps": 5}), set_layer(["steps=4"])])
    assert [stage.steps for stage in config.trained_stages.values()] == [4, 4]
    config = resolve([*preset_layers("paper"), ("flags", {"steps": 5}), set_layer(["steps=none"])])
    assert [stage.steps for stage in config.trained_stages.values()] == [None, None]


def test_epochs_take_the_place_of_steps_of_an_earlier_layer() -> None:
    lengths = {}
    for setting in ("stages.direct.epochs=3", "stages.direct={epochs=3, steps=7}", "stages.direct.epochs=none"):
        stage = resolve([*preset_layers("small"), set_layer([setting])]).trained_stages["direct"]
        lengths[setting] = stage.epochs, stage.steps
    assert list(lengths.values()) == [(3, None), (3, 7), (None, 1500)]
    again = resolve([*preset_layers("small"), set_layer(["stages.direct.epochs=3"]), set_layer(["steps=2"])])
    assert again.trained_stages["direct"].steps == 2


def test_one_key_names_the_network_of_every_perceptual_loss() -> None:
    found = {}
    for network in ("auto", "random", "resnet18", "none"):
        layers = [*preset_layers("paper"), set_layer([f"perceptual={network}", "stages.identity.losses.ssim=none"])]
        stages = resolve(layers).trained_stages
        found[network] = [
            stage.losses["perceptual"].options for stage in stages.values() if "perceptual" in stage.losses
        ]
        assert all(stage.losses["photometric"] for stage in stages.values())
    assert found == {
        "auto": [{}] * 2,
        "random": [{"pretrained": False}] * 2,
        "resnet18": [{"network": "resnet18"}] * 2,
    } | {"none": []}
    changed = "stages.expression.losses.perceptual.options={network='vgg11', scale=2}"
    full_name = "stages.expression.losses.perceptual.name=FaceCycle/perceptual"
    own = set_layer(["perceptual=resnet18", changed, full_name])
    losses = resolve([*preset_layers("paper"), own]).trained_stages["expression"].losses
    assert losses["perceptual"].options == {"network": "resnet18", "scale": 2}
    with pytest.raises(ConfigError, match="perceptual = 'random': the preset 'small' has no perceptual loss"):
        resolve([*preset_layers("small"), set_layer(["perceptual=random"])])


def test_all_mistakes_are_reported_with_origin_and_suggestion() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([*preset_layers("small"), set_layer(["pears=3", "seed=banana", "stages.direct.stepz=3"])])
    message = str(caught.value)
    assert "pears: unknown key (from --set). Did you mean pairs?" in message
    assert "seed = 'banana'" in message
    assert "stages.direct.stepz: unknown key" in message
    assert "Did you mean steps?" in message


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stages.direct.optimizer.lr=[]", "begin with 0"),
        ("stages.direct.optimizer.lr=[[1, 1e-4]]", "begin with 0"),
        ("stages.direct.optimizer.lr=[[0, 1e-4], [20, 1e-5], [10, 1e-6]]", "rise"),
        ("stages.direct.optimizer.lr=-1e-4", "must not be negative"),
        ("stages.direct.optimizer.betas=[1.5, 0.9]", "less than 1"),
        ("augmentation.crop_ratio=[0, 1]", "two positive numbers"),
        ("augmentation.crop_scale=[1.1, 0.9]", "the smaller one first"),
    ],
)
def test_a_number_that_no_run_could_use_is_refused(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        resolve([*preset_layers("small"), set_layer([setting])])
    assert setting.partition("=")[0] in str(caught.value)


def test_a_loss_that_is_called_as_another_number_of_the_log_is_refused() -> None:
    for name in ("lr", "step"):
        setting = f"stages.direct.losses.{name}={{name='l1', views={{direct=1}}}}"
        with pytest.raises(ConfigError, match=rf"stages\.direct\.losses = .* a run logs a number of its own as {name}"):
            resolve([*preset_layers("small"), set_layer([setting])])


@pytest.mark.parametrize("number", ["inf", "nan"])
@pytest.mark.parametrize("key", ["stages.direct.losses.photometric.weight", "stages.direct.optimizer.lr"])
def test_a_number_that_json_does_not_have_is_refused(key: str, number: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(key)):
        resolve([*preset_layers("small"), set_layer([f"{key}={number}"])])


@pytest.mark.parametrize("bad", ["pairs", "=3", "a..b=1"])
def test_a_malformed_assignment_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        set_layer([bad])


def test_a_run_without_stages_is_refused() -> None:
    removed = [f"stages.{name}=none" for name in resolve(preset_layers("small")).stages]
    with pytest.raises(ConfigError, match=r"stages = \{\}: Dictionary should have at least 1 item"):
        resolve([*preset_layers("small"), set_layer(removed)])


def test_an_unknown_preset_suggests_a_known_one() -> None:
    with pytest.raises(ConfigError, match="Did you mean small"):
        preset_layers("smal")


def test_a_broken_file_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("pairs = = 3")
    with pytest.raises(ConfigError, match=r"run\.toml is not valid toml"):
        file_layer(path)
