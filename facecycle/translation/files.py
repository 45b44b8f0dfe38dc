"""Translation: photographs to neutral, frontalised, mean and re-expressed faces, on sheets and in a gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from facecycle.atomic import write_text
from facecycle.data.folders import walk
from facecycle.data.images import Crop, printable, read_square_array, reason
from facecycle.errors import DataError
from facecycle.pictures import contact_sheet, drawn, to_pil, write_png
from facecycle.runtimes.base import Runtime

BATCH = 32
"""Images that are read before they are translated, each with its driver where there is one; rows of a sheet too."""
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


def expand(inputs: Sequence[Path], say: Callable[[str], None]) -> list[Path]:
    """Replace folders by the images below them, in natural order, and say what is passed over in them.

    Raises:
        DataError: a path that does not exist, or a folder without images.
    """
    paths: list[Path] = []
    for path in inputs:
        if not path.exists():
            raise DataError(f"there is no file or folder {path}")
        if not path.is_dir():
            paths.append(path)
            continue
        tree = walk(path)
        found = tree.paths()
        if not found:
            raise DataError(f"the folder {path} holds no images", hint=tree.left_out() or None)
        if tree.passed_over:
            say(f"{path}: {tree.left_out()}")
        paths.extend(found)
    return paths


def translate_files(
    runtime: Runtime,
    paths: Sequence[Path],
    out: Path,
    *,
    driver: Path | None = None,
    crop: Crop | None = None,
    seed: int = 0,
) -> Translation:
    """Translate images and write every panel as a PNG of the training size, and contact sheets.

    Args:
        runtime: the weights, ready to compute.
        paths: image files.
        out: folder to write to; created when missing.
        driver: an image to swap expression and identity with, both ways.
        crop: the square of interest in every input; None takes the centre.
        seed: of the generator's noise; one seed gives the same pictures again.

    Raises:
        DataError: nothing could be read, or the driver could not.
    """
    size = runtime.size
    other = read_square_array(driver, size) if driver is not None else None
    wanted = dict.fromkeys(SINGLE if driver is None else (*SINGLE, *FIGURE))
    shown = [p for p in wanted if p == "input" or p in runtime.panels]
    result = Translation(missing=tuple(p for p in wanted if p not in shown))
    columns = [p for p in (SINGLE if driver is None else FIGURE) if p in shown]
    names = _unique_names([*([driver] if driver is not None else []), *paths])
    driver_name = names.pop(0) if driver is not None else ""
    many = len(paths) > 1
    faces: list[tuple[str, list[tuple[str, str]]]] = []
    for batch in _batches(list(zip(names, paths, strict=True)), size, crop, result.skipped):
        labels, panels = _translated(runtime, batch, driver_name, other, shown, seed)
        for row, label in enumerate(labels):
            # The input, as the networks saw it, is for the gallery alone.
            written = {p: out / f"{label}-{p}.png" for p in shown if p != "input" or many}
            for panel, path in written.items():
                write_png(path, to_pil(panels[panel][row]))
            result.pictures += [path for panel, path in written.items() if panel != "input"]
            faces.append((label, [(panel.replace("_", " "), path.name) for panel, path in written.items()]))
        for rows in np.array_split(np.arange(len(labels)), range(BATCH, len(labels), BATCH)):
            sheet = out / f"contact_sheet{f'-{len(result.sheets) + 1}' if result.sheets else ''}.png"
            write_png(sheet, contact_sheet([(c, panels[c][rows]) for c in columns], [labels[row] for row in rows]))
            result.sheets.append(sheet)
    if not result.sheets:
        name, reason = next(iter(result.skipped.items()))
        raise DataError(f"none of the images could be read; {name}: {reason}")
    if many:
        from facecycle.pages import fill

        result.gallery = out / "index.html"
        page = fill(
            "gallery.html.jinja",
            title=f"{out.name}: {len(faces)} translations",
            checkpoint=runtime.origin,
            seed=seed,
            size=size,
            faces=faces,
            skipped=list(result.skipped.items()),
        )
        write_text(result.gallery, page)
    return result


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """Name each image by its stem, with a number where a stem comes again."""
    names: dict[str, None] = {}
    for path in paths:
        stem = _file_name(path.stem)
        name, number = stem, 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names[name] = None
    return list(names)


def _file_name(stem: str) -> str:
    """Return a picture's stem as part of a file's name: without what cannot be printed, and cut to leave room."""
    shown = "".join(c if c.isprintable() and c != "\\" else "_" for c in printable(Path(stem)))
    return shown.encode()[:LONGEST].decode(errors="ignore")


def _batches(
    named: Sequence[tuple[str, Path]], size: int, crop: Crop | None, skipped: dict[str, str]
) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of names and uint8 RGB (3, size, size), leaving out what cannot be read."""
    batch: dict[str, np.ndarray] = {}
    for name, path in named:
        try:
            batch[name] = read_square_array(path, size, crop)
        except DataError as error:
            if len(named) == 1:
                raise
            skipped[printable(path)] = reason(path, error)
        if len(batch) == BATCH:
            yield batch
            batch = {}
    if batch:
        yield batch


def _translated(
    runtime: Runtime,
    batch: dict[str, np.ndarray],
    driver_name: str,
    driver: np.ndarray | None,
    names: Sequence[str],
    seed: int,
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return labels and pictures of a batch; with a driver, its own row follows that of the image it is paired with."""
    labels, pixels, drivers = list(batch), np.stack(list(batch.values())), None
    if driver is not None:
        labels = [label for name in batch for label in (f"{name}+{driver_name}", f"{driver_name}+{name}")]
        others = np.broadcast_to(driver, pixels.shape)
        pixels, drivers = (
            np.stack(pair, 1).reshape(-1, *driver.shape) for pair in ((pixels, others), (others, pixels))
        )
    panels = runtime.translate(pixels, drivers, seed, [name for name in names if name != "input"])
    return labels, {"input": pixels, **{name: drawn(name, panel, runtime.size) for name, panel in panels.items()}}
