"""Checkpoints stand alone, are never half written, and say what is wrong with a file that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.checkpoints import CONFIG, METADATA, saved
from helpers.sites import distribution
from safetensors.torch import save_file
from torch import nn

from facecycle.checkpoints import header, model_file, places
from facecycle.checkpoints.folders import latest_folder, runs_below
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.errors import CheckpointError, RunError
from facecycle.networks import build_method, load

READS_NUMBERS = """
import torch
from facecycle.api import Options
from torch import nn

class Encoder(nn.Module):
    facecycle_api = (1, 0)
    Options = Options
    channels, stride = 8, 16

    def __init__(self, options):
        super().__init__()
        self.map = nn.Conv2d(3, 8, 16, stride=16)
        self.rates = [rate.item() for rate in torch.linspace(0, 0.1, 4)]

    def forward(self, images): return self.map(images)
"""


def test_an_encoder_that_reads_numbers_as_it_is_made_is_loaded(site: Path, tmp_path: Path) -> None:
    distribution(site, "rates", {"facecycle.encoders": {"rates": "rates:Encoder"}}, rates=READS_NUMBERS)
    config = resolve([*preset_layers("simclr"), set_layer(["encoder.name=rates"])])
    network, path = build_method(config), tmp_path / "model.safetensors"
    model_file.save_model(path, network, {"config": config.model_dump_json(), "trained": '["pairs"]'})
    for name, tensor in load(path).method.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])


def test_a_checkpoint_reads_back_from_run_folder_and_file(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    network = saved(tmp_path, 2)
    for path in (tmp_path, tmp_path / "checkpoints" / "step-2", places.find(tmp_path)):
        found = header.read(path)
        assert found.config == CONFIG
        assert found.trained == {"expression"}
        other = nn.Linear(3, 2)
        model_file.load_weights(other, found)
        assert torch.equal(other.weight, network.weight)
    tensors, state = model_file.read_resume(latest_folder(tmp_path))
    assert state == {"position": {"step": 2}}
    assert torch.equal(tensors["0.step"], torch.ones(1))


def test_no_temporary_files_stay_behind(tmp_path: Path) -> None:
    saved(tmp_path)
    names = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert names == {"step-1", "latest"}


def test_a_failed_write_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path, 1)

    class Full(nn.Module):
        def state_dict(self, *args: object, **kwargs: object) -> dict[str, torch.Tensor]:
            raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left"):
        model_file.save(tmp_path / "checkpoints" / "step-2", Full(), {}, {}, METADATA)
    assert latest_folder(tmp_path).name == "step-1"
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"step-1", "latest"}


def test_other_shapes_are_listed(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(CheckpointError, match=r"weight is \(2, 3\), the network has \(5, 3\)"):
        model_file.load_weights(nn.Linear(3, 5), header.read(tmp_path))


def test_a_file_that_is_no_checkpoint_is_explained(tmp_path: Path) -> None:
    text = tmp_path / "a.safetensors"
    text.write_text("not a checkpoint at all")
    with pytest.raises(CheckpointError, match="not a safetensors checkpoint"):
        header.read(text)
    other = tmp_path / "b.safetensors"
    save_file({"x": torch.ones(1)}, other)
    with pytest.raises(CheckpointError, match="this version of facecycle reads 'facecycle/1'"):
        header.read(other)
    later = tmp_path / "c.safetensors"
    save_file({"x": torch.ones(1)}, later, {**METADATA, "format": "facecycle/2"})
    with pytest.raises(CheckpointError, match="'facecycle/2'"):
        header.read(later)
    damaged = tmp_path / "d.safetensors"
    save_file({"x": torch.ones(1)}, damaged, {"format": "facecycle/1", "config": "{", "trained": "[]"})
    with pytest.raises(CheckpointError, match="header"):
        header.read(damaged)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        header.read(tmp_path / "missing")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        header.read(tmp_path)


def test_runs_are_the_folders_that_hold_a_checkpoint(tmp_path: Path) -> None:
    assert runs_below(tmp_path) == []
    (tmp_path / "begun").mkdir()
    for name in ("b", "a"):
        saved(tmp_path / name)
    assert runs_below(tmp_path) == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize("width", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_width_are_computed_with_in_the_networks_own(tmp_path: Path, width: torch.dtype) -> None:
    network, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    network.weight.data = torch.tensor([0.5, 1.25, -2.0])
    model_file.save_model(tmp_path / "m.safetensors", network.to(width), METADATA)
    for assign in (False, True):
        model_file.load_weights(other, header.read(tmp_path / "m.safetensors"), assign=assign)
        assert other.weight.dtype == torch.float32
        assert other.weight.tolist() == [0.5, 1.25, -2.0]
        assert other.num_batches_tracked.dtype == torch.int64


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float) -> None:
    network = nn.Linear(3, 2).double()
    network.weight.data[1, 1] = value
    model_file.save_model(tmp_path / "m.safetensors", network, METADATA)
    with pytest.raises(CheckpointError, match=r"m\.safetensors holds numbers that are not finite: weight"):
        model_file.load_weights(nn.Linear(3, 2), header.read(tmp_path / "m.safetensors"))


def test_one_content_is_one_file(tmp_path: Path) -> None:
    about = {**METADATA, **{f"entry {number}": 'é "\n\x7f' for number in range(20)}}
    network = saved(tmp_path)
    files = [tmp_path / f"{number}.safetensors" for number in range(5)]
    for file in files:
        model_file.save_model(file, network, about)
    assert len({file.read_bytes() for file in files}) == 1
    found = header.read(files[0])
    assert found.metadata["entry 7"] == 'é "\n\x7f'
    assert torch.equal(model_file.read_tensors(found)["weight"], network.weight)
    model_file.check_padding(found)


def test_a_model_may_be_read_as_other_files_may_and_a_link_to_it_stays(tmp_path: Path) -> None:
    plain, link = tmp_path / "plain", tmp_path / "link.safetensors"
    plain.touch()
    (tmp_path / "store").mkdir()
    link.symlink_to(tmp_path / "store" / "real.safetensors")
    model_file.save_model(link, nn.Linear(3, 2), METADATA)
    assert link.is_symlink()
    assert (tmp_path / "store" / "real.safetensors").stat().st_mode == plain.stat().st_mode
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["real.safetensors"]


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_another_kind_of_number_is_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    network = nn.Linear(3, 2)
    network.register_buffer("more", torch.zeros(1))
    found = {**network.state_dict(), "more": torch.zeros(1, dtype=dtype)}
    save_file(found, tmp_path / "m.safetensors", {"format": "facecycle/1", **METADATA})
    with pytest.raises(CheckpointError, match=f"more is {str(dtype)[6:]}, the network has float32"):
        model_file.load_weights(network, header.read(tmp_path / "m.safetensors"))
