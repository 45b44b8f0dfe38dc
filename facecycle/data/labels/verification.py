"""Verification pairs: drawn between people, in folds that share no person, or as a file lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facecycle.api import Track, Verification
from facecycle.data.labels.lines import missing_images
from facecycle.errors import DataError

MOST_PAIRS = 40_000
"""Drawn from more than so many: three times as many would halve an interval that is narrow already."""
FOLDS = 10


def pairs_by_identity(people: Sequence[Sequence[int]], folds: int, seed: int, most: int, whose: object) -> Verification:
    """Pair frames, given by person, in folds that share no person.

    Each fold has its same pairs, drawn down to its share of half of `most`, and as many different pairs. Where there
    are fewer different pairs, both are drawn down to them: chance stays at one half.

    Args:
        people: the frames of each person; at least twice as many people as folds.
        folds: the number of folds.
        seed: of the folds and of what is drawn.
        most: how many pairs may be used.
        whose: names the data set, for the error.

    Raises:
        DataError: a fold has no pair of one person.
    """
    rng = np.random.default_rng(seed)
    fold_of = np.arange(len(people)) % folds
    rng.shuffle(fold_of)
    drawn, same, in_fold, every = [], [], [], 0
    for fold in range(folds):
        members = [np.asarray(people[i]) for i in np.flatnonzero(fold_of == fold).tolist()]
        sizes = np.array([len(frames) for frames in members])
        positive, negative = int((sizes * (sizes - 1) // 2).sum()), int((sizes.sum() ** 2 - (sizes**2).sum()) // 2)
        every += positive
        count = min(positive, negative, max(1, most // (2 * folds)))
        if count:
            chosen = [rng.choice(of, count, replace=False) for of in (positive, negative)]
            drawn += [_same_pairs(members, sizes, chosen[0]), _different_pairs(members, sizes, chosen[1])]
            same += [np.repeat([True, False], count)]
            in_fold += [np.full(2 * count, fold)]
    if len(in_fold) < folds:
        raise DataError(
            f"{whose}: only {len(in_fold)} of {folds} folds hold a person with two images",
            hint="A same pair needs two images of a person. Lower the option folds.",
        )
    first, second = np.concatenate(drawn, axis=1)
    used = f"{len(first) // 2:,} of {every:,} same pairs" if len(first) // 2 < every else f"all {every:,} same pairs"
    note = f"{len(people):,} people in {folds} folds; {used}, and as many different pairs, drawn with seed {seed}"
    return Verification(first, second, np.concatenate(same), np.concatenate(in_fold), note)


def _same_pairs(members: Sequence[np.ndarray], sizes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the frames (2, n) of pairs of one person, by their numbers among all such pairs."""
    ends = np.cumsum(sizes * (sizes - 1) // 2)
    person = np.searchsorted(ends, chosen, "right")
    place = chosen - (ends[person] - sizes[person] * (sizes[person] - 1) // 2)
    # Pair b (b - 1) / 2 + a has the places a < b.
    b = ((1 + np.sqrt(8 * place + 1.0)) / 2).astype(int)
    a = place - b * (b - 1) // 2
    return _frames(members, sizes, person, a, person, b)


def _different_pairs(members: Sequence[np.ndarray], sizes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the frames (2, n) of pairs of two people, by their numbers among all such pairs."""
    one, other = np.triu_indices(len(members), k=1)
    ends = np.cumsum(sizes[one] * sizes[other])
    couple = np.searchsorted(ends, chosen, "right")
    one, other = one[couple], other[couple]
    a, b = np.divmod(chosen - (ends[couple] - sizes[one] * sizes[other]), sizes[other])
    return _frames(members, sizes, one, a, other, b)


def _frames(members: Sequence[np.ndarray], sizes: np.ndarray, *places: np.ndarray) -> np.ndarray:
    """Return the frames (2, n) for person, place, person and place (n,) each."""
    starts, frames = np.cumsum(sizes) - sizes, np.concatenate(members)
    one, a, other, b = places
    return np.stack([frames[starts[one] + a], frames[starts[other] + b]])


def paired_tenths(same: np.ndarray) -> np.ndarray:
    """Return the fold (n,) of each listed pair: the k-th tenth of the same pairs and of the different ones.

    Where a list alternates blocks of both kinds these are its blocks. CPLFW's and CALFW's lists hold all pairs of one
    person first, and ten blocks of them would be of one kind each. Source: FaceX-Zoo, `pairs_parser.py`.
    """
    folds = np.zeros(len(same), int)
    for kind in (True, False):
        of_kind = np.flatnonzero(same == kind)
        folds[of_kind] = FOLDS * np.arange(len(of_kind)) // max(1, len(of_kind))
    return folds


def check_folds(labels: Verification) -> None:
    """Refuse pairs on which no threshold can be chosen, or none be told right.

    Raises:
        DataError: there are fewer than two folds, or a fold holds pairs of one kind only.
    """
    folds = np.unique(labels.folds)
    if len(folds) < 2:
        raise DataError(
            "the pairs are one fold, so that no threshold can be chosen on others",
            hint="Use pairs in several folds; of LFW, pairs.txt and not a development file.",
        )
    for fold in folds.tolist():
        share = labels.same[labels.folds == fold]
        if share.all() or not share.any():
            kind = "one person" if share.all() else "two people"
            raise DataError(
                f"fold {fold} of the pairs holds only pairs of {kind}: a threshold is chosen on the other folds, "
                "whose mixture is then another",
                hint="Every fold needs pairs of both kinds.",
            )


@dataclass(frozen=True)
class ListedPair:
    """A pair as a file lists it: line and name of each image, and whether both show one person."""

    first: tuple[int, str]
    second: tuple[int, str]
    same: bool


def find_file(given: Path | None, folder: Path, names: Sequence[str], option: str) -> Path:
    """Return the given file, else the one of a usual name in the data set's folder or beside it.

    Raises:
        DataError: there is none; the hint names the option that gives one.
    """
    places = [given] if given else [at / name for at in (folder, folder.absolute().parent) for name in names]
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"there is no {' and no '.join(map(str, places))}", hint=f"Name that file with the option {option}."
    )


def listed_pairs(
    path: Path,
    pairs: Sequence[ListedPair],
    folds: np.ndarray,
    how: str,
    frames: Mapping[str, int],
    published: Mapping[str, int],
    *,
    allow_missing: bool,
) -> Verification:
    """Turn pairs of names into pairs of frames.

    Args:
        path: the file that lists them.
        pairs: all pairs of the file.
        folds: (n,) the fold of each pair.
        how: how the folds were made.
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
    kept = [n for n, pair in enumerate(pairs) if pair.first[1] in frames and pair.second[1] in frames]
    if not kept:
        raise DataError(f"none of the {len(pairs):,} pairs of {path} has both its images")
    labels = Verification(
        np.array([frames[pairs[n].first[1]] for n in kept]),
        np.array([frames[pairs[n].second[1]] for n in kept]),
        np.array([pairs[n].same for n in kept]),
        folds[kept],
        f"{len(kept):,} of {len(pairs):,} pairs; {how}",
        {"pairs": len(kept)},
        published,
    )
    check_folds(labels)
    return labels


def tracks_by_person(people: Sequence[str]) -> list[Track]:
    """Return one track a person, from the name of whom each frame shows."""
    frames: dict[str, list[int]] = {}
    for frame, person in enumerate(people):
        frames.setdefault(person, []).append(frame)
    return [Track(person, person, tuple(indices)) for person, indices in frames.items()]
