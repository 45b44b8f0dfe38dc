"""How detectors find and align faces in scenes, and the speed of `yunet` in onnxruntime against torch.

A scene is a photograph of scikit-image with one aligned face pasted into it, so the truth is where it was pasted:
python benchmarks/detection.py [FOLDER OF ALIGNED FACES] [--detector NAME], by default ../shared/data/stills. The table
has the first look of `yunet` beside `yunet`, or `yunet` beside the detector of that name.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
import torch
from common import Result, interleave, ratio
from facecycle_plugins.detectors.yunet import YuNet, YuNetOptions
from PIL import Image

from facecycle.api import Detector, Face
from facecycle.faces.crop import crop
from facecycle.faces.detection import named
from facecycle.faces.motion import fade
from facecycle.faces.sampling import sample
from facecycle.faces.similarity import Similarity, align

STILLS = Path(__file__).parents[1] / ".." / "shared" / "data" / "stills"
BACKGROUNDS = ("coffee", "rocket", "chelsea", "hubble_deep_field")
SCENES = 24
COLUMNS = (*((side, 0) for side in (40, 80, 160, 300)), *((160, roll) for roll in (-15, 30, -45, 90, 135, 180)))
"""Side of the aligned crop in a scene of 640 x 480 pixels, and its roll in degrees."""
CLOSE = 0.3
"""Mean distance of the crop's corners, in sides, within which a face counts as found."""


def scene(path: Path, number: int, side: float, roll: float) -> tuple[np.ndarray, Similarity]:
    """Return a photograph (480, 640, 3) with a face in it, and where its aligned crop lies."""
    rng = np.random.default_rng(number)
    background = getattr(skimage.data, BACKGROUNDS[number % len(BACKGROUNDS)])()[..., :3]
    canvas = np.array(Image.fromarray(background).resize((640, 480), Image.Resampling.BILINEAR))
    reach = min(0.75 * side, 239.0)
    where = Similarity(rng.uniform(reach, 640 - reach), rng.uniform(reach, 480 - reach), side, roll)
    face = np.asarray(Image.open(path).convert("RGB"))
    # A face that shrinks is shrunk before, so that it is pasted antialiased.
    face = crop(face, Similarity(face.shape[1] / 2, face.shape[0] / 2, len(face)), min(round(side), len(face)))
    points = where.to_crop(np.stack(np.meshgrid(np.arange(640) + 0.5, np.arange(480) + 0.5), -1))
    share = (3 * fade(0.5 + 1.2 * (points - 0.5))).clip(0, 1)[..., None]
    return (canvas + share * (sample(face, points * len(face)).astype(float) - canvas)).astype(np.uint8), where


def error(face: Face, where: Similarity) -> float:
    """Return the mean distance of the crop's corners from where they should be, in sides of the crop."""
    return float(np.hypot(*(align(face).corners() - where.corners()).T).mean() / where.side)


class FirstLook(YuNet):
    """YuNet with the landmarks of its first look, as it is published, which are not found again."""

    def _followed(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        return landmarks


def judge(detector: Detector, scenes: list[tuple[np.ndarray, Similarity]]) -> tuple[float, float, float, float]:
    """Return recall, other faces per scene, the median error of the faces that are found, and CPU milliseconds."""
    errors, false, started = [], 0, time.process_time()
    found = [detector.detect(image) for image, _ in scenes]
    taken = (time.process_time() - started) / len(scenes)
    for faces, (_, where) in zip(found, scenes, strict=True):
        near = [face for face in faces if np.hypot(align(face).x - where.x, align(face).y - where.y) < where.side / 2]
        false += len(faces) - len(near)
        errors.append(min((error(face, where) for face in near), default=np.inf))
    right = np.array(errors) < CLOSE
    seen = np.array(errors)[np.isfinite(errors)]
    return float(right.mean()), false / len(scenes), float(np.median(seen)) if len(seen) else np.nan, 1e3 * taken


def table(folder: Path, detectors: dict[str, Detector]) -> Iterator[str]:
    """Yield the table, a line per kind of scene and a column per detector."""
    paths = sorted(folder.iterdir())
    yield "recall: corners within 0.3 sides; false: other faces per scene; error: median of the corners, in sides"
    yield f"columns, each with its CPU milliseconds: {', '.join(detectors)}"
    for side, roll in COLUMNS:
        scenes = [scene(paths[197 * number % len(paths)], number, side, roll) for number in range(SCENES)]
        columns = [
            f"recall {recall:5.0%}  false {false:.2f}  error {median:.3f}  {taken:4.0f} ms"
            for recall, false, median, taken in (judge(detector, scenes) for detector in detectors.values())
        ]
        yield f"side {side:3}, roll {roll:4}:  {' | '.join(columns)}"


def measure(rounds: int = 7) -> list[Result]:
    """Return how much faster a photograph is looked at in onnxruntime than in torch, which must find the same."""
    torch.set_num_threads(1)
    image = skimage.data.astronaut()
    sides = {name: YuNet(YuNetOptions(runtime=name)) for name in ("torch", "onnx")}
    first, second = (detector.detect(image) for detector in sides.values())
    if len(first) != len(second) or any(
        not np.allclose(a.landmarks, b.landmarks, atol=0.05) for a, b in zip(first, second, strict=True)
    ):
        raise SystemExit("the runtimes find different faces")

    def taken(detector: YuNet) -> float:
        started = time.process_time()
        detector.detect(image)
        return time.process_time() - started

    seconds = interleave({name: (lambda d=each: taken(d)) for name, each in sides.items()}, rounds)
    return [ratio("detect a face, onnxruntime over torch, 1 thread", seconds["torch"], seconds["onnx"])]


def main() -> None:
    """Print the table, where there are faces, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=STILLS, help="a folder of aligned faces")
    parser.add_argument("--detector", help="the name of a detector that yunet is compared with")
    given = parser.parse_args()
    yunet = {"yunet": YuNet(YuNetOptions())}
    if given.detector is None:
        detectors = {"first look of yunet": FirstLook(YuNetOptions()), **yunet}
    else:
        detectors = {**yunet, given.detector: named(given.detector)}
    if given.folder.is_dir():
        for line in table(given.folder, detectors):
            print(line, flush=True)
    else:
        print(f"no scenes: there is no folder {given.folder}")
    for result in measure():
        print(result.line())


if __name__ == "__main__":
    main()
