"""`facecycle export web`: what the folder holds, and what is refused, with a fake runtime that computes nothing."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.browser import chromium, needs_browser
from helpers.common import ROOT, Command, refused
from helpers.file_server import file_server
from helpers.serving import weights_of

from facecycle.checkpoints.graph_file import graph_of
from facecycle.checkpoints.places import SHIPPED
from facecycle.runtimes.by_onnx import part
from facecycle.runtimes.draws import standard_normals
from facecycle.serving.export_folder import RUNTIME_FILES, with_noise

SOURCES = ROOT / "facecycle" / "serving"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder that looks like the npm package, with more than is needed."""
    return npm_package(tmp_path / "package")


def npm_package(folder: Path, name: str = "onnxruntime-web", number: str = "1.30.0") -> Path:
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": number}))
    for each in (*RUNTIME_FILES, "ort.all.js", "ort-wasm-simd-threaded.jsep.wasm"):
        (folder / "dist" / each).write_text(f"the file {each}")
    return folder


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_the_page_the_runtime_and_the_weights(inside: Command, tmp_path: Path, package: Path) -> None:
    result = inside("export", "web", "site", "--runtime-folder", package)
    assert result.returncode == 0, result.stderr
    page = {path.name for room in ("page", "browser") for path in (SOURCES / room).iterdir()}
    assert files(tmp_path / "site") == {
        *page,
        "facts.json",
        *(f"runtime/{name}" for name in (*RUNTIME_FILES, "LICENSE")),
        *(f"detector/{name}" for name in ("yunet.onnx", "yunet.safetensors", "LICENSE")),
        *(f"weights/{name}" for name in (SHIPPED.name, "README.md", "face.onnx")),
    }
    assert (tmp_path / "site" / "weights" / SHIPPED.name).read_bytes() == SHIPPED.read_bytes()
    assert (tmp_path / "site" / "engine.js").read_bytes() == (SOURCES / "browser" / "engine.js").read_bytes()
    assert "Content-Security-Policy" in (tmp_path / "site" / "index.html").read_text()
    said = json.loads((tmp_path / "site" / "facts.json").read_text())
    assert (said["size"], said["facecycle"], said["onnxruntime-web"]) == (64, version("facecycle"), "1.30.0")
    assert "non-commercial" in said["terms"]
    assert (said["moves"], said["graphs"]) == (True, ["face.onnx"])
    assert [each["name"] for each in said["panels"]] == ["frontal", "reexpressed", "neutral", "mean_face"]
    graph = onnx.load(tmp_path / "site" / "weights" / "face.onnx", load_external_data=False).graph
    assert [each.name for each in graph.output] == ["neutral", "mean_face", "flow"]


@needs_browser
def test_the_page_says_that_it_has_to_be_served(inside: Command, tmp_path: Path, package: Path) -> None:
    assert inside("export", "web", "site", "--runtime-folder", package).returncode == 0
    with chromium(tmp_path / "profile") as browser:
        browser.get((tmp_path / "site" / "index.html").as_uri())
        alert = browser.find_element("id", "alert")
        assert alert.is_displayed()
        assert alert.text.endswith("python -m http.server")
        assert not browser.find_elements("id", "choose")
        with file_server(tmp_path / "site") as (address, _):
            browser.get(address)
            assert browser.find_element("id", "choose").is_displayed()
            assert "http.server" not in browser.find_element("id", "alert").text


def test_the_page_and_the_engine_share_no_name_but_one() -> None:
    page, browser = ({path.name for path in (SOURCES / room).iterdir()} for room in ("page", "browser"))
    assert page & browser == {"engine.js"}


def test_a_graph_for_browsers_asks_for_faces_alone_and_holds_the_commands_noise() -> None:
    model = onnx.load(graph_of(SHIPPED), load_external_data=False)
    graph = with_noise(part(model, ["neutral", "mean_face"])).graph
    assert [each.name for each in graph.input] == ["images"]
    baked = [onnx.numpy_helper.to_array(each) for each in graph.initializer if each.name.startswith("noise_")]
    assert len(baked) == 2
    for mine, wanted in zip(baked, standard_normals(0, [each.shape for each in baked]), strict=True):
        assert np.array_equal(mine, wanted)


