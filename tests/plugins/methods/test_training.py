"""Every rival method trains from its own preset, resumes to the same weights, and is probed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.common import picture
from helpers.training import Quiet, train, weights

from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.config.settings import RunConfig
from facecycle.errors import ConfigError
from facecycle.networks import load
from facecycle.pretraining.run import Pretraining
from facecycle.pretraining.run_folder import RunFolder
from facecycle.probing.extraction import extract
from facecycle.probing.protocols import PROTOCOLS
from facecycle.probing.subject import features_of
from facecycle.runtimes.by_torch import TorchRuntime
from facecycle.translation.files import Wanted, translate_files

SETTINGS = {
    "simclr": ["encoder.name='timm:mobilenetv3_small_050'", "size=32"],
    "vicreg": ["encoder.name='timm:mobilenetv3_small_050'", "size=32"],
    "temporal": ["encoder.name='timm:mobilenetv3_small_050'", "size=32", "method.options.frames=4"],
    "fab-net": ["size=32", "encoder.options.layers=3"],
    "tcae": ["size=32", "encoder.options.layers=3"],
    "pair-hinge": ["encoder.name='timm:mobilenetv3_small_050'", "size=32"],
}
STEPS = 4


def tiny(method: str, *more: str) -> RunConfig:
    """The method's preset on small networks, with so many steps in its first stage and in its last."""
    layers = preset_layers(method)
    settings = [*SETTINGS[method], "pairs=4", "log_every=1", "checkpoint_every=3", f"steps={STEPS}"]
    settings.append("data=[{name='synthetic', options={identities=6, test_identities=20, takes=2, frames=5}}]")
    stages = list(resolve(layers).stages)
    settings += [f"stages.{stage}=none" for stage in stages[1:-1]]
    if method == "temporal":
        settings.append("stages.ranking.frames=4")
    return resolve([*layers, set_layer(settings), set_layer(more)])


@pytest.fixture(scope="module", params=SETTINGS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / request.param
    train(tiny(request.param), out)
    return out


def test_it_trains_what_it_has(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").open()]
    found = load(trained)
    assert len(lines) == STEPS * len(found.checkpoint.config.stages)
    assert all(line["gradient_norm"] > 0 for line in lines)
    assert all(value > 0 for line in lines for key, value in line.items() if key.startswith("deviation/"))
    assert found.checkpoint.trained == set(found.method.view_names)
    grids = len(list(trained.glob("samples/*.png")))
    assert grids == (len(found.checkpoint.config.stages) if found.method.panels_from else 0)


def test_a_stopped_run_ends_with_the_same_weights(trained: Path, tmp_path: Path) -> None:
    config = tiny(trained.name)
    steps = STEPS * len(config.stages)
    stopped = train(config, tmp_path / "run", Quiet(stop_after=steps - 1))
    assert stopped.position.total_steps == steps - 1
    resumed = Pretraining(config, RunFolder(tmp_path / "run"), Quiet(), weights_follow=True)
    resumed.resume()
    resumed.run()
    one, two = weights(trained), weights(tmp_path / "run")
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_its_features_are_probed_beside_their_random_twins(trained: Path) -> None:
    loaded = load(trained)
    found = features_of({"": loaded}, PROTOCOLS["linear"], (), None)
    names = [feature.label for feature in found]
    assert names == [label for name in loaded.method.features_from for label in (name, f"{name}, random twin")]
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for feature in found:
        (values,) = extract([feature], pixels)
        assert values.shape[0] == 3
        assert values.std(0).max() > 0


def test_it_shows_the_pictures_that_it_makes(trained: Path, tmp_path: Path) -> None:
    one, other = (picture(tmp_path / f"{number}.png", number) for number in range(2))
    runtime, wanted = TorchRuntime(load(trained)), Wanted(detector="centre")
    if runtime.panels:
        made = translate_files(runtime, [one], tmp_path / "made", wanted, driver=other)
        shown = {path.stem.rpartition("-")[2] for path in made.pictures}
        assert shown == set(runtime.panels)
    alone = "make pictures of two faces alone" if runtime.panels else "make no pictures"
    with pytest.raises(ConfigError, match=alone):
        translate_files(runtime, [one], tmp_path / "alone", wanted)


def test_its_codes_are_embedded(trained: Path) -> None:
    runtime, codes = TorchRuntime(load(trained)), {"tcae": ("action", "pose")}
    assert runtime.codes == codes.get(trained.name, runtime.features[:1])
