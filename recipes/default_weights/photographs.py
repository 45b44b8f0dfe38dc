"""What `translate` makes of photographs, old against new: photographs.py DATA [CHECKPOINT], in recipes/default_weights.

The old way squeezed the middle square to what the networks read, and its frontal face stayed as small. The new one
finds and aligns the face, and moves it at full resolution. DATA holds `tracks` with `pose.csv`, whose fold 0 was not
trained on, and `photos`. Yaw is read by FaceMesh where REFEREES_PYTHON names a Python that has it; see referees.py.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from instruments import PYTHON, ask_referees, auc_of, has_referees
from make import HELD_OUT
from PIL import Image
from scipy.ndimage import laplace
from scipy.spatial.distance import pdist
from skimage.color import rgb2gray
from skimage.data import astronaut

from facecycle import registry
from facecycle.api import Dataset
from facecycle.errors import NoFaceError
from facecycle.faces.crop import crop, shrunk
from facecycle.faces.motion import MIDDLE, RADII
from facecycle.faces.similarity import Similarity
from facecycle.networks import load
from facecycle.runtimes.base import Runtime
from facecycle.runtimes.by_torch import TorchRuntime
from facecycle.translation.photographs import FoundFace, Motion, Photograph, find_faces, finder, read_photograph

INNER = 0.65
"""Share of the radii of `paste`'s ellipse that holds eyes, nose, mouth and chin, and hardly anything else."""
SIDE = 32
"""Side of aligned crops, in pixels, at which faces of different resolution are compared."""
OTHER_YAW = 15
"""Degrees by which two frames of a person differ at least."""
BINS = (0, 15, 30, 45, 90)
"""Degrees of an input's yaw, to either side, between which the referee's readings are averaged."""


@dataclass(frozen=True)
class Case:
    """A photograph, translated both ways.

    Attributes:
        face: the face, found and aligned.
        motion: how it moves, the new way.
        old: the photograph (H, W, 3) with the frontal panel of the old way, enlarged, in place of its middle square.
    """

    face: FoundFace
    motion: Motion
    old: np.ndarray

    def squares(self, where: Similarity | None = None) -> dict[str, np.ndarray]:
        """Return aligned crops (S, S, 3), at the photograph's resolution: its own, and the frontal face of either way.

        Args:
            where: the crop of the old way's face; None takes the photograph's.
        """
        own = self.face.similarity
        side = max(1, round(own.side))
        return {
            "photograph": crop(self.face.photograph.pixels, own, side),
            "old": crop(self.old, where or own, side),
            "new": self.motion.cut_out(1.0),
        }


def translated(runtime: Runtime, photographs: Sequence[Photograph]) -> dict[int, Case]:
    """Translate photographs both ways; return cases by the place of their photograph, but for those without a face."""
    new, old = {}, {}
    for place, photograph in enumerate(photographs):
        try:
            (new[place],) = find_faces(photograph, finder(), 1, runtime.size)
        except NoFaceError:
            continue
        (old[place],) = find_faces(photograph, finder("centre"), 1, runtime.size)
    flows = runtime.translate(np.stack([face.pixels for face in new.values()]), None, 0, ["flow"])["flow"]
    panels = runtime.translate(np.stack([face.pixels for face in old.values()]), None, 0, ["frontal"])["frontal"]
    cases = {}
    for (place, face), flow, panel in zip(new.items(), flows, panels, strict=True):
        left, top, width, height = map(int, old[place].face.box)
        whole = face.photograph.pixels.copy()
        enlarged = Image.fromarray(panel.transpose(1, 2, 0)).resize((width, height), Image.Resampling.BICUBIC)
        whole[top : top + height, left : left + width] = np.asarray(enlarged)
        cases[place] = Case(face, Motion(face, flow), whole)
    return cases


def radius(points: np.ndarray) -> np.ndarray:
    """Return how far points (..., 2) of an aligned crop are from the face's middle: 1 where `paste` ends."""
    return np.sqrt((((points - MIDDLE) / RADII) ** 2).sum(-1))


def inner(size: int) -> np.ndarray:
    """Return which pixels (size, size) of an aligned crop are of the face."""
    rows, columns = (np.mgrid[:size, :size] + 0.5) / size
    return radius(np.stack((columns, rows), -1)) < INNER


def same_person(cases: Sequence[Case], yaw: np.ndarray, people: np.ndarray, tracks: np.ndarray) -> Iterator[str]:
    """Tell a person at another yaw from other people by the pixels of the face.

    The old way's face is looked at where it lies on average, because nothing aligns it. Two faces are as near as their
    RGB pixels in the mean, as they are, or after the mean and deviation of each face are made the same.
    """
    lie = [case.face.similarity for case in cases]
    mean = Similarity(*(float(np.mean([getattr(each, name) for each in lie])) for name in ("x", "y", "side", "roll")))
    seen: dict[str, list[np.ndarray]] = {}
    for case in cases:
        for way, square in case.squares(mean).items():
            seen.setdefault(way, []).append(shrunk(square, SIDE)[inner(SIDE)].ravel().astype(float))
    first, second = np.triu_indices(len(cases), 1)
    same = people[first] == people[second]
    turned = same & (abs(yaw[first] - yaw[second]) >= OTHER_YAW)
    one_track = tracks[first] == tracks[second]
    for shown, positive in (("of the same video", turned & one_track), ("of another video", turned & ~one_track)):
        kept = positive | ~same
        pairs = people[first[kept]], people[second[kept]]
        count = len(set(pairs[0][positive[kept]]))
        yield f"{positive.sum()} pairs {shown}, of {count} people, against {(~same).sum()} of two people:"
        for kind in ("pixels", "normalised pixels"):
            found = []
            for way, faces in seen.items():
                pixels = np.array(faces)
                if kind != "pixels":
                    pixels = (pixels - pixels.mean(1, keepdims=True)) / pixels.std(1, keepdims=True)
                auc, low, high = auc_of(-pdist(pixels, "cityblock")[kept], positive[kept], *pairs)
                found.append(f"{way} {auc:.3f} ({low:.3f} to {high:.3f})")
            yield f"  AUC by {kind}: {', '.join(found)}"


