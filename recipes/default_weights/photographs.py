"""What `translate` makes of photographs, as it was and as it is: python recipes/default_weights/photographs.py DATA.

It was: the middle square at 64 pixels, and the `frontal` panel of it. It is: the face found, aligned, and moved at the
photograph's own resolution. DATA holds `tracks` with `pose.csv`, of which fold 0 was not trained on, and `photos`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from make import HELD_OUT
from PIL import Image
from scipy.ndimage import laplace
from scipy.spatial.distance import pdist, squareform
from skimage.data import astronaut
from sklearn.metrics import roc_auc_score

from facecycle import registry
from facecycle.api import Dataset
from facecycle.checkpoints.places import SHIPPED
from facecycle.errors import NoFaceError
from facecycle.faces.crop import crop
from facecycle.faces.motion import fade, paste
from facecycle.faces.similarity import Similarity
from facecycle.probing.features import baseline_features, extract
from facecycle.probing.protocols.neutral import read_yaw
from facecycle.runtimes.base import Runtime
from facecycle.runtimes.by_onnx import OnnxRuntime
from facecycle.translation.photographs import FoundFace, Motion, find_faces, finder, read_photograph

FRAME = 96
"""Side of the frames, in pixels."""
APART = 15.0
"""Degrees of yaw by which two frames of a pair differ at least."""
BINS = (0, 15, 30, 45, 90)
RESAMPLES = 200


@dataclass(frozen=True)
class Way:
    """Faces one way: their crops as networks read them (n, 3, S, S), and how each moves."""

    faces: list[FoundFace]
    motions: list[Motion]
    frontal: np.ndarray


def made(runtime: Runtime, images: list[np.ndarray], detector: str) -> Way:
    """Find and translate one face of each image; where none is found, the middle square is taken."""
    faces = []
    for image in images:
        photograph = read_photograph(image)
        try:
            faces += find_faces(photograph, finder(detector), 1, runtime.size)
        except NoFaceError:
            faces += find_faces(photograph, finder("centre"), 1, runtime.size)
    panels = runtime.translate(np.stack([face.pixels for face in faces]), None, 0, ["flow", "frontal"])
    motions = [Motion(face, flow) for face, flow in zip(faces, panels["flow"], strict=True)]
    return Way(faces, motions, panels["frontal"])


def within(pictures: np.ndarray) -> np.ndarray:
    """Return the colours (n, p) within the face of aligned pictures (n, 3, S, S), in [0, 1]."""
    face = fade(Similarity(0.5, 0.5, 1).pixels(pictures.shape[-1])) > 0
    return pictures[:, :, face].reshape(len(pictures), -1) / 255.0


def same_person(pictures: np.ndarray, people: np.ndarray, tracks: np.ndarray, yaw: np.ndarray) -> str:
    """Return how well the L1 distance of frontal faces tells a track's face at two yaws from two people at two yaws."""
    alike = 1 - squareform(pdist(within(pictures), "cityblock"))
    first, second = np.triu_indices(len(people), 1)
    counted = (tracks[first] == tracks[second]) | (people[first] != people[second])
    counted &= abs(yaw[first] - yaw[second]) >= APART
    first, second = first[counted], second[counted]
    scores, same = alike[first, second], people[first] == people[second]
    numbers = np.unique(people, return_inverse=True)[1]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        weight = np.bincount(rng.integers(0, numbers.max() + 1, numbers.max() + 1), minlength=numbers.max() + 1)
        # A pair counts as often as both of its people are drawn; one person's own pairs, as often as that one is.
        one, other = weight[numbers[first]], weight[numbers[second]]
        drawn.append(roc_auc_score(same, scores, sample_weight=np.where(same, one, one * other)))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"AUC {roc_auc_score(same, scores):.3f} [{low:.3f}, {high:.3f}], {same.sum():,} pairs of one face"


def sharpness(picture: np.ndarray) -> float:
    """Return the variance of the Laplacian within the face of an aligned picture (S, S, 3)."""
    within = fade(Similarity(0.5, 0.5, 1).pixels(len(picture))) > 0
    return float(laplace(picture.mean(axis=2))[within].var())


