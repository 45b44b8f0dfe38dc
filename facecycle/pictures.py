"""Images to a method's panels as pictures, and pictures to labelled sheets and PNG files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from facecycle.atomic import write_atomically
from facecycle.data.images import from_uint8, to_uint8

BACKGROUND = 255
GAP = 4
COLUMNS = 8
"""Of a sheet of samples."""
BATCH = 64
"""Faces that are translated at a time."""


def _one_line(text: str) -> str:
    """Return text that can be drawn on one line: a file's name may hold line ends and other controls."""
    return "".join(c if c.isprintable() else "?" for c in text)


def panels_of(
    method: Any, pixels: Tensor, drivers: Tensor | None, noise: torch.Generator | None, names: Iterable[str]
) -> dict[str, Tensor]:
    """Make a method's panels of images, where its weights lie, in batches that fit.

    Args:
        method: in evaluation mode.
        pixels: uint8 RGB images (n, 3, S, S).
        drivers: as many images to swap with, or none.
        noise: source of the generator's noise; it goes on from batch to batch.
        names: of the panels; see the method's `panels_from`.

    Returns:
        Panel to uint8 RGB pictures (n, 3, S, S) on the CPU, `flow` among them as colours.
    """
    wanted, size = frozenset(names), pixels.shape[-1]
    device = next(method.parameters()).device
    parts: dict[str, list[Tensor]] = {}
    for rows in torch.arange(len(pixels)).split(BATCH):
        images, others = (None if x is None else from_uint8(x[rows]).to(device) for x in (pixels, drivers))
        with torch.inference_mode():
            made = method.translate(images, others, noise, wanted)
        for name, panel in made.items():
            parts.setdefault(name, []).append(panel_pixels(name, panel.cpu(), size))
    return {name: torch.cat(pictures) for name, pictures in parts.items()}


def panel_pixels(name: str, panel: Tensor, size: int) -> Tensor:
    """Turn a method's panel, an image or `flow`, into uint8 RGB (B, 3, size, size)."""
    return flow_pixels(panel, size) if name == "flow" else enlarge(to_uint8(panel), size)


def flow_pixels(flow: Tensor, size: int) -> Tensor:
    """Colour flows (B, 2, h, w) as uint8 RGB (B, 3, size, size): hue is direction, saturation is length.

    The longest arrow of each flow is fully saturated. Torchvision has such a function, and takes most of a second
    to import.
    """
    x, y = F.interpolate(flow.float(), size=(size, size), mode="bilinear", align_corners=True).unbind(1)
    length = torch.hypot(x, y)
    saturation = length / length.amax((1, 2), keepdim=True).clamp_min(1e-6)
    # From hue (in sixths of the circle) and saturation to RGB at full value.
    hue = torch.atan2(y, x) * (3 / math.pi)
    sixths = (hue[:, None] + torch.tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)) % 6
    rgb = 1 - saturation[:, None] * torch.minimum(sixths, 4 - sixths).clamp(0, 1)
    return (255 * rgb).round().to(torch.uint8)


def enlarge(pixels: Tensor, size: int) -> Tensor:
    """Resize uint8 (B, 3, h, w) to (B, 3, size, size), bicubic, for people to look at."""
    if pixels.shape[-1] == size:
        return pixels
    resized = F.interpolate(pixels.float(), size=(size, size), mode="bicubic", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def to_pil(pixels: Tensor) -> Image.Image:
    """Turn uint8 RGB (3, H, W) into a PIL image."""
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def write_png(path: Path, image: Image.Image) -> None:
    """Write a PNG so that a reader never finds half a file."""
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG"))


def contact_sheet(columns: Sequence[tuple[str, Tensor]], rows: Sequence[str] = (), cell: int = 128) -> Image.Image:
    """Lay out named columns of images as one labelled picture.

    Args:
        columns: (title, uint8 RGB (R, 3, h, w)), each with the same R.
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
        for row, image in enumerate(enlarge(pixels.cpu(), cell)):
            sheet.paste(to_pil(image), (left, int(header) + row * (cell + GAP)))
    for row, label in enumerate(rows):
        draw.text((GAP, int(header) + row * (cell + GAP) + cell // 2), label, fill=0, font=font, anchor="lm")
    return sheet


def captioned_sheet(pixels: Tensor, captions: Sequence[str]) -> Image.Image:
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
