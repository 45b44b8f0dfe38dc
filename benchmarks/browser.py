"""A page that computes in the browser alone, each time in a new one: python benchmarks/browser.py PACKAGE.

PACKAGE is the npm package onnxruntime-web, unpacked. Prints milliseconds from the start of the page until its networks
are loaded, the first face is found and its first pictures are there, and what a moved slider takes.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image
from skimage.data import astronaut

from facecycle.serving.export_folder import export_folder

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from helpers.browser import chromium
from helpers.file_server import file_server

ROUNDS, SLIDES, WISHED = 7, 10, 2000
MEASURED = """
const [text, slides, done] = arguments;
const photograph = new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]);
(async () => {
  const engine = await import("./engine.js"), since = (start) => performance.now() - start;
  await engine.open();
  const made = { "networks are loaded": since(0) };
  await engine.find(photograph);
  made["the first face is found"] = since(0);
  await engine.translate(photograph, { face: 0, strength: 1 });
  made["its pictures are there"] = since(0);
  const start = performance.now();
  for (let i = 0; i < slides; i++) await engine.translate(photograph, { face: 0, strength: i / slides });
  made["a moved slider"] = since(start) / slides;
  return made;
})().then(done);
"""


def main(package: Path) -> None:
    """Measure a photograph of 512 x 512 pixels."""
    file = io.BytesIO()
    Image.fromarray(astronaut()).save(file, "JPEG", quality=95)
    photograph = base64.b64encode(file.getvalue()).decode()
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        export_folder(None, package, Path(name) / "site")
        for number in range(ROUNDS):
            with file_server(Path(name) / "site") as (address, _), chromium(Path(name) / str(number)) as browser:
                rounds.append(_measured(browser, address, photograph))
    print(
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; milliseconds, median and least of {ROUNDS} browsers"
    )
    for what in rounds[0]:
        taken = [each[what] for each in rounds]
        print(f"{what:24} {median(taken):6.0f} {min(taken):6.0f}")
    print(f"wished for: a first face within {WISHED}")


def _measured(browser: Any, address: str, photograph: str) -> dict[str, float]:
    browser.set_script_timeout(120)
    browser.get(address)
    found: dict[str, float] = browser.execute_async_script(MEASURED, photograph, SLIDES)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
