"""A folder that any file server serves: the page, and what computes in the browser alone, with its weights."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from facecycle.api import FLOW
from facecycle.atomic import check_out, write_folder
from facecycle.checkpoints.places import SHIPPED, Name, find
from facecycle.errors import ConfigError
from facecycle.faces.detection import DEFAULT, named
from facecycle.runtimes.by_onnx import NOISE, OnnxRuntime, part
from facecycle.runtimes.draws import standard_normals
from facecycle.serving.shown import Shown, moves, shown_of
from facecycle.translation.rows import panels_for

FORMAT = "facecycle-page/1"
FACTS = "facts.json"
"""What a folder says of itself. The browser reads it, and so does whoever writes the folder again."""
ALONE, PAIR = "face.onnx", "pair.onnx"
"""The graphs: of the panels of a face alone, and of all panels of a face that follows another."""
SEED = 0
"""Of the generator's noise, as in `facecycle translate`."""
INSTALL = "pip install 'facecycle[web]'"
PACKAGE, LEAST = "onnxruntime-web", (1, 30)
"""The npm package that computes in a browser, and its first version that is known to."""
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
HOW = (
    f"`npm install {PACKAGE}@1.30` puts it into node_modules/ of this folder. Or run `npm pack {PACKAGE}@1.30`, unpack "
    "the .tgz, and name its folder: --runtime-folder package"
)
POLICY = (
    "default-src 'self' blob: data:; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; base-uri 'none'"
)
"""What a browser allows the page: nothing from elsewhere, and nothing to elsewhere."""
NOTICE = """onnxruntime-web {version}: https://www.npmjs.com/package/onnxruntime-web

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
"""The package comes without the text of its licence, which its package.json names."""


def export_folder(source: Name | None, runtime_folder: Path, out: Path) -> None:
    """Write a folder that makes pictures of faces in a browser, without a server that computes.

    Args:
        source: name of weights with a graph, see `places`; None takes those that come along.
        runtime_folder: the npm package onnxruntime-web, unpacked.
        out: folder to write. One that this function has written before is replaced as a whole.

    Raises:
        CheckpointError: there are no weights, or no graph beside them.
        ConfigError: the weights make no pictures, `runtime_folder` is no such package, `out` holds something else or
            lies below a file, or onnx is not installed.
        RunError: it cannot be written.
    """
    if find_spec("onnx") is None:
        raise ConfigError("the weights' graph cannot be read, because onnx is not installed", hint=INSTALL)
    check_out(out, folder=False)
    out = out.resolve()
    refuse_foreign(out)
    runtime = runtime_version(runtime_folder)
    weights = SHIPPED if source is None else find(source)
    networks = OnnxRuntime(weights)
    shown = shown_of(networks)
    graphs = graphs_of(networks, shown)
    said = {
        "format": FORMAT,
        "origin": networks.origin if weights == SHIPPED else weights.name,
        "terms": networks.terms or "no terms stated",
        "moves": moves(networks),
        "panels": [asdict(each) for each in shown],
        "graphs": list(graphs),
        "weights": weights.name,
        **networks.facts.model_dump(include={"size", "mean", "deviation", "sha256"}),
        "facecycle": version("facecycle"),
        PACKAGE: runtime,
    }

    def write(folder: Path) -> None:
        _write_page(folder)
        _write_runtime(folder / "runtime", runtime_folder, runtime)
        (folder / "weights").mkdir()
        shutil.copyfile(weights, folder / "weights" / weights.name)
        if weights == SHIPPED:  # whose terms refer to their card
            shutil.copyfile(weights.with_name("README.md"), folder / "weights" / "README.md")
        for name, panels in graphs.items():
            graph = with_noise(part(networks.model, panels)).SerializeToString(deterministic=True)
            (folder / "weights" / name).write_bytes(graph)
        detector: Any = named(DEFAULT)
        (folder / "detector").mkdir()
        for path in detector.browser_files:
            shutil.copyfile(path, folder / "detector" / path.name)
        (folder / FACTS).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")

    write_folder(out, write)


def graphs_of(networks: OnnxRuntime, shown: Sequence[Shown]) -> dict[str, list[str]]:
    """Return the panels that each graph of a folder makes, by the graph's name; the second one only where it is needed.

    The page moves the frontal face itself, at the photograph's resolution.
    """
    names = [*(each.name for each in shown), *([FLOW] if moves(networks) else [])]
    panels = panels_for(networks, names)
    alone = [name for name in panels if name in networks.alone]
    graphs = {ALONE: alone, PAIR: panels if panels != alone else []}
    return {name: made for name, made in graphs.items() if made}


def refuse_foreign(out: Path) -> None:
    """Refuse a folder that must not be replaced.

    Raises:
        ConfigError: there is a file, or a folder that is not empty and was written by something else.
    """
    if not out.exists():
        return
    try:
        ours = not any(out.iterdir()) or json.loads((out / FACTS).read_text(encoding="utf-8"))["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise ConfigError(
            f"{out} exists and is no folder of `facecycle export web`",
            hint="Name a new folder, because what is there would be lost.",
        )


def runtime_version(folder: Path) -> str:
    """Return the version of an unpacked npm package onnxruntime-web.

    Raises:
        ConfigError: it is not there, is another package or too old, or lacks a file.
    """
    try:
        said = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        name, found = str(said["name"]), str(said["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"the npm package {PACKAGE} is not in {folder}", hint=HOW) from error
    if name != PACKAGE:
        raise ConfigError(f"{folder} holds the npm package {name}, where {PACKAGE} was expected", hint=HOW)
    numbers = tuple(map(int, re.findall(r"\d+", found)[:2]))
    if numbers < LEAST or numbers[:1] != LEAST[:1]:
        least = ".".join(map(str, LEAST))
        raise ConfigError(f"{folder} holds {PACKAGE} {found}, where {least} or a later 1.x was expected", hint=HOW)
    if missing := [each for each in RUNTIME_FILES if not (folder / "dist" / each).is_file()]:
        raise ConfigError(f"{folder} lacks dist/{missing[0]} of {PACKAGE} {found}", hint=HOW)
    return found


def with_noise(model: Any) -> Any:
    """Turn a graph's inputs of noise into the numbers that the command draws, because a browser draws others."""
    import onnx

    graph = model.graph
    noises = [each for each in graph.input if each.name.startswith(NOISE)]
    shapes = [tuple(side.dim_value for side in each.type.tensor_type.shape.dim) for each in noises]
    for each, drawn in zip(noises, standard_normals(SEED, shapes), strict=True):
        graph.input.remove(each)
        graph.initializer.append(onnx.numpy_helper.from_array(drawn, each.name))
    return model


def _write_page(folder: Path) -> None:
    """Write the page that `facecycle serve` shows, with an engine that asks no server."""
    room = files("facecycle.serving")
    for name in ("page", "browser"):  # whose engine.js takes the other one's place
        for file in room.joinpath(name).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    page, head = folder / "index.html", '<meta charset="utf-8">'
    text = page.read_text(encoding="utf-8")
    assert text.count(head) == 1
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    opened = '<script src="unserved.js"></script>'
    page.write_text(text.replace(head, f"{head}\n{policy}\n{opened}"), encoding="utf-8")


def _write_runtime(folder: Path, package: Path, found: str) -> None:
    folder.mkdir()
    for name in RUNTIME_FILES:
        shutil.copyfile(package / "dist" / name, folder / name)
    (folder / "LICENSE").write_text(NOTICE.format(version=found), encoding="utf-8")
