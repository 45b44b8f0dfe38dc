"""Exported weights: half the room, nearly the same numbers, and nothing about the machine they were trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from facecycle.atomic import file_sha256
from facecycle.checkpoints import header, model_file
from facecycle.checkpoints.export import export
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.config.settings import Choice
from facecycle.errors import CheckpointError
from facecycle.networks import build_method, load

TINY = "method.options={width=4, motion_width=16, generator_blocks=1, renormalizer_blocks=1}"
FROM_A_FILE = (
    'stages.expression.losses.perceptual={name="perceptual", views={reconstruction=1}, '
    'options={weights="/home/ann/secret-faces/lite0.safetensors"}}'
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that was trained on files of this machine."""
    path = tmp_path_factory.mktemp("trained") / "model.safetensors"
    config = resolve([*preset_layers("small"), set_layer([TINY, FROM_A_FILE])])
    data = [Choice(name="tracks", options={"path": "/home/ann/secret-faces"})]
    config = config.model_copy(update={"data": data})
    header = {"config": config.model_dump_json(), "trained": '["expression"]', "licence": "ask ann"}
    model_file.save_model(path, build_method(config), header)
    return path


def test_half_precision_halves_the_file_and_barely_moves_the_code(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "half.safetensors"
    export(trained, out, half=True, licence=None)
    assert out.stat().st_size < 0.55 * trained.stat().st_size
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    exact, rounded = (load(path).method for path in (trained, out))
    assert {t.dtype for t in rounded.state_dict().values() if t.is_floating_point()} == {torch.float32}
    with torch.inference_mode():
        codes = [m.features(images, frozenset({"expression"}))["expression"] for m in (exact, rounded)]
        assert torch.allclose(*codes, atol=1e-3)


def test_an_export_keeps_the_terms_and_loses_the_paths(trained: Path, tmp_path: Path) -> None:
    kept, given = tmp_path / "kept.safetensors", tmp_path / "given.safetensors"
    export(trained, kept, half=False, licence=None)
    export(trained, given, half=True, licence="research only")
    assert [header.read(path).metadata["licence"] for path in (kept, given)] == ["ask ann", "research only"]
    for path in (kept, given):
        assert b"secret-faces" not in path.read_bytes()
        assert [data.name for data in header.read(path).config.data] == ["tracks"]
        assert json.loads(header.read(path).metadata["trained"]) == ["expression"]
    with pytest.raises(CheckpointError, match="exists already"):
        export(trained, kept, half=False, licence=None)


def test_numbers_that_half_precision_cannot_hold_are_refused(trained: Path, tmp_path: Path) -> None:
    loaded = load(trained)
    loaded.method.generator.torgb.weight[0, 0, 0, 0] = 1e6
    large = tmp_path / "large.safetensors"
    model_file.save_model(large, loaded.method, {k: v for k, v in loaded.checkpoint.metadata.items() if k != "format"})
    with pytest.raises(CheckpointError, match=r"generator\.torgb\.weight"):
        export(large, tmp_path / "out.safetensors", half=True, licence=None)
    assert not (tmp_path / "out.safetensors").exists()
    export(large, tmp_path / "out.safetensors", half=False, licence=None)


@pytest.mark.parametrize("half", [False, True])
def test_two_exports_are_one_file(trained: Path, tmp_path: Path, half: bool) -> None:
    for name in ("one", "two"):
        export(trained, tmp_path / name, half=half, licence="research only")
    assert file_sha256(tmp_path / "one") == file_sha256(tmp_path / "two")
