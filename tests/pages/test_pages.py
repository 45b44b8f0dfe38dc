"""Pages: text of others is shown as it is, in HTML, in markdown and in plots."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from facecycle.pages import drawable, fill, plain


def test_markdown_shows_text_as_it_is_on_one_line() -> None:
    assert plain("a|b\n<c> [d](e) `f` *g*_h_#") == "a\\|b \\<c\\> \\[d\\](e) \\`f\\` \\*g\\*\\_h\\_\\#"


def test_a_plot_shows_dollars_and_what_is_no_text() -> None:
    assert drawable("$x$ \udcff") == "\\$x\\$ \\udcff"


def test_html_escapes_what_it_is_given_and_knows_its_values() -> None:
    values = {"checkpoint": "c", "seed": 0, "size": 64, "faces": [("<b>", [("neutral", "a b.png")])], "skipped": []}
    page = fill("gallery.html.jinja", title="a & b", **values)
    assert "a &amp; b" in page
    assert "&lt;b&gt;" in page
    assert "a%20b.png" in page
    with pytest.raises(UndefinedError):
        fill("gallery.html.jinja", title="without the rest")
