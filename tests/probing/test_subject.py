"""What a probe looks at where nothing is named: what the method says of the task, as far as it was trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
from facecycle_plugins.methods.fab_net import FabNet
from facecycle_plugins.methods.tcae import Tcae
from helpers.training import Quiet, tiny, train
from safetensors.torch import save_file

from facecycle.errors import ConfigError
from facecycle.method.facecycle import FaceCycle
from facecycle.networks import Loaded, load
from facecycle.pretraining.run import Pretraining
from facecycle.pretraining.run_folder import RunFolder
from facecycle.probing.protocols import PROTOCOLS
from facecycle.probing.subject import facts_of, features_of, usual_features


class Older:
    """A method of API 1.1, which says nothing of probes."""

    features_from = {"code": "pairs", "own_conv": "pairs", "other": "more"}


def usual(
    method: Any, protocol: str, size: int = 64, trained: tuple[str, ...] = ("expression", "identity")
) -> list[str]:
    checkpoint: Any = SimpleNamespace(trained=frozenset(trained), config=SimpleNamespace(size=64), path="a.safetensors")
    return usual_features(Loaded(method, checkpoint), PROTOCOLS[protocol], size)


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        ("linear", ["expression", "conv"]),
        ("linear-pose", ["expression", "conv"]),
        ("facecycle-pose", ["conv"]),
        ("cosine-10fold", ["identity", "identity_conv", "conv"]),
    ],
)
def test_the_method_says_what_a_task_looks_at(protocol: str, names: list[str]) -> None:
    assert usual(FaceCycle, protocol) == names
    assert usual(FaceCycle, protocol, 96) == [name for name in names if name.endswith("conv")]


def test_what_was_not_trained_is_left_out() -> None:
    assert usual(FaceCycle, "facecycle-raf", 100) == ["conv"]
    assert usual(FaceCycle, "cosine-10fold", trained=("expression",)) == ["conv"]
    assert usual(FaceCycle, "linear", trained=("identity",)) == ["identity", "identity_conv"]
    with pytest.raises(ConfigError, match=r"a\.safetensors trained no feature that exists at 64 px"):
        usual(FaceCycle, "linear", trained=())


def test_a_method_that_says_nothing_of_a_task_is_looked_at_as_a_whole() -> None:
    for method, cycle, names in (
        (FabNet, "one-source", ["code", "conv"]),
        (Tcae, "pairs", ["action", "pose", "conv"]),
        (Older, "pairs", ["code", "own_conv"]),
    ):
        for protocol in ("linear", "linear-pose", "cosine-10fold"):
            assert usual(method, protocol, trained=(cycle,)) == names
        assert usual(method, "facecycle-pose", trained=(cycle,)) == names[-1:]
        assert usual(method, "facecycle-raf", 100, trained=(cycle,)) == names[-1:]


def test_pretrained_weights_stay_known_and_are_those_of_the_twin(tmp_path: Path) -> None:
    first = tmp_path / "first.safetensors"
    save_file(timm.create_model("mobilenetv3_small_050").state_dict(), first)
    short = ["stages.direct.steps=1", "stages.expression=none", "stages.identity=none"]
    train(tiny(*short, f"encoder.options.weights='{first}'"), tmp_path / "one")
    later = Pretraining(tiny(*short), RunFolder(tmp_path / "two"), Quiet())
    later.start_from(tmp_path / "one")
    later.run()
    one, two = (load(tmp_path / run) for run in ("one", "two"))
    assert facts_of(one)["begun with"] == facts_of(two)["begun with"] == "pretrained weights"

    def twin(loaded: Loaded) -> str:
        return features_of({"": loaded}, PROTOCOLS["linear"], ["conv"], None)[1].label

    assert [twin(one), twin(two)] == ["conv, pretrained twin", "conv, random twin"]
    first.unlink()
    assert twin(one) == "conv, random twin"
