"""Translation: photographs to the same with frontal or re-expressed faces, and their panels, sheets and a gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from facecycle.atomic import check_out, write_text
from facecycle.data.folders import formats_read, walk
from facecycle.data.images import Crop, printable, reason
from facecycle.errors import ConfigError, DataError
from facecycle.faces.detection import DEFAULT
from facecycle.faces.motion import check_motion
from facecycle.pictures import contact_sheet, fitted, to_pil, write_picture
from facecycle.runtimes.base import Runtime
from facecycle.translation.photographs import ALL, FoundFace, find_driver, find_faces, finder, read_photograph
from facecycle.translation.rows import (
    FLOW,
    FRONTAL,
    INPUT,
    PASTED,
    PHOTOGRAPH,
    REEXPRESSED,
    Pictures,
    Row,
    names_of,
    pictures_of,
    planes,
    refuse_strengths,
)

BATCH = 32
"""Faces that are found before they are translated, each with its driver where there is one; rows of a sheet too."""
PIXELS = 50_000_000
"""Pixels of photographs beyond which no further one is read before those are done."""
LONGEST = 90
"""Bytes of a picture's name in the names of what is made of it; two of them and a panel's make one, of 255 at most."""
PREVIEW = 640
"""Longest side, in pixels, of the photographs that a gallery shows."""
SIDES = {"png": 2**31, "jpg": 65_535, "webp": 16_383}
"""Longest side, in pixels, that a format allows."""
CELL = 160
"""Side of a sheet's cells, in pixels."""
WHOLE = (PHOTOGRAPH, PASTED)
"""Pictures that all faces of a photograph share."""


@dataclass(frozen=True)
class Wanted:
    """What is made of photographs, and how it is written.

    Attributes:
        detector: name of what finds the faces.
        crop: where the face is in every photograph, instead of a detector; the driver's is found all the same.
        face: number of the face of each photograph, from 1 for the largest, or `all`.
        strength: factor of the motion, from 0, which leaves every pixel as it is, to 1.5.
        strengths: others to draw a sheet of.
        suffix: `png`, `jpg` or `webp`, the format of what has the photograph's resolution.
        quality: of `jpg` and `webp`, from 1 to 100.
        seed: of the generator's noise; one seed gives the same pictures again.
    """

    detector: str = DEFAULT
    crop: Crop | None = None
    face: int | str = 1
    strength: float = 1.0
    strengths: Sequence[float] = ()
    suffix: str = "png"
    quality: int = 95
    seed: int = 0