def test_a_folder_of_ours_is_replaced_and_another_one_is_kept(inside: Command, tmp_path: Path, package: Path) -> None:
    site, wanted = tmp_path / "site", ("export", "web", "site", "--runtime-folder", package)
    site.mkdir()  # an empty one is taken
    assert inside(*wanted).returncode == 0
    (site / "old.js").write_text("")
    assert inside(*wanted).returncode == 0
    assert not (site / "old.js").exists()
    for foreign in ({"photo.jpg": "x"}, {"facts.json": "{}"}, {"facts.json": "[]"}, {"facts.json": "no JSON"}):
        shutil.rmtree(site)
        site.mkdir()
        for name, text in foreign.items():
            (site / name).write_text(text)
        refused(inside(*wanted), f"{site} exists and is no folder of `facecycle export web`", "Name a new folder")
        assert files(site) == set(foreign)
    shutil.rmtree(site)
    site.write_text("a file")
    refused(inside(*wanted), "exists and is no folder")
    assert site.read_text() == "a file"


def test_a_runtime_that_cannot_be_used_is_refused(inside: Command, tmp_path: Path) -> None:
    refused(inside("export", "web", "site"), "onnxruntime-web is not in node_modules/onnxruntime-web", "npm install")
    for number, (name, found, said) in enumerate(
        [
            ("onnxruntime-node", "1.30.0", "holds the npm package onnxruntime-node"),
            ("onnxruntime-web", "1.9.0", "onnxruntime-web 1.9.0, where 1.30 or a later 1.x was expected"),
            ("onnxruntime-web", "2.0.0", "onnxruntime-web 2.0.0, where 1.30"),
            ("onnxruntime-web", "dev", "onnxruntime-web dev, where 1.30"),
        ]
    ):
        folder = npm_package(tmp_path / str(number), name, found)
        refused(inside("export", "web", "site", "--runtime-folder", folder), said, "npm pack")
    folder = npm_package(tmp_path / "incomplete")
    (folder / "dist" / RUNTIME_FILES[1]).unlink()
    refused(inside("export", "web", "site", "--runtime-folder", folder), f"lacks dist/{RUNTIME_FILES[1]}")
    (folder / "package.json").write_text("[]")
    refused(inside("export", "web", "site", "--runtime-folder", folder), "is not in")
    assert not (tmp_path / "site").exists()


def test_weights_without_a_graph_or_pictures_are_refused(inside: Command, tmp_path: Path, package: Path) -> None:
    weights = tmp_path / SHIPPED.name
    shutil.copy(SHIPPED, weights)
    wanted = ("export", "web", "site", "--runtime-folder", package, "--checkpoint", weights)
    refused(inside(*wanted), "there is no graph", "checkpoint export")
    weights_of(tmp_path)
    refused(inside(*wanted), "these weights make no pictures", "Probe and embed them.")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("panels", "graphs"),
    [
        (["identity_swap"], {"pair.onnx": ["identity_swap"]}),
        (
            ["identity_swap", "mean_face"],
            {"face.onnx": ["mean_face"], "pair.onnx": ["mean_face", "identity_swap"]},
        ),
        (["frontal", "neutral"], {"face.onnx": ["frontal", "neutral"]}),
        (["neutral", "flow", "identity_swap"], {"face.onnx": ["neutral", "flow"]}),
    ],
)
def test_the_folder_has_the_graphs_of_what_the_page_shows(
    inside: Command, tmp_path: Path, package: Path, panels: list[str], graphs: dict[str, list[str]]
) -> None:
    weights = weights_of(tmp_path, *panels)
    result = inside("export", "web", "site", "--runtime-folder", package, "--checkpoint", weights)
    assert result.returncode == 0, result.stderr
    said = json.loads((tmp_path / "site" / "facts.json").read_text())
    assert said["moves"] == ("flow" in panels)
    found = {}
    for path in (tmp_path / "site" / "weights").glob("*.onnx"):
        graph = onnx.load(path, load_external_data=False).graph
        found[path.name] = [each.name for each in graph.output]
        assert ("drivers" in [each.name for each in graph.input]) == (path.name == "pair.onnx")
    assert found == graphs
    assert said["graphs"] == sorted(graphs)


def test_a_checkpoint_says_its_name_and_not_where_it_lies(inside: Command, tmp_path: Path, package: Path) -> None:
    for path in (SHIPPED, graph_of(SHIPPED)):
        shutil.copy(path, tmp_path)
    weights = tmp_path / SHIPPED.name
    assert inside("export", "web", "site", "--runtime-folder", package, "--checkpoint", weights).returncode == 0
    assert str(tmp_path) not in (tmp_path / "site" / "facts.json").read_text()


def test_without_onnx_it_says_how_to_install_it(
    inside: Command, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused(inside("export", "web", "site", "--runtime-folder", package), "onnx is not installed", "facecycle[web]")
