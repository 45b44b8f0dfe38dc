"""Translation: photographs to neutral, frontalised, mean and re-expressed faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from facecycle.atomic import write_text
from facecycle.data.images import Crop, from_uint8, list_images, printable, read_square, reason
from facecycle.errors import DataError
from facecycle.networks import Loaded, choose_device, origin
from facecycle.pages import fill
from facecycle.pictures import contact_sheet, panel_pixels, to_pil, write_png
from facecycle.seeds import seeded

BATCH = 32
SHEET_ROWS = 32
LONGEST = 90
"""Bytes of a picture's name in the names of what is made of it; two of them and a panel's make one, of 255 at most."""
FIGURE = ("input", "frontal", "neutral", "mean_face", "expression_swap", "identity_swap")
"""The panels of a pair of faces; two rows of these six are the paper's figure."""
SINGLE = ("input", "frontal", "neutral", "mean_face", "flow")
"""The panels of a face alone."""


@dataclass
class Translation:
    """What was written.

    Attributes:
        gallery: a page of all faces, where more than one image was given.
        sheets: contact sheets.
        pictures: single panels.
        skipped: images that could not be read, with the reason.
        missing: panels left out, because the checkpoint did not train their cycle.
    """

    gallery: Path | None = None
    sheets: list[Path] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def expand(inputs: Sequence[Path]) -> list[Path]:
    """Replace folders by the images below them, in natural order.

    Raises:
        DataError: a path that does not exist, or a folder without images.
    """
    paths: list[Path] = []
    for path in inputs:
        found = list_images(path) if path.is_dir() else [path]
        if not path.exists():
            raise DataError(f"there is no file or folder {path}")
        if not found:
            raise DataError(f"the folder {path} holds no images")
        paths.extend(found)
    return paths


def translate(
    loaded: Loaded,
    paths: Sequence[Path],
    out: Path,
    *,
    driver: Path | None = None,
    crop: Crop | None = None,
    seed: int = 0,
) -> Translation:
    """Translate images and write every panel as a PNG of the training size, and contact sheets.

    Args:
        loaded: networks and their checkpoint.
        paths: image files.
        out: folder to write to; created when missing.
        driver: an image to swap expression and identity with, both ways.
        crop: the square of interest in every input; None takes the centre.
        seed: of the generator's noise; one seed gives the same pictures again.

    Raises:
        DataError: nothing could be read, or the driver could not.
    """
    size = loaded.checkpoint.config.size
    driver_pixels = read_square(driver, size) if driver is not None else None
    wanted = dict.fromkeys(SINGLE if driver is None else (*SINGLE, *FIGURE))
    made = loaded.method.panels_from
    drawn = [p for p in wanted if p == "input" or made.get(p) in loaded.checkpoint.trained]
    result = Translation(missing=tuple(p for p in wanted if p not in drawn))
    sheet = _Sheets(out, [p for p in (SINGLE if driver is None else FIGURE) if p in drawn], result.sheets)
    names = _unique_names([*([driver] if driver is not None else []), *paths])
    many = len(names) > 2 or (driver is None and len(names) > 1)
    faces: list[tuple[str, list[tuple[str, str]]]] = []
    driver_name = names.pop(0)[0] if driver is not None else ""
    for batch in _batches(names, size, crop, result.skipped):
        pixels = torch.stack([p for _, p in batch])
        panels = _panels(loaded, pixels, driver_pixels, drawn, seed)
        for row, (name, _) in enumerate(batch):
            shown = {name: row}
            if driver is not None:
                # The driver's own row follows that of the image it is paired with.
                shown = {f"{name}+{driver_name}": row, f"{driver_name}+{name}": row + len(batch)}
            for label, index in shown.items():
                images = {p: panels[p][index] for p in drawn}
                written = _write_panels(out, label, images, with_input=many)
                result.pictures += [path for panel, path in written.items() if panel != "input"]
                faces.append((label, [(panel.replace("_", " "), path.name) for panel, path in written.items()]))
                sheet.add(label, images)
    sheet.flush()
    if not result.sheets:
        name, reason = next(iter(result.skipped.items()))
        raise DataError(f"none of the images could be read; {name}: {reason}")
    if many:
        result.gallery = out / "index.html"
        page = fill(
            "gallery.html.jinja",
            title=f"{out.name}: {len(faces)} translations",
            checkpoint=origin(loaded.checkpoint),
            seed=seed,
            size=size,
            faces=faces,
            skipped=list(result.skipped.items()),
        )
        write_text(result.gallery, page)
    return result