def sharpness(case: Case) -> dict[str, float]:
    """Return the variance of the Laplacian inside frontal faces, as a share of the photograph's.

    Faces of either way are compared with the photograph's aligned crop, and the pasted one with the photograph itself.
    """
    found = {way: float(laplace(rgb2gray(face))[inner(len(face))].var()) for way, face in case.squares().items()}
    before = case.face.photograph.pixels
    rows, columns = np.mgrid[: before.shape[0], : before.shape[1]] + 0.5
    face = radius(case.face.similarity.to_crop(np.stack((columns, rows), -1))) < INNER
    pasted, whole = (float(laplace(rgb2gray(each))[face].var()) for each in (case.motion.put_back(before, 1.0), before))
    return {**{way: found[way] / found["photograph"] for way in ("old", "new")}, "pasted": pasted / whole}


def outside(case: Case) -> tuple[int, int]:
    """Return how many pixels the pasted picture changes outside the face's ellipse, and how many inside."""
    before = case.face.photograph.pixels
    changed = (case.motion.put_back(before, 1.0) != before).any(-1)
    rows, columns = np.mgrid[: before.shape[0], : before.shape[1]] + 0.5
    beyond = radius(case.face.similarity.to_crop(np.stack((columns, rows), -1))) >= 1
    return int((changed & beyond).sum()), int((changed & ~beyond).sum())


def left_yaw(cases: Sequence[Case], yaw: np.ndarray) -> Iterator[str]:
    """Measure how far from the front faces still look, by a referee that no checkpoint made."""
    if not has_referees():
        yield f"yaw of frontal faces: not measured, because {PYTHON} is not set; see referees.py"
        return
    ways: dict[str, list[np.ndarray]] = {}
    for case in cases:
        pasted = case.motion.put_back(case.face.photograph.pixels, 1.0)
        more = {"pasted": crop(pasted, case.face.similarity, max(1, round(case.face.similarity.side)))}
        for way, square in (case.squares() | more).items():
            ways.setdefault(way, []).append(square)
    bins = list(itertools.pairwise(BINS))
    places = [(abs(yaw) >= low) & (abs(yaw) < high) for low, high in bins]
    counts = ", ".join(f"{a} to {b} ({place.sum()})" for (a, b), place in zip(bins, places, strict=True))
    yield f"mean |yaw| by FaceMesh, degrees, of faces whose yaw is {counts}"
    for way, squares in ways.items():
        read = ask_referees(squares)["yaw"]
        seen = np.isfinite(read)
        means = ", ".join(f"{abs(read[place & seen]).mean():.1f}" for place in places)
        agrees = np.corrcoef(read[seen], yaw[seen])[0, 1]
        yield f"  {way}: {means} (sees {seen.mean():.1%}; against the photograph's yaw r = {agrees:.2f})"


def main() -> None:
    """Print every measure, a line each."""
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    root = Path(sys.argv[1])
    runtime = TorchRuntime(load(Path(sys.argv[2]) if len(sys.argv) > 2 else None))
    data: Dataset = registry.build("dataset", "pose-csv", {"path": root / "tracks" / "pose.csv"})
    labels = data.labelled("pose")
    held = np.flatnonzero(labels.folds == HELD_OUT)
    paths = [data.files.paths[frame] for frame in labels.frames[held].tolist()]
    named = {path.stem: read_photograph(path) for path in sorted((root / "photos").iterdir())}
    named["astronaut"] = Photograph("astronaut", astronaut(), {})
    found = translated(runtime, [*named.values(), *map(read_photograph, paths)])
    singles = {name: found.pop(place) for place, name in enumerate(named)}
    kept = np.array(list(found)) - len(named)
    frames, yaw = list(found.values()), labels.targets[held[kept], 1]
    print(f"{len(paths)} frames of fold {HELD_OUT}, a face found in {len(frames)}, and {', '.join(named)}", flush=True)

    tracks = np.array([str(paths[place].parent) for place in kept])
    people = np.array([paths[place].parent.parent.name for place in kept])
    for line in same_person(frames, yaw, people, tracks):
        print(line, flush=True)
    sharp = {name: sharpness(case) for name, case in singles.items()}
    of_frames = [sharpness(case) for case in frames]
    sharp["frames (median)"] = {way: float(np.median([each[way] for each in of_frames])) for way in of_frames[0]}
    for name, share in sharp.items():
        print(f"sharpness of {name}: {', '.join(f'{way} {each:.3f}' for way, each in share.items())}")
    beyond, within = np.sum([outside(case) for case in (*singles.values(), *frames)], axis=0)
    print(f"pixels changed in {len(singles) + len(frames)} pasted pictures: {beyond} outside the face, {within} inside")
    for line in left_yaw(frames, yaw):
        print(line, flush=True)


if __name__ == "__main__":
    main()
