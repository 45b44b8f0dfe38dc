"""Image files: every format that is read, damaged byte by byte, field by field, and blown up behind a small header."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from fuzz.damage import EDGES, damaged
from fuzz.harness import Target
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from facecycle.data.images import read_box, read_square

MIB = 1536
"""What one image may need: 16 bytes for each of the most pixels that are decoded."""


def _picture(mode: str = "RGB") -> Image.Image:
    ramp = np.arange(24 * 20 * 3, dtype=np.uint32).reshape(20, 24, 3)
    image = Image.fromarray((ramp * 37 % 256).astype(np.uint8))
    return image.convert(mode)


def _saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    _picture(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x829A] = 6, "a face", (1, 60)
    return exif.tobytes()


def _text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a face", zip=True)
    info.add_itxt("Title", "a face", zip=True)
    return info


def _frames(kind: str) -> bytes:
    buffer = io.BytesIO()
    _picture().save(buffer, kind, save_all=True, append_images=[_picture("L").convert("RGB")])
    return buffer.getvalue()


def _sixteen(kind: str, dtype: type) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(400).reshape(20, 20).astype(dtype)).save(buffer, kind)
    return buffer.getvalue()


WHOLE = {
    "jpeg": [
        *(_saved("JPEG"), _saved("JPEG", progressive=True, exif=_exif()), _saved("JPEG", "CMYK")),
        _saved("JPEG", icc_profile=b"p" * 200, comment=b"c", dpi=(72, 72), exif=_exif()),
    ],
    "png": [
        *(_saved("PNG"), _saved("PNG", "P", transparency=1), _saved("PNG", "RGBA", pnginfo=_text())),
        *(_saved("PNG", exif=_exif(), icc_profile=b"p" * 200), _sixteen("PNG", np.uint16), _frames("PNG")),
    ],
    "gif": [_saved("GIF"), _frames("GIF"), _saved("GIF", "P", transparency=0, comment=b"c")],
    "bmp": [_saved("BMP"), _saved("BMP", "P"), _saved("BMP", "1"), _saved("DIB")],
    "tiff": [
        *(_saved("TIFF"), _saved("TIFF", compression="tiff_lzw"), _saved("TIFF", compression="jpeg")),
        *(_saved("TIFF", compression="tiff_adobe_deflate", exif=_exif()), _sixteen("TIFF", np.float32)),
        *(_sixteen("TIFF", np.uint16), _saved("TIFF", "1", compression="group4"), _frames("TIFF")),
    ],
    "webp": [_saved("WEBP"), _saved("WEBP", lossless=True, exif=_exif()), _saved("WEBP", "RGBA"), _frames("WEBP")],
    "pnm": [
        *(_saved("PPM"), _saved("PPM", "L"), _saved("PPM", "1"), b"P2 3 2 255 1 2 3 4 5 6", b"P3 1 1 255 1 2 3"),
        *(b"P1 3 2 1 0 1 1 0 1", b"P5 2 2 65535 " + bytes(8), b"Pf 2 2 -1.0\n" + bytes(16)),
    ],
}
SUFFIX = {"jpeg": ".jpg", "tiff": ".tif", "pnm": ".pgm"}


def _read(content: bytes, suffix: str, folder: Path) -> None:
    path = folder / f"a{suffix}"
    path.write_bytes(content)
    for read in (lambda: read_square(path, 8), lambda: read_box(path, 8, (1.5, 2.0, 12.5, 300.0))):
        pixels = read()
        assert pixels.shape == (3, 8, 8)
        assert str(pixels.dtype) == "torch.uint8"


def _target(kind: str, share: float) -> Target:
    suffix = SUFFIX.get(kind, f".{kind}")
    inputs = st.sampled_from(WHOLE[kind]).flatmap(damaged)
    return Target(
        f"images/{kind}", inputs, lambda v, folder: _read(v, suffix, folder), WHOLE[kind][0], share=share, mib=MIB
    )


# --- PNG by chunks, with sums that hold -----------------------------------------------------------


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _header(width: int, height: int, depth: int, colour: int, interlace: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width % 2**32, height % 2**32, depth, colour, 0, 0, interlace)


BOMB = zlib.compress(bytes(80 * 1024**2), 9)
"""80 MiB of zeros in 80 KiB."""
ROWS = zlib.compress(bytes(20 * (24 * 3 + 1)))
SIDES = st.sampled_from((1, 2, 24, 1000, 4000, 9000, 13_000, 30_000, 65_535, 2**20, 2**31 - 1, 2**31, 2**32 - 1))


@st.composite
def _png_chunks(draw: st.DrawFn) -> bytes:
    depth, colour = draw(st.sampled_from((1, 2, 4, 8, 16, 0, 255))), draw(st.sampled_from((0, 2, 3, 4, 6, 1, 255)))
    width, height = (24, 20) if draw(st.booleans()) else (draw(SIDES), draw(SIDES))
    small = draw(st.binary(max_size=12))
    compressed = draw(st.sampled_from((zlib.compress(b"a face"), BOMB, b"\x78\x9c", b"")))
    extra = {
        b"iCCP": b"p\0\0" + compressed,
        b"zTXt": b"Comment\0\0" + compressed,
        b"iTXt": b"Comment\0\1\0\0\0" + compressed,
        b"tEXt": b"Comment\0" + small,
        b"eXIf": draw(damaged(_exif()[6:])),
        b"PLTE": small * draw(st.sampled_from((1, 64, 100))),
        b"tRNS": small,
        b"gAMA": small,
        b"cHRM": small,
        b"pHYs": small,
        b"sRGB": small,
        b"acTL": struct.pack(">II", draw(st.sampled_from(EDGES)) % 2**32, 0),
        b"fcTL": struct.pack(">IIIIIHHBB", 0, draw(SIDES), draw(SIDES), 0, 0, 0, 0, 0, 0),
        b"fdAT": small,
        b"IDAT": compressed,
    }
    names = draw(st.lists(st.sampled_from(sorted(extra)), max_size=4))
    body = [(name, extra[name]) for name in names]
    pixels = draw(st.sampled_from((ROWS, BOMB, zlib.compress(b""), b"")))
    return _png(
        [_header(width, height, depth, colour, draw(st.sampled_from((0, 1)))), *body, (b"IDAT", pixels), (b"IEND", b"")]
    )


# --- large pictures in small files ----------------------------------------------------------------


def _large(side: int, mode: str) -> bytes:
    """Return a PNG of a blank picture; 9,400 pixels square are just within what is decoded."""
    depth, colour, channels = {"L": (8, 0, 1), "RGB": (8, 2, 3), "RGBA": (8, 6, 4), "I;16": (16, 0, 2)}[mode]
    packer, rows = zlib.compressobj(1), []
    row = bytes(side * channels + 1)
    for _ in range(side):
        rows.append(packer.compress(row))
    return _png([_header(side, side, depth, colour), (b"IDAT", b"".join([*rows, packer.flush()])), (b"IEND", b"")])


# --- boxes of a sound image ---------------------------------------------------------------

START, END = (st.floats(a, b) | st.floats(a, b) | st.floats(a, b) | st.floats() for a, b in ((-5, 12), (12, 40)))


def _read_boxes(box: tuple[float, ...], folder: Path) -> None:
    path = folder / "a.png"
    path.write_bytes(WHOLE["png"][0])
    assert read_box(path, 8, box).shape == (3, 8, 8)


TARGETS = [
    *(_target(kind, share) for kind, share in zip(WHOLE, (3, 3, 2, 1, 3, 2, 2), strict=True)),
    Target("images/png-chunks", _png_chunks(), lambda v, f: _read(v, ".png", f), WHOLE["png"][0], share=1, mib=MIB),
    Target(
        "images/large",
        st.tuples(st.sampled_from((9400, 9460, 12_000)), st.sampled_from(("L", "RGB", "RGBA", "I;16"))),
        lambda v, f: _read(_large(*v), ".png", f),
        (1000, "RGB"),
        share=0.02,
        seconds=60,
        mib=MIB,
    ),
    Target(
        "images/boxes",
        st.tuples(START, START, END, END),
        _read_boxes,
        (1.0, 1.0, 9.0, 9.0),
        share=1,
    ),
]
