"""What the page shows of a face: the pictures that weights make, in order, with a title and a few words on each."""

from __future__ import annotations

from dataclasses import dataclass

from facecycle.api import FLOW
from facecycle.runtimes.base import Runtime
from facecycle.translation.rows import INPUT, PASTED, PHOTOGRAPH, REEXPRESSED, names_of, no_pictures

CAPTIONS = {REEXPRESSED: ("Re-expressed", "with the other's expression")}
"""Of pictures that are no panels of a method."""


@dataclass(frozen=True)
class Shown:
    """A picture of a face.

    Attributes:
        name: what the engine calls it.
        title: what people call it.
        about: what it shows, after the words "the face"; may be empty.
        driven: whether it needs a second face.
    """

    name: str
    title: str
    about: str
    driven: bool


def moves(runtime: Runtime) -> bool:
    """Return whether weights move a face within its photograph."""
    return FLOW in names_of(runtime, driven=False)[0]


def shown_of(runtime: Runtime) -> list[Shown]:
    """Return the pictures of a face that the page shows.

    Where faces are moved, a second face moves them too. Panels of two faces would show the same less well, and take
    twice as long as all others.

    Raises:
        ConfigError: there are none.
    """
    found, moving = [], moves(runtime)
    for name in names_of(runtime, driven=True)[0]:
        two_faces = name in runtime.panels and name not in runtime.alone
        if name in (PHOTOGRAPH, PASTED, INPUT, FLOW) or (two_faces and moving):
            continue
        title, about = (CAPTIONS | dict(runtime.captions)).get(name, (name.replace("_", " ").capitalize(), ""))
        found.append(Shown(name, title, about, two_faces or name == REEXPRESSED))
    if not found:
        raise no_pictures(runtime)
    return found
