"""Reports: result.json, metrics.jsonl and config.json of any folder, and pages that hold nothing foreign."""

from __future__ import annotations

import json
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from fuzz.damage import ODD_TEXT, damaged, damaged_json, damaged_value
from fuzz.harness import Target
from helpers.common import picture
from hypothesis import strategies as st

from facecycle.config.layers import preset_layers, resolve
from facecycle.pages import fill, plain
from facecycle.pretraining.run_folder import CONFIG, METRICS
from facecycle.probing.result import RESULT
from facecycle.reporting.report import write_report

ROW = {
    "feature": "expression",
    "dimensions": 256,
    "metrics": {"accuracy": 0.5},
    "intervals": {"accuracy": [0.4, 0.6]},
    "folds": {"0": {"accuracy": 0.5}},
    "chosen": {"0": 1.0},
}
SAVED = {
    "format": "facecycle-probe/1",
    "task": "emotion",
    "protocol": "linear",
    "selection": "s",
    "interval": "i",
    "split": "p",
    "counts": {"images": 5},
    "classes": {"happy": 5},
    "coverage": ["all"],
    "facts": {"data set": "raf-db", "sha256": "ab"},
    "unreadable": {"a.png": "cut short"},
    "rows": [ROW],
}
LINES = [
    {"stage": stage, "step": n, "total": 1.0 / (n + 1), "lr": 0.1} for stage in ("direct", "identity") for n in range(3)
]
TAGS = frozenset(
    [
        "html",
        "meta",
        "title",
        "style",
        "h1",
        "h2",
        "h3",
        "p",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "ul",
        "li",
        "img",
        "br",
        "small",
        "dl",
        "dt",
        "dd",
        "figure",
        "a",
        "figcaption",
    ]
)
ATTRIBUTES = frozenset(
    {"lang", "charset", "name", "content", "class", "src", "alt", "href", "width", "height", "loading"}
)


class _Page(HTMLParser):
    """Refuses elements, attributes and addresses that no template holds; gathers the text."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        for name, value in attrs:
            assert name in ATTRIBUTES, (tag, name)
            if name in ("src", "href"):
                inside = (value or "").startswith("data:image/png;base64,") or not {":", "/", "<"} & set(value or "")
                assert inside, value

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def check_page(html: str) -> str:
    """Return the text of a page that holds nothing foreign."""
    page = _Page()
    page.feed(html)
    page.close()
    return page.text


@cache
def _config() -> Any:
    return json.loads(resolve(preset_layers("small")).model_dump_json())


def _report(value: tuple[bytes, bytes, bytes], folder: Path) -> None:
    """Write a report of a probe and of a run."""
    result, metrics, config = value
    for name, content in ((RESULT, result), (METRICS, metrics), (CONFIG, config)):
        place = folder / "in" / ("probe" if name == RESULT else "run") / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    picture(folder / "in" / "run" / "samples" / "1.png")
    html, markdown = write_report([folder / "in"], folder / "out")
    check_page(html.read_text("utf-8"))
    assert "<script" not in markdown.read_text("utf-8").replace("\\<", "")


@st.composite
def _metrics(draw: st.DrawFn) -> bytes:
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 2))):
        lines[draw(st.integers(0, len(lines) - 1))] = draw(damaged_value(LINES[0]))
    text = "\n".join(json.dumps(line) for line in lines)
    kind = draw(st.sampled_from(("json", "json", "deep", "bytes")))
    if kind == "deep":
        text += "\n" + draw(damaged_json(LINES[0])).decode("utf-8", "replace")
    return draw(damaged(text.encode())) if kind == "bytes" else text.encode("utf-8", "surrogatepass")


_SOUND = json.dumps(SAVED).encode(), "\n".join(map(json.dumps, LINES)).encode(), json.dumps(_config()).encode()
_WRITTEN = st.one_of(
    st.tuples(damaged_json(SAVED), st.just(_SOUND[1]), st.just(_SOUND[2])),
    st.tuples(st.just(_SOUND[0]), _metrics(), st.just(_SOUND[2])),
    st.tuples(st.just(_SOUND[0]), _metrics(), st.just(_SOUND[2])),
    st.tuples(st.just(_SOUND[0]), st.just(_SOUND[1]), damaged_json(_config())),
)

# --- text in pages ----------------------------------------------------------------------------------

MARKUP = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'",
    "{{ 7 * 7 }}",
    "{% include 'x' %}",
    "&lt;",
    "-->",
    "<!--",
    "]]>",
    "javascript:alert(1)",
    "</style>",
    "</title>",
    "\0",
    "`",
    "|",
    "[a](javascript:b)",
    "![x](y)",
    "<b",
]
TEXT = st.lists(st.sampled_from(MARKUP) | st.text(max_size=5), min_size=1, max_size=3).map("".join)


def _pages(text: str, folder: Path) -> None:
    """Fill the pages with the same text everywhere, and find it as text alone."""
    text = text.encode("utf-8", "replace").decode()
    picture_ = [{"data": "data:image/png;base64,", "name": text}]
    table = {
        "title": text,
        "columns": [text],
        "rows": [{"cells": [text], "ours": True}],
        "notes": [text],
        "pictures": picture_,
    }
    run = {"name": text, "facts": [(text, text)], "pictures": picture_}
    report = {"source": "a paper", "tables": [table], "runs": [run], "samples": picture_, "environment": [(text, text)]}
    faces = [(text, [(text, f"{text.replace('/', '')}.png")])]
    gallery = {"title": text, "checkpoint": text, "seed": text, "size": 64, "faces": faces, "skipped": [(text, text)]}
    for name, values, times in (("report.html.jinja", report, 8), ("gallery.html.jinja", gallery, 7)):
        shown = check_page(fill(name, **values))
        wanted = " ".join(text.replace("\r\n", "\n").replace("\r", "\n").split())
        assert " ".join(shown.split()).count(wanted) >= times or not wanted, name
    for name, values in (("report.md.jinja", report),):
        markdown = fill(name, **values)
        assert "<script" not in markdown.replace("\\<", "")
    assert "\n" not in plain(text)


TARGETS = [
    Target("pages/report", _WRITTEN, _report, _SOUND, share=0.6, seconds=60, mib=512),
    Target("pages/text", TEXT | ODD_TEXT, _pages, "a face", share=1),
]
