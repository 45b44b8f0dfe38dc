"""What a checkpoint does to faces it has not seen: python recipes/default_weights/measure.py DATA [CHECKPOINT].

DATA holds `tracks` with `pose.csv`, whose fold 0 was not trained on, and `people`. Yaw is read by a ridge regression on
the frames of the other folds. Yaw and identity are read once from HoG features, an instrument that no checkpoint made,
and once from the checkpoint's own `conv` and `identity_conv`.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from make import HELD_OUT
from torch import Tensor

from facecycle import registry
from facecycle.api import Dataset, Verification
from facecycle.networks import Loaded, choose_device, load
from facecycle.probing.features import baseline_features, checkpoint_features, extract, extract_once
from facecycle.probing.protocols.cosine_10fold import Cosine10Fold
from facecycle.probing.protocols.linear_pose import LinearPose
from facecycle.probing.protocols.neutral import read_yaw
from facecycle.runtimes.by_torch import panels_of
from facecycle.seeds import seeded

FOLDS = 10


def distance(one: Tensor, other: Tensor) -> float:
    """Return the mean absolute difference of two uint8 tensors, pixels in [0, 1]."""
    return float((one.float() - other.float()).abs().mean() / 255)


def translated(loaded: Loaded, pixels: Tensor, drivers: Tensor | None, panels: list[str]) -> dict[str, Tensor]:
    """Translate uint8 images with the noise of the protocol `neutral`."""
    made = panels_of(loaded.method.to(choose_device()), pixels, drivers, seeded("neutral", 0), panels)
    return {name: torch.from_numpy(panel) for name, panel in made.items()}


def held_out_pose(loaded: Loaded, path: Path) -> list[str]:
    """Probe pose as `linear-pose` does, trained on the other folds and tested on the held-out one alone."""
    size = loaded.checkpoint.config.size
    data: Dataset = registry.build("dataset", "pose-csv", {"path": path})
    labels = data.labelled("pose")
    pixels, _ = data.images(labels.frames.tolist(), size)
    labels = replace(labels, folds=np.where(labels.folds == HELD_OUT, 0, -1))
    lines = []
    for feature in [*checkpoint_features(loaded, LinearPose.features, [], size), baseline_features()[0]]:
        row = LinearPose().fit(extract_once([feature], pixels, data.fingerprint())[0], labels)
        errors = ", ".join(f"{name} {value:.2f}" for name, value in row.metrics.items())
        lines.append(f"pose of the held-out fold, {feature.label}: {errors}")
    return lines


def tracks_and_yaw(loaded: Loaded, path: Path) -> list[str]:
    """Measure neutral faces and expression swaps on the held-out fold of a pose file."""
    size = loaded.checkpoint.config.size
    data: Dataset = registry.build("dataset", "pose-csv", {"path": path})
    labels = data.labelled("pose")
    pixels, _ = data.images(labels.frames.tolist(), size)
    held = np.flatnonzero(labels.folds == HELD_OUT)
    frames, yaw = pixels[held], labels.targets[held, 1]
    lines = []
    panels = translated(loaded, frames, None, ["frontal", "neutral"])

    tracks: dict[Path, list[int]] = {}
    for place, frame in enumerate(labels.frames[held].tolist()):
        tracks.setdefault(data.files.paths[frame].parent, []).append(place)
    pairs = np.array([pair for places in tracks.values() for pair in itertools.combinations(places, 2)])
    first, second = torch.from_numpy(pairs.T)
    before = distance(frames[first], frames[second])
    for panel, images in panels.items():
        after = distance(images[first], images[second])
        less = 1 - after / before
        lines.append(f"two frames of a track, L1: frames {before:.4f}, {panel} {after:.4f}, {less:.0%} less")

    # Everybody drives somebody else: the fold's frames shifted by half its length.
    order = np.roll(np.arange(len(held)), len(held) // 2)
    swaps = translated(loaded, frames, frames[order], ["expression_swap"])["expression_swap"]
    train = labels.folds != HELD_OUT
    shown = {"frames": frames, **panels, "swaps": swaps}
    for feature in (baseline_features()[0], checkpoint_features(loaded, (), ["conv"], size)[0]):
        known, *others = (extract([feature], images)[0].numpy() for images in (pixels[train], *shown.values()))
        found = dict(zip(shown, read_yaw(known, labels.targets[train, 1], *others), strict=True))
        r = np.corrcoef(found.pop("swaps"), yaw[order])[0, 1]
        deviations = ", ".join(f"{name} {v.std():.2f}" for name, v in found.items())
        lines.append(f"deviation of yaw, degrees, read from {feature.label}: {deviations}")
        lines.append(f"yaw of an expression swap, read from {feature.label}, against its driver's: r = {r:.2f}")
    return lines


def identities(loaded: Loaded, path: Path) -> list[str]:
    """Measure mean faces and restored faces on pictures of different people."""
    size = loaded.checkpoint.config.size
    data: Dataset = registry.build("dataset", "identity-folders", {"path": path})
    tracks = data.tracks()
    people = sorted({track.identity for track in tracks})
    frame_of = {track.identity: track.frames[0] for track in reversed(tracks)}
    one_each, _ = data.images([frame_of[person] for person in people], size)
    lines = []
    panels = translated(loaded, one_each, None, ["neutral", "mean_face"])
    between = {
        panel: float(F.pdist(images.flatten(1).float(), p=1).mean() / images[0].numel() / 255)
        for panel, images in panels.items()
    }
    lines.append(
        f"two people, L1: neutral {between['neutral']:.4f}, mean face {between['mean_face']:.4f}, "
        f"a share of {between['mean_face'] / between['neutral']:.2f}"
    )
    # Each wears somebody else's mean face; is the result nearer to the own input than to another's?
    drivers = one_each.roll(len(people) // 2, 0)
    restored = translated(loaded, one_each, drivers, ["identity_swap"])["identity_swap"]
    other = np.roll(np.arange(len(people)), 1)
    same = np.repeat([True, False], len(people))
    folds = np.tile(np.arange(len(people)) % FOLDS, 2)
    # A restored face is to be the neutral face: no more can be told from it than from that.
    shown = {"restored": restored, "neutral": panels["neutral"]}
    own = np.arange(len(people))
    pairs = Verification(np.r_[own, own], len(people) + np.r_[own, other], same, folds)
    for feature in (baseline_features()[0], checkpoint_features(loaded, (), ["identity_conv"], size)[0]):
        inputs, *results = (extract([feature], images)[0].numpy() for images in (one_each, *shown.values()))
        for name, made in zip(shown, results, strict=True):
            scores = Cosine10Fold().fit(np.concatenate([inputs, made]), pairs)
            found = f"{scores.metrics['accuracy']:.1%}, AUC {scores.metrics['auc']:.3f}"
            lines.append(f"input against {name} face, {len(same)} pairs, by {feature.label}: {found}")
    lines.append(f"restored against neutral face, L1: {distance(restored, panels['neutral']):.4f}")
    return lines


def main() -> None:
    """Print every measure, a line each."""
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    data = Path(sys.argv[1])
    loaded = load(Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    poses = data / "tracks" / "pose.csv"
    for measured in (held_out_pose(loaded, poses), tracks_and_yaw(loaded, poses), identities(loaded, data / "people")):
        print("\n".join(measured), flush=True)


if __name__ == "__main__":
    main()
