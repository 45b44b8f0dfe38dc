"""Documents say what is true: the generated page is current, links lead somewhere, commands and examples work."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from facecycle_cli.main import app
from helpers.common import ROOT, photograph
from helpers.forked import do, python
from typer.main import get_command

from facecycle.method.facecycle import FaceCycle

FRONT = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [
    *FRONT,
    *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "facecycle/weights/README.md", "findings/README.md")),
    ROOT / "plugins" / "facecycle-plugin-example" / "README.md",
]


def test_the_configuration_reference_is_current() -> None:
    script = [sys.executable, str(ROOT / "docs" / "configuration.py"), "--check"]
    result = subprocess.run(script, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_commands_take_the_options_they_are_given(page: Path) -> None:
    text = page.read_text().replace("\\\n", " ")
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^    facecycle (.+)$", text, re.M)]
    commands += [[name] for name in re.findall(r"`facecycle ([a-z]+)", text)]
    assert [fault for words in commands if (fault := fault_of(words))] == []


def fault_of(words: list[str]) -> str | None:
    """Read a command line without running it; return what is wrong with it."""
    command: Any = get_command(app)
    name = "facecycle"
    while hasattr(command, "commands"):
        if not words:
            return None
        name, *words = words
        if name not in command.commands:
            return f"there is no command {name}"
        command = command.commands[name]
    try:
        if words:
            command.make_context(name, words)
    except Exception as error:  # noqa: BLE001 - of the parser, whichever it comes with
        return f"{name} {shlex.join(words)}: {error}"
    return None


def test_a_wrong_command_line_is_noticed() -> None:
    for wrong in (["prob"], ["data", "chek"], ["probe", "--taks", "pose"], ["translate", "a.jpg", "--crop"]):
        assert fault_of(wrong)


def test_the_readmes_plugin_is_an_encoder() -> None:
    (code,) = re.findall(r"```python\n(# my_encoder.py.+?)```", (ROOT / "README.md").read_text(), re.S)
    found: dict[str, Any] = {}
    exec(code, found)
    encoder = found["MyEncoder"](found["Options"]())
    assert encoder(torch.zeros(2, 3, 64, 48)).shape == (2, encoder.channels, 64 // encoder.stride, 48 // encoder.stride)


def test_every_view_is_explained() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    for cycle, views in FaceCycle.view_names.items():
        table = page.partition(f"view of the cycle `{cycle}`")[2].partition("\n\n")[0]
        assert set(re.findall(r"^\| `(\w+)`", table, re.M)) == views


def test_the_example_in_python_runs(tmp_path: Path) -> None:
    for name in ("img.jpg", "a.jpg", "b.jpg"):
        photograph(tmp_path / name)
    (code,) = re.findall(r"## From Python\n\n```python\n(.+?)```", (ROOT / "README.md").read_text(), re.S)
    shapes = "print(*codes.shape, *pictures['neutral'].size)"
    assert do(tmp_path, python, code + shapes).split() == ["2", "256", "64", "64"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_links_and_pictures_lead_somewhere(page) -> None:  # type: ignore[no-untyped-def]
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 900


def test_sentences_are_plain() -> None:
    text = "".join(page.read_text() for page in FRONT)
    assert 1000 * text.count(";") / len(text.split()) < 4, "semicolons per 1,000 words"


def test_the_map_shows_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## The rooms")[2].partition("| beside it")[0]
    column = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    rooms = {path.name for path in (ROOT / "facecycle").iterdir() if path.name[0] not in "_."} - {"py.typed"}
    assert {name.rstrip("/") for name in re.findall(r"`([\w./]+)`", column)} >= rooms


def test_every_finding_is_listed_and_pins_what_it_installs() -> None:
    folder = ROOT / "findings"
    listed = re.findall(r"^\| `(\w+\.sh)`", (folder / "README.md").read_text(), re.M)
    assert sorted(listed) == sorted(path.name for path in folder.glob("*.sh"))
    for name in listed:
        (packages,) = re.findall(r"pip\" install --quiet --disable-pip-version-check (.+)", (folder / name).read_text())
        assert all("==" in package for package in packages.split()), name
