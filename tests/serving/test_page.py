"""The page in a real Chromium: what people do on it, and what they then see, read and get."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from helpers.browser import chromium, needs_browser, resize
from helpers.common import ROOT
from helpers.serving import Client, encoded, no_face, one_face, serving, two_faces, weights_of
from PIL import Image

from facecycle.runtimes.base import Runtime
from facecycle.runtimes.by_onnx import OnnxRuntime

pytestmark = needs_browser
REAL = sorted((ROOT / ".." / "shared" / "data" / "photos").glob("*.jpg"))
CAUGHT = "HTMLInputElement.prototype.click = function () { window.asked = this.id }"
"""The window in which people choose a file lies outside of the page, so it is not opened."""


class Page:
    """The page as somebody uses it."""

    def __init__(self, browser: Any, folder: Path, client: Client) -> None:
        self.browser, self.folder, self.client = browser, folder, client

    def open(self) -> None:
        resize(self.browser, 1200, 900)
        self.browser.get(f"http://127.0.0.1:{self.client.port}/")
        self.browser.execute_script(CAUGHT)
        self.until(lambda: self.text("terms"))

    def __getitem__(self, name: str) -> Any:
        return self.browser.find_element("id", name)

    def text(self, name: str) -> str:
        return str(self[name].get_property("textContent"))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def until(self, true: Callable[[], Any]) -> Any:
        end = time.monotonic() + 30
        while not (found := true()):
            assert time.monotonic() < end, f"status {self.text('status')!r}, alert {self.text('alert')!r}"
            time.sleep(0.02)
        return found

    def give(self, button: str, content: bytes, name: str = "holiday.png") -> None:
        """Press a button and choose a file."""
        (self.folder / name).write_bytes(content)
        self[button].click()
        self["file"].send_keys(str(self.folder / name))

    def made(self) -> None:
        """Wait for pictures of what is chosen."""
        self.until(lambda: self.text("status") == "The pictures are ready." and not self.text("alert"))

    def forget(self) -> None:
        """Have `made` wait for the next pictures."""
        self.run("document.getElementById('status').textContent = ''")

    def pixels(self, selector: str) -> np.ndarray:
        """Return what an image element shows, at its own size."""
        script = """
            const image = document.querySelector(arguments[0]), done = arguments[1];
            image.decode().then(async () => {
                const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
                canvas.getContext("2d").drawImage(image, 0, 0);
                const reader = new FileReader();
                reader.onload = () => done(reader.result.split(",")[1]);
                reader.readAsDataURL(await canvas.convertToBlob());
            });"""
        png = base64.b64decode(self.browser.execute_async_script(script, selector))
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def shown(self) -> list[str]:
        """Return the titles of the panels."""
        return [each.text for each in self.browser.find_elements("css selector", "#panels b")]


@pytest.fixture(scope="module")
def opened(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("browser")
    with serving(runtime) as client, chromium(folder) as browser:
        yield Page(browser, folder, client)


@pytest.fixture
def page(opened: Page) -> Page:
    opened.open()
    return opened


def test_a_photograph_is_moved_and_what_is_downloaded_is_what_is_shown(page: Page) -> None:
    page.give("choose", encoded(one_face()))
    page.made()
    assert page.text("chosen") == "One face"
    assert page.shown() == ["Frontal", "Neutral", "Mean face"]
    before, after, original = page.pixels("#before"), page.pixels("#after"), np.asarray(one_face())
    assert np.array_equal(before, original)
    changed = np.argwhere((after != original).any(-1))
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    assert 0 < top < 60 < 190 < bottom < 260  # the face, and nothing else
    assert 120 < left < 180 < 265 < right < 330
    page["download"].click()
    file = page.folder / "holiday-pasted.png"
    page.until(lambda: file.exists() and file.stat().st_size)
    assert np.array_equal(np.asarray(Image.open(file)), after)


def test_two_faces_are_buttons_and_the_second_can_be_chosen_by_the_keyboard(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.give("choose", encoded(two_faces()))
    page.made()
    first, second = page.browser.find_elements("css selector", ".face")
    names = [each.get_attribute("aria-label") for each in (first, second)]
    assert names == ["Face 1 of 2", "Face 2 of 2"]
    assert [each.get_attribute("aria-pressed") for each in (first, second)] == ["true", "false"]
    moved = page.pixels("#after")
    assert np.array_equal(moved[:, 600:], np.asarray(two_faces())[:, 600:])
    page.forget()
    second.send_keys(Keys.ENTER)
    page.made()
    assert page.text("chosen") == "Face 2 of 2"
    assert [each.get_attribute("aria-pressed") for each in (first, second)] == ["false", "true"]
    moved = page.pixels("#after")
    assert np.array_equal(moved[:, :500], np.asarray(two_faces())[:, :500])
    assert not np.array_equal(moved[:, 600:], np.asarray(two_faces())[:, 600:])


def test_the_strength_and_the_dividing_line_obey_the_keyboard(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.give("choose", encoded(one_face()))
    page.made()
    page.forget()
    page["strength"].send_keys(Keys.HOME)
    assert page.text("strength-shown") == "0 %"
    page.made()
    assert np.array_equal(page.pixels("#after"), np.asarray(one_face()))  # at 0 nothing moves
    clip = "return getComputedStyle(document.getElementById('after')).clipPath"
    page["split"].send_keys(Keys.HOME)
    assert page.run(clip).endswith(" 0%)")
    page["split"].send_keys(Keys.END)
    assert page.run(clip).endswith(" 100%)")


def test_the_dividing_line_is_dragged(page: Page) -> None:
    from selenium.webdriver import ActionChains

    page.give("choose", encoded(one_face()))
    page.made()
    stage = page["stage"]
    width = stage.size["width"]
    ActionChains(page.browser).move_to_element(stage).click_and_hold().move_by_offset(width // 4, 0).release().perform()
    assert abs(int(page["split"].get_property("value")) - 75) <= 1


def test_a_driver_comes_and_goes(page: Page) -> None:
    page.give("choose", encoded(one_face()))
    page.made()
    alone = page.pixels("#after")
    page.forget()
    page.give("driver-choose", REAL[0].read_bytes() if REAL else encoded(two_faces()), "other.jpg")
    page.made()
    assert page.shown() == ["Frontal", "Re-expressed", "Neutral", "Mean face"]
    assert not np.array_equal(page.pixels("#after"), alone)
    page.forget()
    page["driver-remove"].click()
    page.made()
    assert page.shown() == ["Frontal", "Neutral", "Mean face"]
    assert np.array_equal(page.pixels("#after"), alone)


def test_weights_that_move_no_faces_ask_for_the_second_one(opened: Page, tmp_path: Path) -> None:
    with serving(OnnxRuntime(weights_of(tmp_path, "expression_swap", "identity_swap"))) as client:
        page = Page(opened.browser, opened.folder, client)
        page.open()
        assert page["title"].text == "Make pictures of a face"
        page.give("choose", encoded(one_face()))
        page.until(lambda: page["needed"].is_displayed())
        assert page.shown() == []
        assert not page["strength"].is_displayed()
        assert not page["download"].is_displayed()
        page.give("driver-choose", encoded(two_faces()), "other.png")
        page.made()
        assert page.shown() == ["Expression swap", "Identity swap"]
        assert page.pixels("#panels img").shape == (64, 64, 3)
        assert not page["needed"].is_displayed()
        page["driver-remove"].click()
        page.until(lambda: page["needed"].is_displayed())
        assert page.shown() == []


def test_weights_that_use_no_second_face_ask_for_none(opened: Page, tmp_path: Path) -> None:
    with serving(OnnxRuntime(weights_of(tmp_path, "mean_face"))) as client:
        page = Page(opened.browser, opened.folder, client)
        page.open()
        page.give("choose", encoded(one_face()))
        page.made()
        assert page.shown() == ["Mean face"]
        assert not page["driver-choose"].is_displayed()


@pytest.mark.parametrize(
    ("content", "said"), [(b"no picture", "Not an image in a format that can be read."), (None, "No face was found.")]
)
def test_what_is_no_photograph_of_a_face_is_said(page: Page, content: bytes | None, said: str) -> None:
    bad = encoded(no_face()) if content is None else content
    page.give("choose", bad)
    page.until(lambda: said in page.text("alert"))
    assert page["choose"].is_displayed()
    page.give("choose", encoded(one_face()), "good.png")
    page.made()  # which also waits until the alert is gone
    page.give("driver-choose", bad, "bad.png")
    page.until(lambda: f"The second photograph: {said}" in page.text("alert"))
    assert page["after"].is_displayed()
    assert page.shown() == ["Frontal", "Neutral", "Mean face"]


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(page: Page) -> None:
    page.give("choose", bytes(33 * 2**20), "large.png")
    page.until(lambda: "too large: 32 MiB" in page.text("alert"))


def test_the_newest_of_many_wishes_wins(page: Page) -> None:
    page.give("choose", encoded(one_face()))
    page.made()
    page.forget()
    for value in (150, 20, 90, 0):
        page.run("const range = document.getElementById('strength'); range.value = arguments[0]", value)
        page.run("document.getElementById('strength').dispatchEvent(new Event('input'))")
        time.sleep(0.15)
    page.until(lambda: np.array_equal(page.pixels("#after"), np.asarray(one_face())))
    page.until(lambda: page["stage"].get_attribute("aria-busy") == "false")
    assert np.array_equal(page.pixels("#after"), np.asarray(one_face()))


def test_a_picture_is_dropped_and_pasted(page: Page) -> None:
    script = """
        const bytes = Uint8Array.from(arguments[0]), transfer = new DataTransfer();
        transfer.items.add(new File([bytes], "held.jpg", { type: "image/jpeg" }));
        const about = { bubbles: true, cancelable: true };
        document.getElementById("drop").dispatchEvent(arguments[1] === "paste"
            ? new ClipboardEvent("paste", { ...about, clipboardData: transfer })
            : new DragEvent("drop", { ...about, dataTransfer: transfer }));"""
    for kind in ("drop", "paste"):
        page.run(script, list(encoded(one_face(), "JPEG")), kind)
        page.made()
        assert page["download"].get_attribute("download") == "held-pasted.jpg"
        page["again"].click()
        page.until(lambda: page["choose"].is_displayed())


def test_the_camera_is_opened_and_let_go(page: Page) -> None:
    page["camera"].click()
    page.until(lambda: page.run("return document.getElementById('camera-video').videoWidth"))
    page["camera-take"].click()
    page.until(lambda: "No face was found." in page.text("alert"))  # Chromium's camera shows a clock
    assert page.run("return document.getElementById('camera-video').srcObject") is None
    page["camera"].click()
    page.until(lambda: page["camera-cancel"].is_displayed())
    page["camera-cancel"].click()
    page.until(lambda: not page["camera-cancel"].is_displayed())


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_sticks_out_at_a_phones_width(page: Page, width: int) -> None:
    resize(page.browser, width, 844)
    wide = "return document.documentElement.scrollWidth"
    assert page.run(wide) <= width
    page.give("choose", encoded(two_faces()))
    page.made()
    assert page.run(wide) <= width
    for name in ("stage", "controls", "panels"):
        box = page[name].rect
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    sizes = page.run(
        "return [...document.querySelectorAll('#work button:not(.face), #work .button')].map(e => e.offsetHeight)"
    )
    assert min(size for size in sizes if size) >= 44  # a finger's


def test_pictures_and_titles_fit_their_cards_at_any_width(page: Page) -> None:
    page.give("choose", encoded(one_face()))
    page.made()
    page.forget()
    page.give("driver-choose", encoded(two_faces()), "other.png")
    page.made()
    out = """
        const text = document.createRange(), wrong = [];
        for (const figure of document.querySelectorAll("#panels figure")) {
            const title = figure.querySelector("b"), card = figure.getBoundingClientRect();
            text.selectNodeContents(title);
            const all = [figure.querySelector("img"), text].map(each => each.getBoundingClientRect());
            const fits = all.every(each => each.left > card.left && each.right < card.right - 8);
            if (!fits || title.getClientRects().length > 1) wrong.push(title.textContent);
        }
        return wrong"""
    for width in (340, 390, 481, 500, 681, 700, 841, 1011, 1200):
        resize(page.browser, width, 844)
        assert page.run(out) == [], width


def test_every_control_has_a_name_and_every_text_can_be_read(page: Page) -> None:
    page.give("choose", encoded(two_faces()))
    page.made()
    tree = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "slider", "link", "image", "group", "region", "form", "checkbox", "textbox"}
    named = [
        (each["role"]["value"], each.get("name", {}).get("value", ""))
        for each in tree
        if not each["ignored"] and each["role"]["value"] in roles
    ]
    assert [role for role, name in named if not name] == []
    assert {"slider", "button", "link"} <= {role for role, _ in named}
    assert len({name for role, name in named if role == "link"}) == 4


def test_nothing_is_asked_of_anybody_else_and_nothing_is_complained_about(page: Page) -> None:
    page.browser.get_log("browser")
    page.open()
    page.give("choose", encoded(one_face()))
    page.made()
    asked = page.run("return performance.getEntriesByType('resource').map((each) => each.name)")
    own = f"127.0.0.1:{page.client.port}"
    network = [url for url in asked if not url.startswith("blob:")]
    assert {urlsplit(url).netloc for url in network} == {own}
    assert {urlsplit(url).path for url in network} <= {
        *("/style.css", "/app.js", "/engine.js", "/sources.js", "/stage.js", "/icon.svg"),
        *("/api/about", "/api/find", "/api/translate"),
    }
    assert page.browser.get_log("browser") == []
    assert page.run("return [document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