@dataclass
class Translation:
    """What was written.

    Attributes:
        gallery: a page of all faces, where more than one was translated.
        sheets: contact sheets, and one of strengths where several were asked for.
        pictures: single pictures.
        faces: how many faces were found in each photograph.
        doubts: of faces, by name, in words.
        skipped: images that could not be read or show no face, with the reason.
        missing: panels left out, because the checkpoint did not train their cycle.
    """

    gallery: Path | None = None
    sheets: list[Path] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    faces: dict[str, int] = field(default_factory=dict)
    doubts: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def expand(inputs: Sequence[Path], say: Callable[[str], None], videos: str, out: Path | None = None) -> list[Path]:
    """Replace folders by the images below them, in natural order, and say what is passed over in them.

    Args:
        inputs: image files and folders.
        say: told what is passed over.
        videos: what to do with the videos that a folder holds, as a sentence.
        out: the folder that pictures are written to. What an earlier call wrote there is no image to read.

    Raises:
        DataError: a path that does not exist, or a folder without images.
        ConfigError: `out` is one of the folders.
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
        if out is not None and (made := out.resolve()).is_relative_to(path.resolve()):
            if made == path.resolve():
                raise ConfigError(f"--out {out} is the folder whose images are read", hint="Choose another folder.")
            images = [each for each in found if not each.resolve().is_relative_to(made)]
            if len(images) < len(found):
                say(f"{path}: passed over {out}, where pictures are written")
            found = images
        left_out = f"{tree.left_out()}. {videos}" if tree.videos else tree.left_out()
        if not found:
            raise DataError(f"the folder {path} holds no images", hint=left_out or formats_read())
        if left_out:
            say(f"{path}: {left_out}")
        paths.extend(found)
    return paths


def translate_files(
    runtime: Runtime, paths: Sequence[Path], out: Path, wanted: Wanted = Wanted(), driver: Path | None = None
) -> Translation:
    """Translate the faces of photographs, and write every picture, contact sheets, and a gallery of several.

    Args:
        runtime: the weights, ready to compute.
        paths: image files.
        out: folder to write to; created when missing.
        wanted: what is made.
        driver: a photograph whose largest face swaps expression and identity with every face, both ways.

    Raises:
        DataError: nothing could be read, no face was found, or none in the driver.
        ConfigError: a strength is not from 0 to 1.5 or changes nothing, or `out` is a file.
    """
    for strength in (wanted.strength, *wanted.strengths):
        check_motion((), strength)
    check_out(out, folder=True)
    labels = _unique_names([*([driver] if driver is not None else []), *paths])
    names, missing = names_of(runtime, driver is not None)
    refuse_strengths(runtime, names, (wanted.strength, *wanted.strengths))
    other = None
    if driver is not None:
        other = labels.pop(0), find_driver(driver, wanted.detector, runtime.size)
    writer = _Writer(out, wanted, names, Translation(missing=missing), len(paths) > 1 or wanted.face == ALL)
    for faces in _batches(runtime, list(zip(labels, paths, strict=True)), wanted, writer.result):
        writer.write(pictures_of(runtime, _rows(faces, other), names, wanted.strength, wanted.seed))
    if not writer.result.sheets:
        name, why = next(iter(writer.result.skipped.items()))
        raise DataError(f"none of the images could be translated; {name}: {why}")
    writer.finish(runtime)
    return writer.result


def _batches(
    runtime: Runtime, named: Sequence[tuple[str, Path]], wanted: Wanted, result: Translation
) -> Iterator[list[tuple[str, str, FoundFace]]]:
    """Yield faces with their names and their photographs', leaving out what cannot be read or shows none."""
    batch: list[tuple[str, str, FoundFace]] = []
    pixels, detector = 0, finder(wanted.detector, wanted.crop)
    for name, path in named:
        try:
            photograph = read_photograph(path)
            if max(photograph.pixels.shape) > SIDES[wanted.suffix]:
                what = f"a .{wanted.suffix} has {SIDES[wanted.suffix]:,} pixels to a side at most"
                raise DataError(f"{printable(path)}: {what}", hint="Take --format png.")
            found = find_faces(photograph, detector, wanted.face, runtime.size)
        except DataError as error:
            if len(named) == 1:
                raise
            result.skipped[printable(path)] = reason(path, error)
            continue
        result.faces[printable(path)] = found[0].count
        pixels += found[0].photograph.pixels.size // 3
        for face in found:
            label = f"{name}-face{face.number}" if len(found) > 1 or face.number > 1 else name
            if face.doubts:
                result.doubts[f"{printable(path)}, face {face.number}"] = face.doubts
            batch.append((label, name, face))
        if len(batch) >= BATCH or pixels > PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _rows(faces: Sequence[tuple[str, str, FoundFace]], other: tuple[str, FoundFace] | None) -> list[Row]:
    """Return a row for each face; with a driver, the driver's own row follows that of the face it is paired with."""
    if other is None:
        return [Row(label, whole, face) for label, whole, face in faces]
    name, driver = other
    rows = []
    for label, whole, face in faces:
        rows.append(Row(f"{label}+{name}", f"{whole}+{name}", face, driver))
        rows.append(Row(f"{name}+{label}", f"{name}+{label}", driver, face))
    return rows


