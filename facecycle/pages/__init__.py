"""Pages that people read: templates, how they are filled, and how text is escaped in them and in plots."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader(__name__, "."),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["plain"] = plain
    return made


def plain(text: object) -> str:
    """Return text that markdown shows as it is, on one line, and inside a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(text).split()))


def drawable(text: str) -> str:
    """Return text that matplotlib draws as it is: it reads what stands between dollars as a formula."""
    return text.encode("utf-8", "backslashreplace").decode().replace("$", r"\$")


def fill(template: str, **values: Any) -> str:
    """Return a template of this folder, filled with values; what UTF-8 cannot hold is shown as escapes.

    A template of HTML escapes whatever it is given.
    """
    text = _environment().get_template(template).render(**values)
    return text.encode("utf-8", "backslashreplace").decode()
