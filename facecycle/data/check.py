"""A look at a data set: its counts against the published ones, and a sheet of labelled samples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import ImageDraw
from scipy.spatial.transform import Rotation
from torch import Tensor

from facecycle.api import Dataset, Labelled, Task, Verification
from facecycle.data.frames import passed_over
from facecycle.data.joined import described, read_images
from facecycle.errors import NotOffered
from facecycle.pictures import captioned_sheet, to_pil, write_picture
from facecycle.seeds import seeded

SAMPLES = 24
CELL = 128


def check_data(dataset: Dataset, sheet: Path) -> tuple[list[str], dict[str, str]]:
    """Count what a data set holds, read a few samples, and draw them with their labels.

    Returns:
        What was found, as lines, and those of the samples that cannot be read, with the reason.

    Raises:
        MalformedError: names every malformed row.
        DataError: it holds neither labels nor tracks.
        RunError: the sheet cannot be written.
    """
    for task in get_args(Task):
        try:
            labels = dataset.labelled(task)
        except NotOffered:
            continue
        lines = _describe(task, labels)
        frames, captions, poses = _pairs(labels) if isinstance(labels, Verification) else _labelled(labels)
        break
    else:
        lines, frames, captions, poses = *_tracks(dataset), None
    lines += passed_over([dataset])
    pixels, problems = read_images(dataset, frames, CELL)
    if poses is not None:
        order = labels.convention if isinstance(labels, Labelled) else ""
        drawn = [_with_axes(image, pose, order or "xyz") for image, pose in zip(pixels, poses, strict=True)]
        pixels = torch.stack(drawn)
        lines.append("sheet: pitch yaw roll in degrees; red: to the face's left, green: down, blue: where it looks")
    write_picture(sheet, captioned_sheet(pixels, captions))
    return lines, {bad.name: bad.reason for bad in problems if bad is not None}


def _describe(task: Task, labels: Labelled | Verification) -> list[str]:
    if isinstance(labels, Verification):
        found = f"verify: {len(labels.same):,} pairs, {int(labels.same.sum()):,} of one person"
    elif task == "emotion":
        counted = Counter(labels.targets.tolist())
        classes = ", ".join(f"{name} {counted[number]:,}" for number, name in enumerate(labels.classes))
        found = f"emotion: {len(labels.frames):,} images: {classes}"
    else:
        ends = zip(("pitch", "yaw", "roll"), labels.targets.min(axis=0), labels.targets.max(axis=0), strict=True)
        ranges = ", ".join(f"{angle} {low:.0f} to {high:.0f}" for angle, low, high in ends)
        found = f"pose: {len(labels.frames):,} images, degrees: {ranges}"
    folds = sorted(Counter(labels.folds.tolist()).items())
    split = ", ".join(f"{'training only' if fold < 0 else f'fold {fold}'} {n:,}" for fold, n in folds)
    return [found, f"split: {split}", *labels.coverage(), *([f"note: {labels.note}"] if labels.note else [])]


def _choose(count: int) -> list[int]:
    """Return some places out of `count`, the same ones every time, in order."""
    return sorted(torch.randperm(count, generator=seeded("samples", 0))[:SAMPLES].tolist())


def _labelled(labels: Labelled) -> tuple[list[int], list[str], np.ndarray | None]:
    """Return frames, their captions, and poses where the labels are poses."""
    chosen = _choose(len(labels.frames))
    frames, targets = labels.frames[chosen].tolist(), labels.targets[chosen]
    if labels.classes:
        return frames, [labels.classes[target] for target in targets], None
    return frames, ["{:.0f} {:.0f} {:.0f}".format(*pose) for pose in targets], targets


def _pairs(pairs: Verification) -> tuple[list[int], list[str], None]:
    chosen = _choose(len(pairs.same))[: SAMPLES // 2]
    frames = np.c_[pairs.first[chosen], pairs.second[chosen]].ravel().tolist()
    return frames, [text for same in pairs.same[chosen] for text in ("same" if same else "different", "")], None


def _tracks(dataset: Dataset) -> tuple[list[str], list[int], list[str]]:
    tracks = dataset.tracks()
    named = [(frame, track.name) for track in tracks for frame in track.frames]
    chosen = [named[place] for place in _choose(len(named))]
    return [described(tracks)], [frame for frame, _ in chosen], [name for _, name in chosen]


def axes_of(pose: np.ndarray, order: str = "xyz") -> np.ndarray:
    """Return, in the picture's (x, y), the face's own axes for a pose: to its left, down, and forward (3, 2).

    Pitch, yaw, roll are in degrees, of a rotation taken apart in this order (`Labelled.convention`). Positive pitch
    looks up, positive yaw to the left of the picture, positive roll tilts clockwise. Source: the drawing convention of
    Hopenet (Ruiz et al. 2018), for xyz.
    """
    turns = {"x": -pose[0], "y": pose[1], "z": pose[2]}
    rotation = Rotation.from_euler(order.upper(), [turns[axis] for axis in order], degrees=True).as_matrix()
    return (rotation * [1, 1, -1])[:2].T  # z leads away from the viewer, and the face looks at him


def _with_axes(pixels: Tensor, pose: np.ndarray, order: str) -> Tensor:
    """Draw the axes of a pose from the middle of an image (3, S, S)."""
    image = to_pil(pixels)
    draw = ImageDraw.Draw(image)
    middle = image.width / 2
    for axis, colour in zip(axes_of(pose, order), ((255, 0, 0), (0, 200, 0), (60, 60, 255)), strict=True):
        x, y = middle + 0.4 * image.width * axis
        draw.line((middle, middle, x, y), fill=colour, width=3)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
