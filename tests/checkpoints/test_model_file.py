"""Checkpoints stand alone, are never half written, and say what is wrong with a file that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.checkpoints import CONFIG, METADATA, saved
from safetensors.torch import save_file
from torch import nn

from facecycle.checkpoints import model_file
from facecycle.checkpoints.folders import latest_folder, runs_below
from facecycle.errors import CheckpointError, RunError


def test_a_checkpoint_reads_back_from_run_folder_and_file(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    network = saved(tmp_path, 2)
    for path in (tmp_path, tmp_path / "checkpoints" / "step-2", model_file.find(tmp_path)):
        found = model_file.read(path)
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
        model_file.load_weights(nn.Linear(3, 5), model_file.read(tmp_path))


def test_a_file_that_is_no_checkpoint_is_explained(tmp_path: Path) -> None:
    text = tmp_path / "a.safetensors"
    text.write_text("not a checkpoint at all")
    with pytest.raises(CheckpointError, match="not a safetensors checkpoint"):
        model_file.read(text)
    other = tmp_path / "b.safetensors"
    save_file({"x": torch.ones(1)}, other)
    with pytest.raises(CheckpointError, match="this version of facecycle reads 'facecycle/1'"):
        model_file.read(other)
    later = tmp_path / "c.safetensors"
    save_file({"x": torch.ones(1)}, later, {**METADATA, "format": "facecycle/2"})
    with pytest.raises(CheckpointError, match="'facecycle/2'"):
        model_file.read(later)
    damaged = tmp_path / "d.safetensors"
    save_file({"x": torch.ones(1)}, damaged, {"format": "facecycle/1", "config": "{", "trained": "[]"})
    with pytest.raises(CheckpointError, match="header"):
        model_file.read(damaged)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        model_file.read(tmp_path / "missing")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        model_file.read(tmp_path)


def test_runs_are_the_folders_that_hold_a_checkpoint(tmp_path: Path) -> None:
    assert runs_below(tmp_path) == []
    (tmp_path / "begun").mkdir()
    for name in ("b", "a"):
        saved(tmp_path / name)
    assert runs_below(tmp_path) == [tmp_path / "a", tmp_path / "b"]
