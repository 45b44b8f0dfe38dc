"""The browser's modules in Node: their functions called from Python, with numbers as JSON."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.common import ROOT

MODULES = ROOT / "facecycle" / "serving" / "browser"
CALL = """
import { readFileSync } from "node:fs";
const { module, body, cases } = JSON.parse(readFileSync(0, "utf-8"), (key, value) =>
  value?.base64 ? new Uint8ClampedArray(Buffer.from(value.base64, "base64")) : value);
const names = await import(`./${module}.js`), similarities = await import("./similarity.js");
const run = new Function("m", "s", "given", `return (${body})`);
const found = await Promise.all(cases.map((given) => run(names, similarities, given)));
console.log(JSON.stringify(found, (key, value) =>
  value instanceof Uint8ClampedArray ? { base64: Buffer.from(value).toString("base64") } : value));
"""


def call(folder: Path, module: str, body: str, cases: list[Any]) -> list[Any]:
    """Evaluate a JavaScript expression for each case, which it sees as `given`.

    Args:
        folder: for copies of the modules, which say there that they are modules.
        module: whose names the expression has as `m`; `s` has those of `similarity`.
        body: the expression, whose value may be a promise.
        cases: numbers and lists.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    for path in MODULES.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "call.js").write_text(CALL)
    given = json.dumps({"module": module, "body": body, "cases": cases})
    result = subprocess.run([node, "call.js"], cwd=folder, input=given, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    found: list[Any] = json.loads(result.stdout)
    return found


def rgba(image: np.ndarray) -> dict[str, Any]:
    """Turn RGB (H, W, 3), uint8, into an image of the modules."""
    height, width = image.shape[:2]
    data = np.dstack([image, np.full((height, width), 255, np.uint8)])
    return {"width": width, "height": height, "data": {"base64": base64.b64encode(data.tobytes()).decode()}}


def pixels(image: dict[str, Any]) -> np.ndarray:
    """Turn an image of the modules into RGB (H, W, 3), uint8."""
    numbers = np.frombuffer(base64.b64decode(image["data"]["base64"]), np.uint8)
    return numbers.reshape(image["height"], image["width"], 4)[..., :3]
