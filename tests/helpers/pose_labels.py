"""What a pose data set gives, and what it says of malformed files."""

from __future__ import annotations

from pathlib import Path

import pytest

from facecycle.api import Labelled
from facecycle.errors import MalformedError
from facecycle.registry import build


def pose(kind: str, path: Path, **options: object) -> Labelled:
    labels = build("dataset", kind, {"path": str(path), **options}).labelled("pose")
    assert isinstance(labels, Labelled)
    return labels


def problems(kind: str, path: Path, **options: object) -> list[str]:
    with pytest.raises(MalformedError) as caught:
        build("dataset", kind, {"path": str(path), **options})
    return caught.value.problems