def _unique_names(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Name each image by its stem, with a number where a stem comes again."""
    taken: set[str] = set()
    names = []
    for path in paths:
        stem = _file_name(path.stem)
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        names.append((name, path))
    return names


def _file_name(stem: str) -> str:
    """Return a picture's stem as part of a file's name: without what cannot be printed, and cut to leave room."""
    shown = "".join(c if c.isprintable() and c != "\\" else "_" for c in printable(Path(stem)))
    return shown.encode()[:LONGEST].decode(errors="ignore")


def _batches(
    names: Sequence[tuple[str, Path]], size: int, crop: Crop | None, skipped: dict[str, str]
) -> Iterator[list[tuple[str, Tensor]]]:
    """Yield batches of (name, uint8 RGB (3, size, size)), leaving out what cannot be read."""
    batch: list[tuple[str, Tensor]] = []
    for name, path in names:
        try:
            batch.append((name, read_square(path, size, crop)))
        except DataError as error:
            if len(names) == 1:
                raise
            skipped[printable(path)] = reason(path, error)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _panels(
    loaded: Loaded, pixels: Tensor, driver: Tensor | None, columns: Sequence[str], seed: int
) -> dict[str, Tensor]:
    """Map uint8 inputs (B, 3, S, S) to named uint8 pictures; with a driver 2B, its own rows last."""
    images = from_uint8(pixels)
    drivers = None
    if driver is not None:
        others = from_uint8(driver).expand_as(images)
        images, drivers = torch.cat([images, others]), torch.cat([others, images])
    panels = panels_of(loaded, images, drivers, seeded("translate", seed), columns)
    panels["input"] = images
    return {c: panel_pixels(c, panels[c], pixels.shape[-1]) for c in columns}


def panels_of(
    loaded: Loaded, images: Tensor, drivers: Tensor | None, noise: torch.Generator, panels: Sequence[str]
) -> dict[str, Tensor]:
    """Translate normalised images (B, 3, S, S) on the GPU where there is one; the panels come back from it."""
    device = choose_device()
    method = loaded.method.to(device)
    others = None if drivers is None else drivers.to(device)
    with torch.inference_mode():
        made = method.translate(images.to(device), others, noise, frozenset(panels))
    return {name: panel.cpu() for name, panel in made.items()}


def _write_panels(out: Path, label: str, images: dict[str, Tensor], with_input: bool) -> dict[str, Path]:
    """Write panels as PNG; returns each one's path. The input, as the networks saw it, is for the gallery alone."""
    paths = {}
    for panel, image in images.items():
        if panel != "input" or with_input:
            paths[panel] = out / f"{label}-{panel}.png"
            write_png(paths[panel], to_pil(image))
    return paths


class _Sheets:
    """Collects rows and writes a contact sheet whenever one is full."""

    def __init__(self, out: Path, columns: Sequence[str], written: list[Path]) -> None:
        self.out = out
        self.columns = columns
        self.written = written
        self.rows: list[tuple[str, dict[str, Tensor]]] = []

    def add(self, label: str, images: dict[str, Tensor]) -> None:
        self.rows.append((label, images))
        if len(self.rows) >= SHEET_ROWS:
            self.flush()

    def flush(self) -> None:
        if not self.rows:
            return
        number = f"-{len(self.written) + 1}" if self.written else ""
        path = self.out / f"contact_sheet{number}.png"
        columns = [(c, torch.stack([images[c] for _, images in self.rows])) for c in self.columns]
        write_png(path, contact_sheet(columns, [label for label, _ in self.rows]))
        self.written.append(path)
        self.rows = []
