"""What checkpoints do to faces they have not seen, side by side: measure.py DATA OUT CHECKPOINT [CHECKPOINT ...].

DATA holds `tracks` with `pose.csv`, whose fold 0 was not trained on. OUT gets its frames as `translate` aligns them,
and for each checkpoint in turn a sheet of eight people of that fold, `people-1.png` and so on.
`default` as a checkpoint is the weights that come with the package. The referees are asked where REFEREES_PYTHON names
a Python that has them; see referees.py.
"""

from __future__ import annotations

import csv
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from instruments import ask_referees, auc_of, has_referees
from make import HELD_OUT
from PIL import Image
from scipy.ndimage import laplace
from skimage.color import rgb2gray
from torch import Tensor

from facecycle import registry
from facecycle.api import Dataset, Labelled
from facecycle.data.folders import TABLE
from facecycle.faces.crop_folder import crop_folder
from facecycle.networks import Loaded, choose_device, load
from facecycle.pictures import contact_sheet, write_picture
from facecycle.probing.extraction import extract_once
from facecycle.probing.features import baseline_features
from facecycle.probing.protocols.linear_pose import LinearPose
from facecycle.probing.subject import features_of
from facecycle.runtimes.by_torch import panels_of
from facecycle.seeds import seeded

EACH = 2
"""Every so many frames of the held-out fold are shown to the referees, which take a tenth of a second for each."""
MOUTH = {"opening": "mouth opening", "width": "width of the mouth"}
"""What the referees measure of a mouth, and its title."""
DRAWN = 8
"""People of the fold who are drawn."""


