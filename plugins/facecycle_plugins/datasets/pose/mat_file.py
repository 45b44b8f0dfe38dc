"""Matrices out of MATLAB files of level 5, read here, for SciPy's reader crashes on some damaged ones.

Source: MathWorks, "MAT-File Format", level 5.
"""

import math
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

HEADER = 128
MATRIX, COMPRESSED = 14, 15
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Data type of an element to the numbers it holds."""
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Class of an array to its numbers; they may be stored as smaller ones."""
COMPLEX = 0x0800
LARGEST = 16 * 1024**2
"""Bytes of a file, and of an element that is unpacked; the files of head pose have some thousand."""


def read_matrices(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Return the arrays of these names as far as the file holds them; one that is not of real numbers is an error.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file, damaged, or too large.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    order = {b"IM": "<", b"MI": ">"}.get(content[126:HEADER])
    if order is None or content[:4] == bytes(4):
        raise ValueError("no MATLAB file of level 5")
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    found = {}
    for kind, element in _elements(content[HEADER:], order):
        if kind == COMPRESSED:
            kind, element = next(_elements(_unpacked(element), order), (0, b""))
        if kind == MATRIX:
            parts = _elements(element, order)
            flags, shape, name = (next(parts, (0, b""))[1] for _ in range(3))
            text = name.decode("latin-1")
            if text in names:
                found[text] = _array(text, flags, shape, next(parts, (0, b"")), order)
    return found


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacker.eof:
        raise ValueError(f"an element is cut short, or has more than {LARGEST:,} bytes")
    return content


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield data type and bytes of each element."""
    byte_order = "little" if order == "<" else "big"
    place = 0
    while place < len(content):
        first = int.from_bytes(content[place : place + 4], byte_order)  # type: ignore[arg-type]
        if first >> 16:  # up to 4 bytes lie within the tag
            kind, size, start, step = first & 0xFFFF, first >> 16, place + 4, 8
        else:
            kind, start = first, place + 8
            size = int.from_bytes(content[place + 4 : start], byte_order)  # type: ignore[arg-type]
            step = 8 + (size if kind == COMPRESSED else -(-size // 8) * 8)
        if start + size > len(content) or (first >> 16 and size > 4):
            raise ValueError("an element is cut short")
        yield kind, content[start : start + size]
        place += step


def _array(name: str, flags: bytes, shape: bytes, stored: tuple[int, bytes], order: str) -> np.ndarray:
    kind, numbers = stored
    word = int(np.frombuffer(flags[:4], f"{order}u4")[0]) if len(flags) >= 4 else 0
    if word & 0xFF not in CLASSES or word & COMPLEX or kind not in STORED or len(shape) % 4:
        raise ValueError(f"{name} is no array of real numbers")
    sides = np.frombuffer(shape, f"{order}i4").tolist()
    dtype = np.dtype(f"{order}{STORED[kind]}")
    if not sides or min(sides) < 0 or math.prod(sides) * dtype.itemsize != len(numbers):
        raise ValueError(f"{name} has {len(numbers)} bytes, which is not what its shape {tuple(sides)} takes")
    values = np.frombuffer(numbers, dtype).reshape(sides, order="F")
    with np.errstate(all="ignore"):
        return values.astype(CLASSES[word & 0xFF])
