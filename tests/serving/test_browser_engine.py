"""The exported folder in a real Chromium, from a plain file server: it makes the pictures that Python makes."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.browser import chromium, needs_browser
from helpers.common import ROOT
from helpers.file_server import file_server
from helpers.serving import encoded, no_face, one_face, two_faces, weights_of
from PIL import Image, ImageOps
from skimage.data import astronaut

from facecycle.faces.detection import warnings
from facecycle.runtimes.choose import choose
from facecycle.serving.export_folder import export_folder
from facecycle.translation.photographs import ALL, FoundFace, Photograph, find_faces, finder
from facecycle.translation.rows import Row, pictures_of

RUNTIME = Path(os.environ.get("FACECYCLE_ORT_WEB", ROOT / "node_modules" / "onnxruntime-web"))
PHOTOS = ROOT / ".." / "shared" / "data" / "photos"
PANELS = ("pasted", "frontal", "neutral", "mean_face")
DRIVEN = (*PANELS, "reexpressed")
pytestmark = [
    needs_browser,
    pytest.mark.skipif(
        not RUNTIME.is_dir(), reason="FACECYCLE_ORT_WEB names no npm package onnxruntime-web, nor is it in node_modules"
    ),
]
ASK = """
const [name, files, options, done] = arguments;
const blobs = files.map((text) => new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]));
const text = async (blob) => {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
};
(async () => {
  const engine = await import("./engine.js");
  const made = await engine[name](...blobs.slice(0, 1), ...(options ? [{ ...options, driver: blobs[1] ?? null }] : []));
  if (name !== "translate") return made;
  return Object.fromEntries(await Promise.all(
    Object.entries(made).map(async ([name, blob]) => [name, [blob.type, await text(blob)]])));
})().then(done, (error) => done({ error: error.message }));
"""
Ask = Callable[..., Any]
Site = tuple[str, list[str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("export") / "site"
    export_folder(None, RUNTIME, folder)
    with file_server(folder) as served:
        yield served


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        opened.set_script_timeout(40)
        opened.get(site[0])
        yield opened


@pytest.fixture
def ask(browser: Any) -> Ask:
    """Ask the engine in the browser, with image files."""

    def asked(name: str, *files: bytes, **options: Any) -> Any:
        return browser.execute_async_script(ASK, name, [base64.b64encode(f).decode() for f in files], options or None)

    return asked


def pictures(answer: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Decode the pictures of an answer, RGB (H, W, 3)."""
    assert "error" not in answer, answer
    found = {}
    for name, file in answer.items():
        picture = Image.open(io.BytesIO(base64.b64decode(file[1])))
        assert picture.get_format_mimetype() == file[0]
        found[name] = np.asarray(picture.convert("RGB"))
    return found


def found_by_python(image: Image.Image) -> list[FoundFace]:
    photograph = Photograph("the photograph", np.asarray(image), {})
    return find_faces(photograph, finder(), ALL, 64)


def made_by_python(image: Image.Image, driver: Image.Image | None, face: int, strength: float) -> dict[str, np.ndarray]:
    """Return the pictures that `facecycle translate` makes, RGB (H, W, 3)."""
    other = None if driver is None else found_by_python(driver)[0]
    row = Row("", "", found_by_python(image)[face], other)
    names = [*(PANELS if driver is None else DRIVEN), "flow"]
    (made,) = pictures_of(choose(None, "onnx")[0], [row], names, strength, 0)
    return {name: picture.transpose(1, 2, 0) for name, picture in made.by_name.items() if name != "flow"}


def agree(mine: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """Every picture is the same, to one level of 255 on average."""
    assert mine.keys() == wanted.keys()
    for name, picture in wanted.items():
        assert mine[name].shape == picture.shape, name
        assert np.abs(mine[name].astype(int) - picture).mean() <= 1, name


@pytest.mark.parametrize("driven", [False, True])
def test_pictures_are_those_of_python(ask: Ask, driven: bool) -> None:
    image = one_face()
    driver = ImageOps.mirror(image).rotate(12) if driven else None
    files = [encoded(each) for each in (image, driver) if each is not None]
    answer = ask("translate", *files, face=0, strength=0.8)
    agree(pictures(answer), made_by_python(image, driver, 0, 0.8))
    assert ("reexpressed" in answer) == driven


def test_pictures_of_a_camera_are_those_of_python(ask: Ask) -> None:
    paths = [PHOTOS / name for name in ("id1.jpg", "id2.jpg")]
    if not all(path.exists() for path in paths):
        pytest.skip("../shared/data/photos is not there")
    images = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in paths]
    answer = ask("translate", *(path.read_bytes() for path in paths), face=0, strength=1)
    assert answer["pasted"][0] == "image/jpeg"  # as it came
    agree(pictures(answer), made_by_python(images[0], images[1], 0, 1))


def test_strength_0_gives_the_photograph_back(ask: Ask) -> None:
    made = pictures(ask("translate", encoded(one_face()), face=0, strength=0))
    assert np.array_equal(made["pasted"], astronaut())


def test_faces_are_found_where_python_finds_them(ask: Ask) -> None:
    found = ask("find", encoded(two_faces()))
    wanted = found_by_python(two_faces())
    assert (found["width"], found["height"], len(found["faces"])) == (850, 512, 2)
    for mine, theirs in zip(found["faces"], wanted, strict=True):
        assert np.allclose(mine["box"], theirs.face.box, atol=0.1)
        assert np.allclose(mine["landmarks"], theirs.face.landmarks, atol=0.1)
        assert mine["doubts"] == warnings(theirs.face, (512, 850))
    agree(pictures(ask("translate", encoded(two_faces()), face=1, strength=1)), made_by_python(two_faces(), None, 1, 1))


