"""What an emotion data set gives, what it says of malformed files, and what `data check` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from facecycle.api import Labelled
from facecycle.data.check import check_data
from facecycle.errors import MalformedError
from facecycle.registry import build


def labels(kind: str, path: Path, **options: object) -> Labelled:
    found = build("dataset", kind, {"path": str(path), **options}).labelled("emotion")
    assert isinstance(found, Labelled)
    return found


def named(found: Labelled) -> list[tuple[str, int]]:
    """Return the class and the fold of each sample."""
    return [(found.classes[t], f) for t, f in zip(found.targets.tolist(), found.folds.tolist(), strict=True)]


def problems(kind: str, path: Path, **options: object) -> list[str]:
    with pytest.raises(MalformedError) as caught:
        labels(kind, path, **options)
    return [problem.replace(f"{path}/", "") for problem in caught.value.problems]


def sheet(kind: str, path: Path, out: Path, **options: object) -> list[str]:
    """Return what `data check` says."""
    lines, unreadable = check_data(build("dataset", kind, {"path": str(path), **options}), out / "sheet.png")
    assert not unreadable
    assert Image.open(out / "sheet.png").width
    return lines
