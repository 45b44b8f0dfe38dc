"""Documents say what is true: the generated page is current, and named files and commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, picture

from facecycle.method.facecycle import FaceCycle

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def test_the_configuration_reference_is_current() -> None:
    script = [sys.executable, str(ROOT / "docs" / "configuration.py"), "--check"]
    result = subprocess.run(script, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_view_is_explained() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    for cycle, views in FaceCycle.view_names.items():
        table = page.partition(f"view of the cycle `{cycle}`")[2].partition("\n\n")[0]
        assert set(re.findall(r"^\| `(\w+)`", table, re.M)) == views


def test_the_example_in_python_runs(tmp_path: Path) -> None:
    picture(tmp_path / "img.jpg", size=(80, 60))
    (code,) = re.findall(r"## From Python\n\n```python\n(.+?)```", (ROOT / "README.md").read_text(), re.S)
    shapes = "print(*features.shape, *panels['neutral'].shape)"
    result = subprocess.run([sys.executable, "-c", code + shapes], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.split() == ["1", "4096", "1", "3", "64", "64"], result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_pictures_lead_somewhere(page) -> None:  # type: ignore[no-untyped-def]
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