def sharp(old: Way, new: Way) -> tuple[list[float], list[float]]:
    """Return the sharpness of frontal faces as a share of their photograph's, the old way enlarged to its size."""
    before, after = [], []
    for face, motion, whole, panel in zip(new.faces, new.motions, old.faces, old.frontal, strict=True):
        still = sharpness(motion.cut_out(0))
        after.append(sharpness(motion.cut_out(1)) / still)
        square = Image.fromarray(panel.transpose(1, 2, 0))
        large = np.asarray(square.resize((round(whole.similarity.side),) * 2, Image.Resampling.BICUBIC))
        corner = whole.similarity.corners()[0]
        there = Similarity(face.similarity.x - corner[0], face.similarity.y - corner[1], face.similarity.side)
        before.append(sharpness(crop(large, there, max(1, round(there.side)))) / still)
    return before, after


def changed_outside(way: Way) -> int:
    """Return how many pixels outside of faces differ after pasting."""
    count = 0
    for motion in way.motions:
        photograph, place = motion.face.photograph.pixels, motion.face.similarity
        pasted = paste(photograph, place, motion.flows)
        y, x = np.mgrid[: photograph.shape[0], : photograph.shape[1]] + 0.5
        outside = fade(place.to_crop(np.stack([x, y], -1))) == 0
        count += int((photograph != pasted).any(axis=2)[outside].sum())
    return count


def left_of_yaw(known: np.ndarray, yaw: np.ndarray, shown: np.ndarray, true: np.ndarray) -> str:
    """Read the yaw of frontal faces from HoG, after learning it from others' inputs; mean size by the input's yaw."""
    hog = baseline_features()[0]
    features = [extract([hog], torch.from_numpy(pixels))[0].numpy() for pixels in (known, shown)]
    (found,) = read_yaw(features[0], yaw, features[1])
    parts = []
    for low, high in pairwise(BINS):
        inside = (abs(true) >= low) & (abs(true) < high)
        parts.append(f"{low}-{high}: {abs(true[inside]).mean():.1f} to {abs(found[inside]).mean():.1f}")
    return ", ".join(parts)


def main() -> None:
    """Print every measure, the old way and the new."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    data = Path(sys.argv[1])
    runtime = OnnxRuntime(SHIPPED)
    frames: Dataset = registry.build("dataset", "pose-csv", {"path": data / "tracks" / "pose.csv"})
    labels = frames.labelled("pose")
    pixels = frames.images(labels.frames.tolist(), FRAME)[0].permute(0, 2, 3, 1).numpy()
    yaw, held = labels.targets[:, 1], labels.folds == HELD_OUT
    tracks = np.array([str(Path(frames.name(frame)).parent) for frame in labels.frames.tolist()])
    images = list(pixels)
    old, new = (made(runtime, images, detector) for detector in ("centre", "yunet"))
    # The old way's faces lie where those of the frames lie on average.
    found = [face.similarity for face in new.faces if not face.face.exact]
    print(f"frames: {len(images):,}, a face found in {len(found):,}; fold {HELD_OUT} has {held.sum():,}")
    x, y, side = np.mean([(each.x, each.y, each.side) for each in found], axis=0)
    place = Similarity(*(float(n) * runtime.size / FRAME for n in (x, y, side)))
    cut = np.stack([crop(panel.transpose(1, 2, 0), place, runtime.size) for panel in old.frontal]).transpose(0, 3, 1, 2)
    for name, pictures in (("was", cut), ("is", new.frontal)):
        found_alike = same_person(pictures[held], labels.groups[held], tracks[held], yaw[held])
        print(f"same face, {name}: {found_alike}", flush=True)
    for name, way in (("was", old), ("is", new)):
        inputs = np.stack([face.pixels for face in way.faces])
        said = left_of_yaw(inputs[~held], yaw[~held], way.frontal[held], yaw[held])
        print(f"mean size of the yaw, degrees, {name}: {said}", flush=True)
    photographs = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((data / "photos").glob("*.jpg"))]
    photographs.append(astronaut())
    before, after = (made(runtime, photographs, detector) for detector in ("centre", "yunet"))
    for name, ways in (("photographs", (before, after)), ("frames", (old, new))):
        shares = [np.median(each) for each in sharp(*ways)]
        print(f"sharpness of the frontal face, {name}, share of the input's: was {shares[0]:.2f}, is {shares[1]:.2f}")
    print(f"pixels changed outside of faces: {changed_outside(after)} of photographs, {changed_outside(new)} of frames")


if __name__ == "__main__":
    main()
