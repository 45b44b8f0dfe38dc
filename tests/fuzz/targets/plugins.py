"""Metadata of installed packages: entry_points.txt, folders of odd names, and any name asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fuzz.damage import ODD_TEXT, TEXTS, damaged_text
from fuzz.harness import Target
from hypothesis import strategies as st

from facecycle import discovery, registry
from facecycle.errors import PluginError

POINTS = """\
[console_scripts]
thing = thing.main:run

[facecycle.encoders]
thing = thing.encoder:Thing
other = thing.encoder:Other [extra]

[facecycle.losses]
l1x = thing.losses:L1
"""
FOLDERS = [
    "thing-1.0.dist-info",
    "thing.egg-info",
    "-.dist-info",
    ".dist-info",
    "a-b-c-1.0.dist-info",
    "..-1.dist-info",
    "\udcff-1.dist-info",
    "THING_x-1.0.dist-info",
    " -1.dist-info",
    "thing-1.0\n.dist-info",
    "٣-1.dist-info",
    "facecycle-9.dist-info",
    "x" * 200 + "-1.dist-info",
    "<b>-1.dist-info",
]


def _scan(value: tuple[bytes, str, bool], folder: Path) -> None:
    """Install a package with such metadata, and ask for a plugin of ours and for one of theirs."""
    content, name, is_folder = value
    points = folder / name / "entry_points.txt"
    points.parent.mkdir()
    points.mkdir() if is_folder else points.write_bytes(content)
    sys.path.append(str(folder))
    discovery._scan.cache_clear()
    try:
        found = discovery.scan()
        mine = [entry for entry in found.entries if entry.distribution != discovery.FIRST_PARTY]
        json.dumps([entry.name for entry in mine])
        assert registry.find("warper", "reference").distribution == discovery.FIRST_PARTY
        for entry in mine:
            if entry.group == "facecycle.losses":
                try:
                    registry.load(registry.find("loss", f"{entry.distribution}/{entry.name}"))
                except PluginError:
                    continue
    finally:
        sys.path.remove(str(folder))
        discovery._scan.cache_clear()


KINDS = st.sampled_from(("encoder", "warper", "loss", "dataset", "method"))
PARTS = st.sampled_from(["timm", "facecycle", "resnet18", ":", "/", ".", "tracks", *TEXTS])


def _find(value: tuple[str, str], folder: Path) -> None:
    kind, name = value
    found = registry.find(kind, name)  # type: ignore[arg-type]
    assert found.entry_point
    assert found.name


TARGETS = [
    Target(
        "plugins/metadata",
        st.tuples(damaged_text(POINTS), st.sampled_from(FOLDERS), st.sampled_from((False,) * 9 + (True,))),
        _scan,
        (POINTS.encode(), FOLDERS[0], False),
        share=2,
    ),
    Target(
        "plugins/names",
        st.tuples(KINDS, st.lists(PARTS, max_size=4).map("".join) | ODD_TEXT),
        _find,
        ("encoder", "timm:resnet18"),
        share=2,
    ),
]