class _Writer:
    """Writes the pictures of rows as they come, and remembers what its sheets and its gallery show."""

    def __init__(self, out: Path, wanted: Wanted, names: Sequence[str], result: Translation, many: bool) -> None:
        self.out, self.wanted, self.names, self.result, self.many = out, wanted, names, result, many
        self._paths: set[Path] = set()
        self._gallery: list[tuple[str, list[tuple[str, str]]]] = []
        self._strengths: list[tuple[str, list[np.ndarray]]] = []

    def write(self, made: Iterator[Pictures]) -> None:
        """Write single pictures as they come, and a sheet of every `BATCH` rows."""
        cells: dict[tuple[str, str], np.ndarray] = {}
        while part := [self._written(each, cells) for each in islice(made, BATCH)]:
            labels, rows = zip(*part, strict=True)
            columns = [(name, [row[name] for row in rows]) for name in rows[0]]
            self._write_sheet("contact_sheet", contact_sheet(columns, labels, CELL))

    def _written(self, each: Pictures, cells: dict[tuple[str, str], np.ndarray]) -> tuple[str, dict[str, np.ndarray]]:
        """Write the pictures of a row; return its label and its cells of a sheet.

        Args:
            each: the row's pictures.
            cells: of the whole photographs that were shown already, to which this row's are added.
        """
        self._write_row(each)
        shown = {}
        for name, pixels in each.by_name.items():
            if name == FLOW and REEXPRESSED in self.names:
                continue  # with a driver there is no room for flows
            if name not in WHOLE:
                shown[name] = _cell(pixels)
                continue
            if (key := (name, each.row.whole)) not in cells:
                cells[key] = _cell(pixels)
            shown[name] = cells[key]
        return each.row.label, shown

    def _write_row(self, each: Pictures) -> None:
        row, shown = each.row, []
        for name, pixels in each.by_name.items():
            if name in (PHOTOGRAPH, INPUT) and not self.many:
                continue  # as it came; a gallery shows it beside what was made of it
            suffix, more = "png", {}
            if name in (PASTED, FRONTAL, REEXPRESSED) and each.motion is not None:
                suffix, more = self.wanted.suffix, row.face.photograph.metadata
            path = self.out / f"{row.whole if name in WHOLE else row.label}-{name}.{suffix}"
            if path not in self._paths:  # several faces share a photograph
                self._paths.add(path)
                picture = to_pil(pixels)
                if name == PHOTOGRAPH:
                    picture.thumbnail((PREVIEW, PREVIEW))
                write_picture(path, picture, self.wanted.quality, more)
                if name not in (PHOTOGRAPH, INPUT):
                    self.result.pictures.append(path)
            shown.append((name.replace("_", " "), path.name))
        self._gallery.append((row.label, shown))
        if each.motion is not None and self.wanted.strengths:
            strengths = [planes(each.motion.cut_out(strength)) for strength in self.wanted.strengths]
            self._strengths.append((row.label, [_cell(picture) for picture in strengths]))

    def _write_sheet(self, name: str, sheet: Image.Image) -> None:
        number = sum(path.name.startswith(name) for path in self.result.sheets)
        path = self.out / f"{name}{f'-{number + 1}' if number else ''}.png"
        write_picture(path, sheet)
        self.result.sheets.append(path)

    def finish(self, runtime: Runtime) -> None:
        """Write the sheet of strengths, and the gallery of several faces."""
        for start in range(0, len(self._strengths), BATCH):
            labels, pictures = zip(*self._strengths[start : start + BATCH], strict=True)
            titles = [f"strength {strength:g}" for strength in self.wanted.strengths]
            cells = list(zip(titles, zip(*pictures, strict=True), strict=True))
            self._write_sheet("strengths", contact_sheet(cells, labels, CELL))
        if not self.many:
            return
        from facecycle.pages import fill

        self.result.gallery = self.out / "index.html"
        page = fill(
            "gallery.html.jinja",
            title=f"{self.out.name}: {len(self._gallery)} translations",
            checkpoint=runtime.origin,
            seed=self.wanted.seed,
            size=CELL,
            faces=self._gallery,
            skipped=list(self.result.skipped.items()),
        )
        write_text(self.result.gallery, page)


def _cell(pixels: np.ndarray) -> np.ndarray:
    """Fit RGB (3, H, W) into a sheet's cell, because sheets are drawn when several rows are done."""
    return planes(np.asarray(fitted(pixels, CELL)))


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
