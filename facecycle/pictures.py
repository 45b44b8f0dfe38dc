"""Images and flows as pictures for people: coloured, enlarged, on labelled sheets, and in PNG files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from facecycle.api import FLOW
from facecycle.atomic import write_atomically
from facecycle.data.images import to_uint8

if TYPE_CHECKING:
    from torch import Tensor

BACKGROUND = 255
GAP = 4
FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
COLUMNS = 8
"""Of a sheet of samples."""
Pixels = Any
"""RGB images, uint8 (n, 3, h, w) or one (3, h, w): an array, or a tensor on the CPU."""


def _one_line(text: str) -> str:
    """Return text that can be drawn on one line: a file's name may hold line ends and other controls."""
    return "".join(c if c.isprintable() else "?" for c in text)


def panel_array(name: str, panel: Tensor) -> np.ndarray:
    """Turn a method's panel into an array: RGB uint8 (n, 3, h, w), or `flow`, float32 (n, 2, h, w)."""
    return (panel.float() if name == FLOW else to_uint8(panel)).cpu().numpy()


def drawn(name: str, panel: np.ndarray, size: int) -> np.ndarray:
    """Turn a panel, images or `flow`, into what can be looked at: RGB uint8, a flow as (n, 3, size, size)."""
    return flow_colours(panel, size) if name == FLOW else panel


def flow_colours(flow: np.ndarray, size: int) -> np.ndarray:
    """Colour flows (n, 2, h, w) as RGB uint8 (n, 3, size, size): hue is direction, saturation is length.

    The longest arrow of each flow is fully saturated.
    """
    rows, columns = (_bilinear(side, size) for side in flow.shape[2:])
    x, y = np.moveaxis(rows @ flow.astype(np.float32) @ columns.T, 1, 0)
    length = np.hypot(x, y)
    saturation = length / length.max((1, 2), keepdims=True).clip(1e-6)
    # From hue (in sixths of the circle) and saturation to RGB at full value.
    hue = np.arctan2(y, x) * np.float32(3 / math.pi)
    sixths = (hue[:, None] + np.array([5, 3, 1], np.float32).reshape(1, 3, 1, 1)) % 6
    rgb = 1 - saturation[:, None] * np.minimum(sixths, 4 - sixths).clip(0, 1)
    return (255 * rgb).round().astype(np.uint8)


def _bilinear(side: int, size: int) -> np.ndarray:
    """Return the weights (size, side) that enlarge a line of numbers, from its first to its last."""
    places = np.linspace(0, side - 1, size, dtype=np.float32)[:, None]
    return (1 - abs(places - np.arange(side, dtype=np.float32))).clip(0)


def to_pil(pixels: Pixels) -> Image.Image:
    """Turn RGB uint8 (3, H, W) into a PIL image."""
    return Image.fromarray(np.ascontiguousarray(np.asarray(pixels).transpose(1, 2, 0)))


def fitted(pixels: Pixels, size: int) -> Image.Image:
    """Resize RGB uint8 (3, h, w) to fit into size x size, bicubic, for people to look at."""
    image = to_pil(pixels)
    if image.size == (size, size):
        return image
    return ImageOps.pad(image, (size, size), Image.Resampling.BICUBIC, color=(BACKGROUND,) * 3)


def write_picture(
    path: Path, image: Image.Image, quality: int = 95, metadata: Mapping[str, bytes] = MappingProxyType({})
) -> None:
    """Write a picture in the format of its suffix, so that a reader never finds half a file.

    Args:
        path: ends in `.png`, `.jpg` or `.webp`.
        image: the picture.
        quality: of what is not `.png`, from 1 to 100.
        metadata: `exif` and `icc_profile` to write beside the pixels.

    Raises:
        RunError: it cannot be written.
    """
    kind = FORMATS[path.suffix[1:]]
    write_atomically(path, lambda temporary: image.save(temporary, format=kind, quality=quality, **metadata))


def contact_sheet(
    columns: Sequence[tuple[str, Sequence[Pixels] | Pixels]], rows: Sequence[str] = (), cell: int = 128
) -> Image.Image:
    """Lay out named columns of images as one labelled picture.

    Args:
        columns: (title, R images, uint8 RGB (3, h, w) of any size), each with the same R.
        rows: R labels printed left of the rows; none leaves the margin out.
        cell: side of a cell in pixels.
    """
    rows = [_one_line(label) for label in rows]
    font = ImageFont.load_default(size=max(10, cell // 10))
    header = font.size * 2  # type: ignore[union-attr]
    margin = max((int(font.getlength(label)) for label in rows), default=-2 * GAP) + 2 * GAP
    count = len(columns[0][1])
    width = margin + len(columns) * (cell + GAP)
    sheet = Image.new("RGB", (width, int(header) + count * (cell + GAP)), (BACKGROUND,) * 3)
    draw = ImageDraw.Draw(sheet)
    for column, (title, pixels) in enumerate(columns):
        left = margin + column * (cell + GAP)
        draw.text((left + cell // 2, header // 2), title.replace("_", " "), fill=0, font=font, anchor="mm")
        for row, image in enumerate(pixels):
            sheet.paste(fitted(image, cell), (left, int(header) + row * (cell + GAP)))
    for row, label in enumerate(rows):
        draw.text((GAP, int(header) + row * (cell + GAP) + cell // 2), label, fill=0, font=font, anchor="lm")
    return sheet


def captioned_sheet(pixels: Pixels, captions: Sequence[str]) -> Image.Image:
    """Lay out uint8 RGB images (n, 3, S, S) in rows, each above its caption, cut to fit."""
    cell = pixels.shape[-1]
    font = ImageFont.load_default(size=12)
    height = cell + 20
    sheet = Image.new("RGB", (COLUMNS * (cell + GAP), -(-len(pixels) // COLUMNS) * height), (BACKGROUND,) * 3)
    draw = ImageDraw.Draw(sheet)
    for number, (image, caption) in enumerate(zip(pixels, captions, strict=True)):
        left, top = number % COLUMNS * (cell + GAP), number // COLUMNS * height
        sheet.paste(to_pil(image), (left, top))
        caption = _one_line(caption)
        while caption and draw.textlength(caption, font=font) > cell:
            caption = caption[1:]
        draw.text((left + cell // 2, top + cell + 9), caption, fill=0, font=font, anchor="mm")
    return sheet
