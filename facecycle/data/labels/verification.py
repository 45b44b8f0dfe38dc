"""Verification pairs: drawn between people, in folds that share no person, or as a file lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from facecycle.api import Track, Verification
from facecycle.data.labels.lines import missing_images
from facecycle.errors import DataError


def pairs_by_identity(people: Sequence[Sequence[int]], folds: int, seed: int) -> Verification:
    """Pair frames, given by person, in folds that share no person.

    Each fold has every same pair and as many different pairs, as far as there are so many of both. `folds` is at most
    half the number of people.
    """
    rng = np.random.default_rng(seed)
    fold_of = np.arange(len(people)) % folds
    rng.shuffle(fold_of)
    rows: list[tuple[int, int, bool, int]] = []
    for fold in range(folds):
        members = [people[i] for i in np.flatnonzero(fold_of == fold).tolist()]
        positive = [pair for frames in members for pair in combinations(frames, 2)]
        negative = [(a, b) for one, other in combinations(members, 2) for a in one for b in other]
        count = min(len(positive), len(negative))
        # Where one kind is rarer, both are drawn down to it: chance stays at one half.
        rows += [(*positive[i], True, fold) for i in rng.permutation(len(positive))[:count]]
        rows += [(*negative[i], False, fold) for i in rng.permutation(len(negative))[:count]]
    first, second, same, fold_of_pair = np.array(rows, int).reshape(-1, 4).T
    note = f"{len(people)} people in {folds} folds; as many different pairs as same, drawn with seed {seed}"
    return Verification(first, second, same.astype(bool), fold_of_pair, note)


@dataclass(frozen=True)
class ListedPair:
    """A pair as a file lists it: line and name of each image, whether both show one person, and the fold."""

    first: tuple[int, str]
    second: tuple[int, str]
    same: bool
    fold: int


def find_pairs_file(given: Path | None, folder: Path, name: str) -> Path:
    """Return the given file, else the one of the usual name in the data set's folder or beside it.

    Raises:
        DataError: there is none.
    """
    places = [given] if given else [folder / name, folder.absolute().parent / name]
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"there is no {' and no '.join(map(str, places))}",
        hint="Name the file that lists the pairs with the option pairs.",
    )


def listed_pairs(
    path: Path,
    pairs: Sequence[ListedPair],
    frames: Mapping[str, int],
    published: Mapping[str, int],
    *,
    allow_missing: bool,
) -> Verification:
    """Turn pairs of names into pairs of frames, in the folds they are listed in.

    Args:
        path: the file that lists them.
        pairs: all pairs of the file.
        frames: name of each image there is to its frame index.
        published: counts that the authors state.
        allow_missing: leave out pairs with an image that does not exist.

    Raises:
        MalformedError: images are missing, and that is not allowed.
        DataError: no pair has both its images.
    """
    absent = [(line, name) for pair in pairs for line, name in (pair.first, pair.second) if name not in frames]
    if absent and not allow_missing:
        raise missing_images(path, absent)
    found = [pair for pair in pairs if pair.first[1] in frames and pair.second[1] in frames]
    if not found:
        raise DataError(f"none of the {len(pairs):,} pairs of {path} has both its images")
    return Verification(
        np.array([frames[pair.first[1]] for pair in found]),
        np.array([frames[pair.second[1]] for pair in found]),
        np.array([pair.same for pair in found]),
        np.array([pair.fold for pair in found]),
        f"{len(found):,} of {len(pairs):,} pairs; folds are the blocks of {path.name}, in its order",
        {"pairs": len(found)},
        published,
    )


def tracks_by_person(people: Sequence[str]) -> list[Track]:
    """Return one track a person, from the name of whom each frame shows."""
    frames: dict[str, list[int]] = {}
    for frame, person in enumerate(people):
        frames.setdefault(person, []).append(frame)
    return [Track(person, person, tuple(indices)) for person, indices in frames.items()]
