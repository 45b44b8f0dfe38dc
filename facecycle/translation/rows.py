"""Rows: a face, whom it follows, and the pictures that are made of it, at the photograph's size or the networks'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from facecycle.api import FLOW
from facecycle.errors import ConfigError
from facecycle.faces.motion import inverse
from facecycle.pictures import drawn
from facecycle.runtimes.base import Runtime
from facecycle.translation.photographs import FoundFace, Motion

PHOTOGRAPH, PASTED, FRONTAL, REEXPRESSED = "photograph", "pasted", "frontal", "reexpressed"
"""The photograph; with the moved face in it; the face cut out, moved by its own flow alone; moved by a driver's too."""
INPUT = "input"
"""The face as the networks see it."""


@dataclass(frozen=True)
class Row:
    """A face to be translated.

    Attributes:
        label: what its own pictures are called.
        whole: what the photograph with all of its moved faces is called.
        face: the face.
        driver: the face that it follows, or None.
    """

    label: str
    whole: str
    face: FoundFace
    driver: FoundFace | None = None


@dataclass(frozen=True)
class Pictures:
    """What was made of a row.

    Attributes:
        by_name: RGB uint8 (3, h, w) each.
        motion: how the face moves, or None where the weights know no flow.
    """

    row: Row
    by_name: dict[str, np.ndarray]
    motion: Motion | None


def names_of(runtime: Runtime, driven: bool) -> tuple[list[str], tuple[str, ...]]:
    """Return the names of what weights make of a row, as a sheet shows them, and those of the panels that they lack.

    Panels that need a driver are among them. Without one they are not made.
    """
    shown = [name for name in runtime.figure if name in runtime.panels]
    missing = tuple(name for name in runtime.figure if name not in runtime.panels)
    if FLOW not in shown:
        return [INPUT, *shown], missing
    first = [PHOTOGRAPH, PASTED, INPUT, *([FRONTAL] if FRONTAL in shown else []), *([REEXPRESSED] if driven else [])]
    return list(dict.fromkeys([*first, *shown])), missing


def refuse_strengths(runtime: Runtime, names: Collection[str], strengths: Iterable[float]) -> None:
    """Refuse strengths other than 1 where the weights move no face, because they would change nothing.

    Raises:
        ConfigError: there is one.
    """
    if FLOW not in names and any(strength != 1 for strength in strengths):
        raise ConfigError(
            f"{runtime.weights}: these weights move no face, so that a strength changes nothing",
            hint="Leave the strength out. Weights that know a flow take one.",
        )


def panels_for(runtime: Runtime, names: Collection[str]) -> list[str]:
    """Return the panels that pictures are made of.

    The frontal face is moved at full resolution where the flow is known, and not made small besides.
    """
    return [name for name in names if name in runtime.panels and not (name == FRONTAL and FLOW in names)]


def no_pictures(runtime: Runtime) -> ConfigError:
    """Return the error that weights make no pictures, or none without a driver."""
    what, hint = "make no pictures", "Probe and embed them."
    if not set(runtime.figure).isdisjoint(runtime.panels):
        what, hint = "make pictures of two faces alone", "Name the face that it follows: --driver other.jpg."
    return ConfigError(f"{runtime.weights}: these weights {what}", hint=hint)


def pictures_of(
    runtime: Runtime, rows: Sequence[Row], names: Sequence[str], strength: float, seed: int
) -> Iterator[Pictures]:
    """Yield the pictures of faces; those that need a driver, where there is one.

    A driver's photograph is made anew for each face that it follows, so no more than one of them is held at a time.

    Args:
        runtime: the weights.
        rows: all with a driver, or all without.
        names: of the pictures, from `names_of`.
        strength: factor of the motion, from 0, which leaves every pixel as it is, to 1.5.
        seed: of the generator's noise.

    Raises:
        ConfigError: the weights make no pictures, or none without a driver.
    """
    pixels = np.stack([row.face.pixels for row in rows])
    others = [row.driver.pixels for row in rows if row.driver is not None]
    panels = runtime.translate(pixels, np.stack(others) if others else None, seed, panels_for(runtime, names))
    if not panels:
        raise no_pictures(runtime)
    small = {name: drawn(name, panel, runtime.size) for name, panel in panels.items()}
    motions: list[Motion | None] = [None] * len(rows)
    if FLOW in panels:
        back = _taken_back(runtime, rows, panels[FLOW])
        motions = [
            Motion(row.face, flow, None if row.driver is None else back[id(row.driver)])
            for row, flow in zip(rows, panels[FLOW], strict=True)
        ]
    faces_of, whole = Counter(row.whole for row in rows), dict[str, np.ndarray]()

    def put_back(row: Row, motion: Motion) -> np.ndarray:
        return motion.put_back(whole.get(row.whole, row.face.photograph.pixels), strength)

    for row, motion in zip(rows, motions, strict=True):
        if motion is not None and faces_of[row.whole] > 1:
            whole[row.whole] = put_back(row, motion)
    for place, (row, motion) in enumerate(zip(rows, motions, strict=True)):
        found = {INPUT: row.face.pixels, **{name: panel[place] for name, panel in small.items()}}
        if motion is not None:
            found[PHOTOGRAPH] = planes(row.face.photograph.pixels)
            found[PASTED] = planes(whole[row.whole] if row.whole in whole else put_back(row, motion))
            found[FRONTAL] = planes(motion.cut_out(strength, frontal=True))
            if row.driver is not None:
                found[REEXPRESSED] = planes(motion.cut_out(strength))
        yield Pictures(row, {name: found[name] for name in names if name in found}, motion)


def _taken_back(runtime: Runtime, rows: Sequence[Row], flows: np.ndarray) -> dict[int, np.ndarray]:
    """Return the inverse of the flow of each driver, by its identity; a driver with a row of its own has its flow."""
    own = {id(row.face): flow for row, flow in zip(rows, flows, strict=True)}
    drivers = {id(row.driver): row.driver for row in rows if row.driver is not None}
    others = {key: face.pixels for key, face in drivers.items() if key not in own}
    if others:
        made = runtime.translate(np.stack(list(others.values())), None, 0, [FLOW])[FLOW]
        own |= dict(zip(others, made, strict=True))
    return {key: inverse(own[key], runtime.size) for key in drivers}


def planes(pixels: np.ndarray) -> np.ndarray:
    """Turn RGB (H, W, 3) into (3, H, W), as panels are."""
    return pixels.transpose(2, 0, 1)
