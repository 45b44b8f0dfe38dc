"""Which plugins exist, and in which distribution: reads metadata, imports no plugin.

The only user of `entrypoints`. One malformed file of one package must not break every command, so files
are read one by one and what cannot be read becomes a `Problem`.
"""

from __future__ import annotations

import configparser
import functools
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from entrypoints import BadEntryPoint, CaseSensitiveConfigParser, Distribution, EntryPoint

from facecycle.api import GROUPS, NAMESPACE_GROUP, PRESET_GROUP

FIRST_PARTY = "facecycle"
ALLOW_LIST = "FACECYCLE_PLUGINS"


@dataclass(frozen=True)
class Found:
    """A registered name: its group, the entry point's text, and the distribution that claims it."""

    group: str
    name: str
    entry_point: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Problem:
    """Metadata that could not be read."""

    where: str
    reason: str


@dataclass(frozen=True)
class Inventory:
    """Everything that was found on the path."""

    entries: tuple[Found, ...]
    problems: tuple[Problem, ...]

    def in_group(self, group: str) -> list[Found]:
        """Return the entries of a group."""
        return [entry for entry in self.entries if entry.group == group]


def canonical(distribution: str) -> str:
    """Return a distribution's name in its normalised form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def scan() -> Inventory:
    """Read the entry points of every distribution on `sys.path` that the allow-list admits.

    `FACECYCLE_PLUGINS` unset admits all; empty, our own alone; `a,b`, our own and these two.
    """
    return _scan(tuple(sys.path), os.environ.get(ALLOW_LIST))


@functools.cache
def _scan(path: tuple[str, ...], allowed: str | None) -> Inventory:
    admitted = None
    if allowed is not None:
        admitted = {FIRST_PARTY, *(canonical(name.strip()) for name in allowed.split(",") if name.strip())}
    entries: list[Found] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for file in _metadata_files(path):
        distribution = Distribution.from_name_version(file.parent.stem)
        name = canonical(distribution.name)
        # An earlier folder shadows a later one, as it does for imports.
        if name in seen or (admitted is not None and name not in admitted):
            continue
        seen.add(name)
        entries += _read(file, name, distribution.version or "", problems)
    return Inventory(tuple(entries), tuple(problems))


def _metadata_files(path: tuple[str, ...]) -> Iterator[Path]:
    for folder in filter(os.path.isdir, path):  # never '', the working directory: what lies there is not installed
        for pattern in ("*.dist-info", "*.egg-info"):
            for metadata in sorted(Path(folder).glob(pattern)):
                file = metadata / "entry_points.txt"
                if os.path.isfile(file):  # which is false, and no error, in a folder that may not be entered
                    yield file


def _read(file: Path, distribution: str, version: str, problems: list[Problem]) -> Iterator[Found]:
    parser = CaseSensitiveConfigParser(delimiters=("=",), strict=False, interpolation=None)
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except (configparser.Error, OSError, ValueError) as error:
        problems.append(Problem(str(file), str(error)))
        return
    for group in filter(parser.has_section, (*GROUPS.values(), NAMESPACE_GROUP, PRESET_GROUP)):
        for name, text in parser.items(group):
            try:
                point = EntryPoint.from_string(text, name)
            except BadEntryPoint:
                problems.append(Problem(str(file), f"{name} = {text} is not of the form module:object"))
                continue
            target = f"{point.module_name}:{point.object_name or ''}"
            yield Found(group, name, target, distribution, version)
