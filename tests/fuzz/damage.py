"""Strategies that damage what was whole: bytes, text and JSON values."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

EDGES = [
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
]
"""Lengths, counts and offsets at the edges of what a field holds."""
HUGE = "9" * 5000
"""More digits than Python turns into an integer, and a longer name than a file may have."""
TEXTS = [
    *("", " ", "\n", "\t", "\r", "\0", "\ufeff", "\u2028", "\x1b[31m", "..", "../../x", "/", "/etc/passwd", "~", "."),
    *(
        "0",
        "-1",
        "1",
        "1e999",
        "nan",
        "inf",
        "-inf",
        "1e308",
        "1e-320",
        HUGE,
        "x" * 300,
        "x" * 140_000,
        "٣",
        "²",
        "0x10",
        "1_000",
    ),
    *(",", '"', "'", "[", "{", "=", "#", "$", "%s", "{0}", "{{ 7 }}", "\\", "<script>alert(1)</script>", '" onload="x'),
]
"""Cells, names and lines that readers stumble over."""

ODD_TEXT = st.sampled_from(TEXTS) | st.text(max_size=20)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, edits: int = 4) -> bytes:
    """Draw bytes with a few of them flipped, overwritten, cut, repeated, inserted or read as another number."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, edits))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.sampled_from(("flip", "byte", "number", "cut", "drop", "repeat", "insert", "end")))
        if kind == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte" and content:
            content[at] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFE, 0xFF)))
        elif kind == "number":
            width, order = draw(st.sampled_from((1, 2, 4, 8))), draw(st.sampled_from(("little", "big")))
            number = draw(st.sampled_from(EDGES)) % 256**width
            content[at : at + width] = number.to_bytes(width, order)
        elif kind == "cut":
            del content[at:]
        elif kind == "drop":
            del content[at : at + draw(st.integers(1, 64))]
        elif kind == "repeat":
            content[at:at] = content[at : at + draw(st.integers(1, 64))] * draw(st.sampled_from((1, 2, 100)))
        elif kind == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "end":
            content += draw(st.binary(min_size=1, max_size=16))
    return bytes(content)


@st.composite
def damaged_text(draw: st.DrawFn, whole: str) -> bytes:
    """Draw a text file with words replaced, lines dropped, repeated or joined, and other encodings."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged(whole.encode()))
    lines = whole.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(lines) - 1)))
        kind = draw(st.sampled_from(("word", "word", "word", "line", "drop", "repeat", "insert", "swap")))
        if not lines or kind == "insert":
            lines.insert(at, draw(ODD_TEXT))
        elif kind == "word":
            for separator in (",", "\t", " "):
                if separator in lines[at]:
                    break
            words = lines[at].split(separator)
            words[draw(st.integers(0, len(words) - 1))] = draw(ODD_TEXT)
            lines[at] = separator.join(words)
        elif kind == "line":
            lines[at] = draw(ODD_TEXT)
        elif kind == "drop":
            del lines[at]
        elif kind == "repeat":
            lines[at:at] = [lines[at]] * draw(st.sampled_from((1, 2, 1000)))
        elif kind == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
    text = draw(st.sampled_from(("\n", "\n", "\r\n", "\r", "\x85"))).join(lines)
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32")))
    return text.encode(encoding, "replace" if encoding == "latin-1" else "surrogatepass")


NUMBERS = st.sampled_from([0, -1, 1, 10**30, -(10**400), 2**63, 0.5, -0.0, 1e308, float("nan"), float("inf")])
ODD_VALUES: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NUMBERS | ODD_TEXT | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_TEXT, inner, max_size=4),
    max_leaves=8,
)
"""Values of JSON of any type."""


def nested(depth: int, kind: str) -> str:
    """Return JSON that is so many lists or tables deep."""
    return "[" * depth + "]" * depth if kind == "list" else '{"a":' * depth + "1" + "}" * depth


DEPTHS = st.sampled_from((100, 300, 480, 900, 990, 5000, 100_000))


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of every value within a value of JSON, the whole one first."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += paths_of(inner, (*path, key))
    return found


@st.composite
def damaged_value(draw: st.DrawFn, whole: Any) -> Any:
    """Draw a value of JSON with some of its parts replaced, removed, renamed or added."""
    value = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths_of(value)))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                value = draw(ODD_VALUES)
            continue
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        kind = draw(st.sampled_from(("replace", "replace", "replace", "remove", "rename", "add")))
        if kind == "remove":
            del holder[path[-1]]
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw(ODD_TEXT)] = holder.pop(path[-1])
        elif kind == "add" and isinstance(holder, dict):
            holder[draw(ODD_TEXT)] = draw(ODD_VALUES)
        else:
            holder[path[-1]] = draw(ODD_VALUES)
    return value


@st.composite
def damaged_json(draw: st.DrawFn, whole: Any) -> bytes:
    """Draw a JSON file: a damaged value, damaged bytes, a key twice, or a value nested beyond reason."""
    kind = draw(st.sampled_from(("value", "value", "value", "value", "bytes", "deep", "huge")))
    if kind == "bytes":
        return draw(damaged(json.dumps(whole).encode()))
    if kind == "value":
        return json.dumps(draw(damaged_value(whole))).encode("utf-8", "surrogatepass")
    text, mark = json.dumps(whole), "@@"
    path = draw(st.sampled_from(paths_of(whole)))
    if path:
        value = copy.deepcopy(whole)
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = mark
        text = json.dumps(value)
    else:
        text = json.dumps(mark)
    put = HUGE if kind == "huge" else nested(draw(DEPTHS), draw(st.sampled_from(("list", "table"))))
    return text.replace(json.dumps(mark), put).encode()
