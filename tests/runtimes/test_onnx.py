"""The graph of the shipped weights computes what torch computes, without torch, and for these weights alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from facecycle_plugins.datasets.synthetic.__main__ import write_faces
from helpers.common import Command, photograph, picture, refused
from PIL import Image

from facecycle.checkpoints.graph_file import graph_of, read
from facecycle.checkpoints.places import SHIPPED
from facecycle.data.images import read_square_array
from facecycle.errors import CheckpointError, ConfigError
from facecycle.machine import has_gpu
from facecycle.networks import load
from facecycle.runtimes import choose as choosing
from facecycle.runtimes.base import BATCH
from facecycle.runtimes.by_onnx import OnnxRuntime, part
from facecycle.runtimes.by_torch import TorchRuntime
from facecycle.runtimes.choose import choose

AT_ONCE = """
import sys
from facecycle_cli.main import application
application(sys.argv[1:])(standalone_mode=False)
print("heavy", [name for name in ("torch", "timm", "torchvision", "onnxscript", "jinja2") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder, 5)
    return np.stack([read_square_array(path, 64) for path in sorted(folder.iterdir())])


@pytest.fixture(scope="module")
def both() -> tuple[TorchRuntime, OnnxRuntime]:
    return TorchRuntime(load(None)), OnnxRuntime(SHIPPED)


@pytest.fixture
def weights(tmp_path: Path) -> Iterator[Path]:
    for path in (SHIPPED, graph_of(SHIPPED)):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / SHIPPED.name


def test_the_shipped_graph_says_what_torch_says(both: tuple[TorchRuntime, OnnxRuntime]) -> None:
    trusted, onnx = both
    assert graph_of(SHIPPED).stat().st_size < 300_000
    assert (onnx.size, onnx.panels, onnx.features) == (trusted.size, trusted.panels, trusted.features)
    assert (onnx.weights, onnx.origin, onnx.sha256()) == (trusted.weights, trusted.origin, trusted.sha256())


@pytest.mark.parametrize("seed", [0, 7])
def test_panels_are_those_of_torch(both: tuple[TorchRuntime, OnnxRuntime], faces: np.ndarray, seed: int) -> None:
    trusted, onnx = both
    for drivers, names in ((None, onnx.panels), (faces[::-1].copy(), onnx.panels), (faces, ["identity_swap", "flow"])):
        expected, made = (runtime.translate(faces, drivers, seed, names) for runtime in (trusted, onnx))
        assert made.keys() == expected.keys()
        assert ("identity_swap" in made) == (drivers is not None)
        for name, panel in made.items():
            if name == "flow":
                assert np.allclose(panel, expected[name], atol=1e-4)
            else:
                assert abs(panel.astype(int) - expected[name]).max() <= 1, name


def test_features_are_those_of_torch_in_any_batch(both: tuple[TorchRuntime, OnnxRuntime], faces: np.ndarray) -> None:
    trusted, onnx = both
    many = np.concatenate([faces] * (BATCH // len(faces) + 1))
    for name, mine, theirs in zip(
        onnx.features, onnx.embed(many, onnx.features), trusted.embed(many, trusted.features), strict=True
    ):
        assert mine.shape == theirs.shape
        assert np.abs(mine - theirs).max() <= 1e-4 * np.abs(theirs).max(), name
    (again,) = onnx.embed(faces[:1], ["identity"])
    assert np.allclose(again, onnx.embed(many, ["identity"])[0][:1], atol=1e-5)


def test_no_more_of_a_graph_is_computed_than_is_asked_for() -> None:
    model, _ = read(SHIPPED)
    small, large = part(model, ["expression"]), part(model, ["neutral", "expression"])
    assert [each.name for each in small.graph.input] == ["images"]
    assert [each.name for each in large.graph.input] == ["images", "noise_0", "noise_1"]
    assert 0 < len(small.graph.node) < len(large.graph.node) < len(model.graph.node)


def test_a_face_looks_the_same_whatever_is_beside_it(faces: np.ndarray) -> None:
    runtime = OnnxRuntime(SHIPPED)
    alone, together = (runtime.translate(x, None, 3, ["neutral"])["neutral"] for x in (faces[2:3], faces))
    assert abs(alone[0].astype(int) - together[2]).max() <= 1


def test_weights_and_graph_may_be_links(weights: Path, tmp_path: Path, faces: np.ndarray) -> None:
    links = tmp_path / "links"
    links.mkdir()
    for number, path in enumerate((weights, graph_of(weights))):
        blob = path.rename(tmp_path / f"blob-{number}")
        (links / path.name).symlink_to(blob)
    runtime, why = choose(links / weights.name)
    assert why.startswith("onnx")
    (codes,) = runtime.embed(faces, ["expression"])
    assert codes.shape == (5, 256)


# --- which one computes ---------------------------------------------------------------------------


def test_onnx_is_taken_on_a_cpu_and_torch_where_it_cannot_be(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose(weights)[1].startswith("onnx, because")
    assert isinstance(choose(weights, "torch")[0], TorchRuntime)
    monkeypatch.setattr(choosing, "has_gpu", lambda: True)
    assert choose(weights)[1] == "torch, because there is a GPU"
    assert isinstance(choose(weights, "onnx")[0], OnnxRuntime)
    monkeypatch.setattr(choosing, "find_spec", lambda name: None if name == "onnxruntime" else 1)
    assert choose(weights)[1] == "torch, because onnxruntime is not installed"
    with pytest.raises(ConfigError, match="onnxruntime is not installed") as error:
        choose(weights, "onnx")
    assert "facecycle[onnx]" in str(error.value)


def test_the_driver_and_torch_see_the_same_gpus() -> None:
    assert has_gpu() is torch.cuda.is_available()


def test_a_graph_of_other_weights_is_refused(weights: Path) -> None:
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="was made of other weights") as error:
        choose(weights, "onnx")
    assert f"facecycle checkpoint export {weights} --onnx" in str(error.value)
    runtime, why = choose(weights)
    assert isinstance(runtime, TorchRuntime)
    assert "was made of other weights" in why


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "elsewhere", "missing"])
def test_a_damaged_graph_is_refused(weights: Path, damage: str) -> None:
    path = graph_of(weights)
    whole = path.read_bytes()
    model, _ = read(weights)
    if damage == "foreign":
        del model.metadata_props[:]
    for tensor in model.graph.initializer if damage == "elsewhere" else ():
        for entry in tensor.external_data:
            entry.value = "../other" if entry.key == "location" else entry.value
    {
        "cut": lambda: path.write_bytes(whole[: len(whole) // 2]),
        "empty": lambda: path.write_bytes(b""),
        "missing": path.unlink,
    }.get(damage, lambda: path.write_bytes(model.SerializeToString()))()
    with pytest.raises(CheckpointError, match=r"is damaged|from other files|there is no graph"):
        choose(weights, "onnx")


# --- the commands ---------------------------------------------------------------------------------


def test_commands_of_both_runtimes_write_the_same_and_one_never_imports_torch(inside: Command, tmp_path: Path) -> None:
    photograph(tmp_path / "0.png")
    photograph(tmp_path / "1.png", mirrored=True)
    for command in (["translate", "0.png", "--driver", "1.png", "--out"], ["embed", "0.png", "1.png", "--out"]):
        suffix = "" if command[0] == "translate" else ".parquet"
        started = subprocess.run(
            [sys.executable, "-c", AT_ONCE, *command, f"onnx{suffix}"], cwd=tmp_path, capture_output=True, text=True
        )
        assert started.stdout.rstrip().endswith("heavy []"), started.stdout + started.stderr
        assert "runtime: onnx, because" in started.stdout
        trusted = inside(*command, f"torch{suffix}", "--runtime", "torch")
        assert "runtime: torch, because it was asked for" in trusted.stdout
    names = sorted(path.name for path in (tmp_path / "torch").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "onnx").iterdir())
    assert len(names) == 17
    for name in names:
        mine, theirs = (np.asarray(Image.open(tmp_path / folder / name), int) for folder in ("onnx", "torch"))
        # A sheet enlarges its cells, which sharpens a difference of one level to two.
        assert abs(mine - theirs).max() <= (2 if "sheet" in name else 1), name
    mine, theirs = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("onnx", "torch"))
    assert mine.schema.equals(theirs.schema, check_metadata=True)
    for name in ("expression", "identity"):
        codes = [np.array(table[name].to_pylist()) for table in (mine, theirs)]
        assert np.allclose(*codes, atol=1e-4)


def test_a_graph_that_is_asked_for_and_missing_is_a_mistake(inside: Command, weights: Path, tmp_path: Path) -> None:
    graph_of(weights).unlink()
    picture(tmp_path / "a.png")
    result = inside("translate", "a.png", "--checkpoint", weights, "--runtime", "onnx")
    refused(result, "there is no graph", "checkpoint export", "--onnx")
