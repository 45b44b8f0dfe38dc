"""Exported graphs: small, as exact as torch at every size of batch, and refused where a plugin cannot be exported."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.common import Command, refused
from helpers.training import tiny

from facecycle.checkpoints import header, model_file
from facecycle.checkpoints.export import export
from facecycle.checkpoints.export_graph import OUTSIDE, _computes, export_graph
from facecycle.checkpoints.export_program import FACTS, Whole, difference_of, export_program
from facecycle.checkpoints.graph_file import GraphFacts, graph_of, read
from facecycle.errors import CheckpointError
from facecycle.networks import build_method, load
from facecycle.runtimes.by_onnx import OnnxRuntime
from facecycle.runtimes.by_torch import TorchRuntime


def saved(path: Path, encoder: str = "timm:resnet10t") -> Path:
    config = tiny(f"encoder={{name='{encoder}'}}")
    header = {"config": config.model_dump_json(), "trained": '["expression"]'}
    model_file.save_model(path, build_method(config), header)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of one cycle, given away in half precision, whose graph lies beside them."""
    folder = tmp_path_factory.mktemp("m")
    export(saved(folder / "model.safetensors"), folder / "half.safetensors", half=True, licence="ask ann")
    graph, difference = export_graph(folder / "half.safetensors")
    assert (graph, difference <= 1e-4) == (graph_of(folder / "half.safetensors"), True)
    return folder / "half.safetensors"


def test_a_graph_computes_what_torch_computes_for_any_number_of_images(exported: Path) -> None:
    trusted, made = TorchRuntime(load(exported)), OnnxRuntime(exported)
    assert made.panels == trusted.panels == ("frontal", "neutral", "reconstruction", "flow", "expression_swap")
    assert made.features == trusted.features == ("expression", "conv")
    for count in (1, 5):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        expected, found = (r.translate(pixels, pixels[::-1].copy(), 1, r.panels) for r in (trusted, made))
        for name, panel in found.items():
            assert np.allclose(panel, expected[name], atol=1e-4 if name == "flow" else 1), name
        for mine, theirs in zip(made.embed(pixels, made.features), trusted.embed(pixels, made.features), strict=True):
            assert np.allclose(mine, theirs, atol=1e-4 * np.abs(theirs).max())


def test_its_tensors_are_those_of_the_weights_file(exported: Path) -> None:
    model, facts = read(exported)
    outside = [tensor for tensor in model.graph.initializer if tensor.external_data]
    inside = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= OUTSIDE]
    assert len(outside) > 30
    assert not [tensor.name for tensor in inside if tensor.name.startswith("method.")]
    assert (facts.sha256, facts.licence, facts.size) == (header.read(exported).sha256(), "ask ann", 32)
    casts = sum(node.op_type == "Cast" and node.input[0].endswith(".stored") for node in model.graph.node)
    assert casts == len(outside)


def test_a_graph_that_differs_from_torch_is_noticed(exported: Path) -> None:
    found, method = header.read(exported), load(exported).method
    whole, graph = Whole(method, found), _computes(graph_of(exported))
    assert difference_of("graph", whole, graph, found, whole.drawn_shapes()) <= 1e-4
    method.generator.torgb.bias += 0.01
    with pytest.raises(CheckpointError, match=r"differs from torch: neutral by .* for 1 images"):
        difference_of("graph", whole, graph, found, whole.drawn_shapes())


def test_an_encoder_that_is_not_of_torch_is_refused_with_the_reason(inside: Command, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.safetensors", "hog")
    refused(inside("checkpoint", "export", path, "--onnx"), "cannot be exported", "the encoder hog")
    assert not graph_of(path).exists()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda x, noise, shared: torch.randn(x.shape, generator=noise), "draws noise of its own"),
        (lambda x, noise, shared: torch.rand(x[:1].shape, generator=noise), "drawn by rand"),
    ],
)
def test_noise_that_would_be_another_in_a_graph_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: object, message: str
) -> None:
    path = saved(tmp_path / "m.safetensors")
    monkeypatch.setattr("facecycle.method.decoders.draw_noise", draw)
    with pytest.raises(CheckpointError, match=message):
        export_graph(path)


def test_where_weights_or_their_graph_are_written_is_said(inside: Command, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.safetensors")
    refused(inside("checkpoint", "export", path), "--out", "--onnx")
    refused(inside("checkpoint", "export", path, "--onnx", "--half"), "--out")
    assert [each.name for each in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_program_of_torch_computes_the_same_and_holds_no_pickle(exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported, tmp_path / "half.safetensors")
    path, difference = export_program(tmp_path / "half.safetensors")  # read again, for 1 and 3 images
    assert (path.name, difference <= 1e-4) == ("half.pt2", True)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    for name, content in contents.items():
        # Numbers of weights may look like anything. Elsewhere, a pickle would begin like this, or a zip that holds one.
        if not re.search(r"/weights/weight_\d+$", name):
            assert content[:2] not in {b"\x80\x02", b"\x80\x04", b"PK"}, name
    (facts,) = (GraphFacts.model_validate_json(content) for name, content in contents.items() if name.endswith(FACTS))
    assert (facts.features, facts.licence) == (("expression", "conv"), "ask ann")
    assert facts.noise == tuple(Whole(load(exported).method, header.read(exported)).drawn_shapes())
