"""The examples of docs/onnx.md run as they stand there, and make the picture that torch makes."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.common import ROOT
from PIL import Image
from skimage.data import astronaut

from facecycle.checkpoints.places import SHIPPED
from facecycle.checkpoints.shared_folder import write_folder
from facecycle.data.images import from_uint8
from facecycle.networks import load
from facecycle.pictures import panel_array

WEB = os.environ.get("FACECYCLE_ORT_WEB", "")


def example(language: str) -> str:
    text = (ROOT / "docs" / "onnx.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two files that another program needs, and a face."""
    made = tmp_path_factory.mktemp("elsewhere")
    write_folder(SHIPPED, made)
    Image.fromarray(astronaut()[20:200, 140:320]).resize((64, 64)).save(made / "face.png")
    return made


@pytest.fixture(scope="module")
def expected(folder: Path) -> np.ndarray:
    """The neutral face of torch, without noise, RGB (3, 64, 64)."""
    pixels = np.array(Image.open(folder / "face.png")).transpose(2, 0, 1)[None]
    with torch.inference_mode():
        made = load(None).method.translate(from_uint8(torch.from_numpy(pixels)), None, None, frozenset({"neutral"}))
    return panel_array("neutral", made["neutral"])[0].astype(int)


def test_the_example_in_python_makes_the_neutral_face_of_torch(folder: Path, expected: np.ndarray) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example("python")], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = np.array(Image.open(folder / "neutral.png")).transpose(2, 0, 1)
    assert abs(found - expected).max() <= 1


@pytest.mark.skipif(not WEB, reason="FACECYCLE_ORT_WEB names no unpacked npm package onnxruntime-web")
@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
def test_the_example_in_javascript_makes_the_neutral_face_of_torch(
    folder: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    # The package's build for browsers, which needs no other package. Node is told where its wasm lies.
    package, built = tmp_path / "node_modules" / "onnxruntime-web", Path(WEB).resolve() / "dist"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"type": "module", "exports": "./index.js"}')
    (package / "index.js").write_text(
        'import { readFileSync } from "node:fs";\n'
        f'import {{ env }} from "{built}/ort.wasm.bundle.min.mjs";\n'
        f'env.wasm.wasmBinary = readFileSync("{built}/ort-wasm-simd-threaded.wasm");\n'
        "env.wasm.numThreads = 1;\n"
        f'export * from "{built}/ort.wasm.bundle.min.mjs";\n'
    )
    (tmp_path / "example.mjs").write_text(example("js"))
    (tmp_path / "face.rgba").write_bytes(Image.open(folder / "face.png").convert("RGBA").tobytes())
    (tmp_path / "run.mjs").write_text(
        'import { readFileSync, writeFileSync } from "node:fs";\n'
        'import { neutral } from "./example.mjs";\n'
        'writeFileSync("neutral.rgb", await neutral(process.argv[2], readFileSync("face.rgba")));\n'
    )
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        done = subprocess.run(
            ["node", "run.mjs", f"http://127.0.0.1:{server.server_port}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    found = np.frombuffer((tmp_path / "neutral.rgb").read_bytes(), np.uint8).reshape(3, 64, 64)
    assert abs(found - expected).max() <= 1