def test_a_face_that_lies_on_its_side_is_found(ask: Ask) -> None:
    turned = one_face().rotate(90)
    (found,), (wanted,) = ask("find", encoded(turned))["faces"], found_by_python(turned)
    assert np.allclose(found["landmarks"], wanted.face.landmarks, atol=0.1)


def test_a_photograph_is_turned_as_its_camera_says(ask: Ask) -> None:
    image = Image.fromarray(astronaut()[:400])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    lying = encoded(image.rotate(90, expand=True), "JPEG", quality=95, subsampling=0, exif=exif)
    found = ask("find", lying)
    assert (found["width"], found["height"]) == image.size
    (face,), (wanted,) = found["faces"], found_by_python(image)
    assert np.allclose(face["landmarks"], wanted.face.landmarks, atol=1.5)
    made = pictures(ask("translate", lying, face=0, strength=0))
    assert np.abs(made["pasted"].astype(int) - np.asarray(image)).mean() < 3  # as far as JPEG goes


def test_what_is_transparent_becomes_white(ask: Ask) -> None:
    image = one_face()
    mask = Image.new("L", image.size, 255)
    mask.paste(0, (300, 300, 512, 512))
    image.putalpha(mask)
    made = pictures(ask("translate", encoded(image), face=0, strength=0))["pasted"]
    assert (made[300:, 300:] == 255).all()
    assert np.array_equal(made[:300], astronaut()[:300])


def test_mistakes_are_explained(ask: Ask) -> None:
    face, empty = encoded(one_face()), encoded(no_face())
    assert "No face was found" in ask("find", empty)["error"]
    assert "No face was found" in ask("translate", face, empty, face=0, strength=1)["error"]
    for wrong in (b"some text", b"", face[:300], b"<svg xmlns='http://www.w3.org/2000/svg'/>"):
        assert "no picture that the browser can read" in ask("find", wrong)["error"]
    assert "no face 2, because there is 1 face" in ask("translate", face, face=1, strength=1)["error"]
    for strength in (-0.1, 1.6):
        assert "not from 0 to 1.5" in ask("translate", face, face=0, strength=strength)["error"]
    assert len(ask("find", face)["faces"]) == 1  # and it goes on


def test_nothing_goes_anywhere_else(browser: Any, ask: Ask, site: Site, tmp_path: Path) -> None:
    """The content security policy holds the page and its worker, whatever code would be in them."""
    address, asked = site
    ask("open")
    assert asked.count("/weights/default.safetensors") == 1
    with file_server(tmp_path) as (elsewhere, reached):
        script = """
            const [address, done] = arguments;
            const attempt = `fetch("${address}/x", { mode: "no-cors" })`;
            const inside = `${attempt}.then(() => postMessage("sent"), () => postMessage("refused"))`;
            const script = new Blob([inside], { type: "text/javascript" });
            const worker = new Worker(URL.createObjectURL(script), { type: "module" });
            worker.onmessage = ({ data }) => fetch(`${address}/y`, { mode: "no-cors" })
              .then(() => done([data, "sent"]), () => done([data, "refused"]));
        """
        assert browser.execute_async_script(script, elsewhere) == ["refused", "refused"]
        assert reached == []
    workers = [t for t in browser.execute_cdp_cmd("Target.getTargets", {})["targetInfos"] if t["type"] == "worker"]
    assert workers
    assert all(each["url"].startswith("blob:") for each in workers)  # one from a file would obey no policy
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(({ name }) => name)")
    assert {name for name in loaded if not name.startswith((address, "blob:", "data:"))} == set()


def test_the_page_shows_what_its_engine_makes(browser: Any, site: Site) -> None:
    browser.get(site[0])
    script = """
        const [text, done] = arguments, held = new DataTransfer();
        const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        held.items.add(new File([bytes], "two.png", { type: "image/png" }));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true }));
        const seen = () => document.querySelectorAll("#panels img[src]").length;
        const ready = setInterval(() => {
          if (seen() < 3) return;
          clearInterval(ready);
          done([document.querySelectorAll("#faces button").length, document.getElementById("terms").textContent]);
        }, 50);
    """
    faces, terms = browser.execute_async_script(script, base64.b64encode(encoded(two_faces())).decode())
    assert faces == 2
    assert "non-commercial" in terms


def test_weights_that_move_no_faces_make_their_panels(browser: Any, ask: Ask, tmp_path: Path) -> None:
    weights = weights_of(tmp_path, "mean_face", "identity_swap")
    export_folder(weights, RUNTIME, tmp_path / "site")
    image, other = one_face(), two_faces()
    pixels, driver = (found_by_python(each)[0].pixels[None] for each in (image, other))
    wanted = choose(weights, "onnx")[0].translate(pixels, driver, 0, ("mean_face", "identity_swap"))
    wanted = {name: panel[0].transpose(1, 2, 0) for name, panel in wanted.items()}
    with file_server(tmp_path / "site") as (address, _):
        browser.get(address)
        said = ask("open")
        assert not said["moves"]
        assert [each["title"] for each in said["panels"]] == ["Mean face", "Identity swap"]
        agree(pictures(ask("translate", encoded(image), encoded(other), face=0, strength=1)), wanted)
        del wanted["identity_swap"]
        agree(pictures(ask("translate", encoded(image), face=0, strength=1)), wanted)
