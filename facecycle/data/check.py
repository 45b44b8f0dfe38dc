"""A look at a data set: its counts against the published ones, and a sheet of labelled samples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ImageDraw
from torch import Tensor

from facecycle.api import Dataset, Labelled, Task, Verification
from facecycle.data.labels.coverage import coverage
from facecycle.errors import NotOffered
from facecycle.pictures import captioned_sheet, enlarge, to_pil, write_png
from facecycle.seeds import seeded

SAMPLES = 24
CELL = 128
TASKS: tuple[Task, ...] = ("emotion", "pose", "verify")


@dataclass
class Checked:
    """What a look at a data set found: lines to print, the sheet's path, and frames that cannot be read."""

    lines: list[str]
    sheet: Path
    bad_frames: dict[str, str]


def check(dataset: Dataset, sheet: Path) -> Checked:
    """Count what a data set holds, read a few samples, and draw them with their labels.

    Raises:
        MalformedError: names every malformed row.
        DataError: it holds neither labels nor tracks.
    """
    lines: list[str] = []
    for task in TASKS:
        try:
            labels = dataset.labelled(task)
        except NotOffered:
            continue
        lines += _describe(task, labels)
        if isinstance(labels, Verification):
            return _draw_pairs(dataset, labels, lines, sheet)
        return _draw_labelled(dataset, labels, lines, sheet)
    tracks = dataset.tracks()
    frames = [frame for track in tracks for frame in track.frames]
    people = len({track.identity for track in tracks})
    lines.append(f"{len(tracks):,} tracks of {people:,} people, {len(frames):,} images")
    chosen = _choose(len(frames))
    named = {frame: track.name for track in tracks for frame in track.frames}
    picked = [frames[place] for place in chosen]
    pixels, bad = _read(dataset, picked)
    return _write(pixels, [named[frame] for frame in picked], lines, sheet, bad)


def _describe(task: Task, labels: Labelled | Verification) -> list[str]:
    lines = []
    if isinstance(labels, Verification):
        lines.append(f"verify: {len(labels.same):,} pairs, {int(labels.same.sum()):,} of one person")
    elif task == "emotion":
        counted = Counter(labels.targets.tolist())
        classes = ", ".join(f"{name} {counted[number]:,}" for number, name in enumerate(labels.classes))
        lines.append(f"emotion: {len(labels.frames):,} images: {classes}")
    else:
        low, high = labels.targets.min(axis=0), labels.targets.max(axis=0)
        ranges = ", ".join(
            f"{angle} {a:.0f} to {b:.0f}" for angle, a, b in zip(("pitch", "yaw", "roll"), low, high, strict=True)
        )
        lines.append(f"pose: {len(labels.frames):,} images, degrees: {ranges}")
    folds = Counter(labels.folds.tolist())
    split = ", ".join(f"{'training only' if fold < 0 else f'fold {fold}'} {n:,}" for fold, n in sorted(folds.items()))
    lines.append(f"split: {split}")
    lines += coverage(labels)
    return [*lines, f"note: {labels.note}"] if labels.note else lines


def _choose(count: int) -> list[int]:
    """Return some places out of `count`, the same ones every time, in order."""
    return sorted(torch.randperm(count, generator=seeded("samples", 0))[:SAMPLES].tolist())


def _read(dataset: Dataset, frames: list[int]) -> tuple[Tensor, dict[str, str]]:
    pixels, problems = dataset.images(frames, CELL)
    return pixels, {bad.name: bad.reason for bad in problems if bad is not None}


def _draw_labelled(dataset: Dataset, labels: Labelled, lines: list[str], sheet: Path) -> Checked:
    chosen = _choose(len(labels.frames))
    pixels, bad = _read(dataset, labels.frames[chosen].tolist())
    if labels.classes:
        captions = [labels.classes[target] for target in labels.targets[chosen]]
    else:
        poses = labels.targets[chosen]
        captions = ["{:.0f} {:.0f} {:.0f}".format(*pose) for pose in poses]
        pixels = torch.stack([_with_axes(image, pose) for image, pose in zip(pixels, poses, strict=True)])
        lines.append("sheet: pitch yaw roll in degrees; red: to the face's left, green: down, blue: where it looks")
    return _write(pixels, captions, lines, sheet, bad)


def _draw_pairs(dataset: Dataset, pairs: Verification, lines: list[str], sheet: Path) -> Checked:
    chosen = _choose(len(pairs.same))[: SAMPLES // 2]
    frames = np.c_[pairs.first[chosen], pairs.second[chosen]].ravel().tolist()
    pixels, bad = _read(dataset, frames)
    captions = [text for same in pairs.same[chosen] for text in ("same" if same else "different", "")]
    return _write(pixels, captions, lines, sheet, bad)


def _write(pixels: Tensor, captions: list[str], lines: list[str], sheet: Path, bad: dict[str, str]) -> Checked:
    write_png(sheet, captioned_sheet(enlarge(pixels, CELL), captions))
    return Checked(lines, sheet, bad)


def axes_of(pose: np.ndarray) -> np.ndarray:
    """Return, in the picture's (x, y), the face's own axes for a pose: to its left, down, and forward (3, 2).

    Source: the drawing convention of Hopenet (Ruiz et al. 2018): positive pitch looks up, positive yaw to
    the left of the picture, positive roll tilts clockwise.

    Args:
        pose: pitch, yaw, roll in degrees.
    """
    pitch, yaw, roll = np.radians(pose) * [1, -1, 1]
    sin, cos = np.sin, np.cos
    return np.array(
        [
            [cos(yaw) * cos(roll), cos(pitch) * sin(roll) + cos(roll) * sin(pitch) * sin(yaw)],
            [-cos(yaw) * sin(roll), cos(pitch) * cos(roll) - sin(pitch) * sin(yaw) * sin(roll)],
            [sin(yaw), -cos(yaw) * sin(pitch)],
        ]
    )


def _with_axes(pixels: Tensor, pose: np.ndarray) -> Tensor:
    """Draw the axes of a pose from the middle of an image (3, S, S)."""
    image = to_pil(pixels)
    draw = ImageDraw.Draw(image)
    middle = image.width / 2
    for axis, colour in zip(axes_of(pose), ((255, 0, 0), (0, 200, 0), (60, 60, 255)), strict=True):
        x, y = middle + 0.4 * image.width * axis
        draw.line((middle, middle, x, y), fill=colour, width=3)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