def aligned(data: Path, out: Path) -> Path:
    """Align the frames of the tracks, where that is not done, and return their pose file.

    Alignment takes most of a head's roll out of its picture, so what it took is taken from the angle too. That is
    exact where roll is the turn within the picture, as in the order `zyx`.
    """
    tracks, poses = out / "tracks", out / "tracks" / "pose.csv"
    crop_folder(data / "tracks", tracks)
    turned = dict(zip(*pq.read_table(tracks / TABLE, columns=["crop", "roll"]).to_pydict().values(), strict=True))
    with (data / "tracks" / "pose.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if turned.get(row["file"]) is not None]
    for row in rows:
        row["roll_deg"] = f"{float(row['roll_deg']) - turned[row['file']]:.2f}"
    with poses.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return poses


class Fold:
    """The frames of the held-out people.

    Attributes:
        frames: RGB uint8 (n, 3, size, size), n of them.
        people: (n,), their names.
        pairs: (2, m), places of two frames of one track.
        drivers: (n,), the frame that drives each: somebody else's, half the fold away.
    """

    def __init__(self, data: Dataset, labels: Labelled, size: int) -> None:
        held = np.flatnonzero(labels.folds == HELD_OUT)
        self.frames, _ = data.images(labels.frames[held].tolist(), size)
        paths = [data.files.paths[frame] for frame in labels.frames[held].tolist()]
        self.people = np.array([path.parent.parent.name for path in paths])
        tracks: dict[Path, list[int]] = {}
        for place, path in enumerate(paths):
            tracks.setdefault(path.parent, []).append(place)
        self.pairs = np.array([pair for places in tracks.values() for pair in itertools.combinations(places, 2)]).T
        self.drivers = np.roll(np.arange(len(held)), len(held) // 2)


def translated(loaded: Loaded, fold: Fold) -> dict[str, Tensor]:
    """Translate the fold with the noise of the protocol `neutral`."""
    names = ["frontal", "neutral", "expression_swap", "identity_swap"]
    method, noise = loaded.method.to(choose_device()), seeded("neutral", 0)
    made = panels_of(method, fold.frames, fold.frames[fold.drivers], noise, names)
    return {name: torch.from_numpy(made[name]) for name in names}


def held_out_pose(loaded: Loaded, data: Dataset, labels: Labelled, size: int) -> dict[str, str]:
    """Probe pose as `linear-pose` does, trained on the other folds and tested on the held-out one alone."""
    pixels, _ = data.images(labels.frames.tolist(), size)
    alone = replace(labels, folds=np.where(labels.folds == HELD_OUT, 0, -1))
    found = {}
    for feature in [*features_of({"": loaded}, LinearPose(), [], size), baseline_features()[0]]:
        row = LinearPose().fit(extract_once([feature], pixels, data.fingerprint())[0], alone)
        value, (low, high) = row.metrics["mean"], row.intervals["mean"]
        found[f"pose, mean of three angles, degrees: {feature.label}"] = f"{value:.2f} ({low:.2f} to {high:.2f})"
    return found


def nearer(fold: Fold, panels: dict[str, Tensor]) -> dict[str, str]:
    """Measure by how much less two frames of a track differ once they are made frontal or neutral, in L1."""
    first, second = torch.from_numpy(fold.pairs)

    def apart(images: Tensor) -> float:
        return float((images[first].float() - images[second].float()).abs().mean())

    less = {name: 1 - apart(panels[name]) / apart(fold.frames) for name in ("frontal", "neutral")}
    return {f"two frames of a track, {name} faces nearer by": f"{share:.0%}" for name, share in less.items()}


def sharpness(images: Tensor) -> float:
    """Return the mean variance of the Laplacian of images (n, 3, H, W)."""
    return float(np.mean([laplace(rgb2gray(image)).var() for image in images.permute(0, 2, 3, 1).numpy()]))


def within(values: np.ndarray, people: np.ndarray) -> float:
    """Return the share of the variance of values (n,) that lies between frames of one person; NaNs are left out.

    It is the r of swaps that leave everybody the mean of their own frames, and take over all that differs from it.
    """
    seen = np.isfinite(values)
    values, (_, person) = values[seen], np.unique(people[seen], return_inverse=True)
    means = np.bincount(person, values) / np.bincount(person)
    return float((values - means[person]).var() / values.var())


def refereed(fold: Fold, panels: dict[str, Tensor]) -> dict[str, str]:
    """Measure yaw, mouths and identities as the referees read them."""
    shown = np.arange(0, len(fold.frames), EACH)
    pictures = {
        "input": fold.frames[shown],
        "driver": fold.frames[fold.drivers[shown]],
        **{name: panels[name][shown] for name in ("neutral", "expression_swap", "identity_swap")},
    }
    read = {name: ask_referees(list(images.permute(0, 2, 3, 1).numpy())) for name, images in pictures.items()}
    found = {}
    before, after = (read[name]["yaw"] for name in ("input", "neutral"))
    seen = np.isfinite(before) & np.isfinite(after)
    found["yaw of neutral faces, share of the inputs' deviation"] = f"{after[seen].std() / before[seen].std():.0%}"
    for what, title in {"yaw": "yaw", **MOUTH}.items():
        swap, driver = read["expression_swap"][what], read["driver"][what]
        seen = np.isfinite(swap) & np.isfinite(driver)
        found[f"{title} of an expression swap against its driver's, r"] = (
            f"{np.corrcoef(swap[seen], driver[seen])[0, 1]:.2f}"
        )
    people = fold.people[shown]
    for what, title in MOUTH.items():
        share = within(read["input"][what], people)
        found[f"{title}, share of the inputs' variance within one person"] = f"{share:.0%}"
    one, other = np.nonzero(~np.eye(len(shown), dtype=bool))
    same = people[one] == people[other]
    for name, title in (("input", "inputs"), ("neutral", "neutral faces"), ("identity_swap", "restored faces")):
        far = np.linalg.norm(read["input"]["identity"][one] - read[name]["identity"][other], axis=1)
        auc, low, high = auc_of(-far, same, people[one], people[other])
        found[f"input against {title}, another frame of the same person or another person, AUC"] = (
            f"{auc:.3f} ({low:.3f} to {high:.3f})"
        )
    return found


def draw(fold: Fold, panels: dict[str, Tensor]) -> Image.Image:
    """Draw a frame of each of the first people, what is made of it, and what drives it."""
    first = np.sort(np.unique(fold.people, return_index=True)[1])[:DRAWN]
    columns = {
        "input": fold.frames,
        "frontal": panels["frontal"],
        "neutral": panels["neutral"],
        "restored": panels["identity_swap"],
        "swap": panels["expression_swap"],
    }
    driver = ("driver", fold.frames[fold.drivers[first]].numpy())
    return contact_sheet([*((title, images[first].numpy()) for title, images in columns.items()), driver])


def measured(loaded: Loaded, data: Dataset, sheet: Path) -> dict[str, str]:
    """Return every measure of a checkpoint, by its title, and write the sheet of people."""
    size, labels = loaded.checkpoint.config.size, data.labelled("pose")
    fold = Fold(data, labels, size)
    panels = translated(loaded, fold)
    write_picture(sheet, draw(fold, panels))
    sharp = sharpness(panels["neutral"]) / sharpness(fold.frames)
    return {
        **held_out_pose(loaded, data, labels, size),
        **nearer(fold, panels),
        "sharpness of neutral faces, share of the inputs'": f"{sharp:.3f}",
        **(refereed(fold, panels) if has_referees() else {}),
    }


def main() -> None:
    """Print a table of every measure, a column for each checkpoint."""
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    poses = aligned(Path(sys.argv[1]), Path(sys.argv[2]))
    data: Dataset = registry.build("dataset", "pose-csv", {"path": poses})
    columns = {}
    for number, name in enumerate(sys.argv[3:], 1):
        loaded = load(None if name == "default" else Path(name))
        columns[name] = measured(loaded, data, Path(sys.argv[2]) / f"people-{number}.png")
    print(f"| of the held-out fold | {' | '.join(columns)} |")
    print(f"| --- {'| --- ' * len(columns)}|")
    for title in next(iter(columns.values())):
        print(f"| {title} | {' | '.join(column.get(title, '') for column in columns.values())} |")


if __name__ == "__main__":
    main()
