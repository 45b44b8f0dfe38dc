"""`facecycle plugins`: listed, shown, checked, and new packages that pass their own tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.common import ROOT, Command, refused
from helpers.sites import GOOD, distribution, install_source

PYTEST = [sys.executable, "-m", "pytest", "-q", "--disable-plugin-autoload"]


def test_plugins_are_listed_shown_and_checked(command: Command, inside: Command) -> None:
    listed = json.loads(command("plugins", "list", "--json").stdout)
    assert ("encoder", "timm") in {(entry["kind"], entry["name"]) for entry in listed}
    assert ("detector", "yunet") in {(entry["kind"], entry["name"]) for entry in listed}
    assert "class-folders" in inside("plugins", "list").stdout
    shown = inside("plugins", "show", "resnet18").stdout
    assert "timm:resnet18" in shown
    assert "max_stride" in shown
    assert "Start from timm's weights" in " ".join(shown.split())
    assert "terms of its weights: MIT (Shiqi Yu" in inside("plugins", "show", "yunet").stdout
    checked = inside("plugins", "check")
    assert checked.returncode == 0, checked.stdout
    assert "broken" not in checked.stdout


def test_a_broken_namespace_answers_to_nothing_and_is_named_by_the_check(
    inside: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {
        "facecycle.encoders": {"zoo": "odd_zoo:Thing", "an:odd/name.pt": "odd_zoo:Thing"},
        "facecycle.namespaces": {"encoder.zoo": "odd_zoo:names"},
    }
    source = GOOD.replace("needs_target = True", "channels = stride = 1")
    monkeypatch.syspath_prepend(str(distribution(tmp_path / "site", "zoo", points, odd_zoo=source)))
    assert "timm:resnet18" in inside("plugins", "show", "resnet18").stdout
    checked = inside("plugins", "check")
    assert checked.returncode == 2
    for fault in (
        "encoder an:odd/name.pt: the encoder 'an:odd/name.pt' of zoo 1.0 (odd_zoo:Thing) can be",
        "namespace encoder.zoo: the namespace 'encoder.zoo' of zoo 1.0 (odd_zoo:names)",
    ):
        assert f"broken  {fault}" in checked.stdout
    assert inside("plugins", "check", "--kind", "loss").returncode == 0


def test_a_new_package_installs_and_passes_its_own_test(command: Command, inside: Command, tmp_path: Path) -> None:
    assert inside("plugins", "new", "my-encoder").returncode == 0
    refused(inside("plugins", "new", "my-encoder"), "exists and is not empty")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--target", str(tmp_path / "site"), str(tmp_path / "my-encoder")),
        ],
        check=True,
        capture_output=True,
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    tests = [*PYTEST, str(tmp_path / "my-encoder")]
    result = subprocess.run(tests, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    listed = command("plugins", "list", env={"PYTHONPATH": str(tmp_path / "site")}).stdout
    assert all(
        name in listed for name in ("my-encoder", "my-encoder-bicubic", "my-encoder-charbonnier", "my-encoder-skin")
    )
    texts = [file.read_text() for file in (tmp_path / "my-encoder").rglob("*.[pmt]*") if file.is_file()]
    assert not [text for text in texts if "example" in text.lower()]


def test_the_example_package_passes_its_own_tests(tmp_path: Path) -> None:
    package = ROOT / "plugins" / "facecycle-plugin-example"
    site = tmp_path / "site"
    site.mkdir()
    install_source(site, package)
    env = {**os.environ, "PYTHONPATH": str(site)}
    # Below the project, whose options it takes up: this process is enough.
    tests = [*PYTEST, "-n", "0", "-p", "no:cacheprovider", str(package)]
    result = subprocess.run(tests, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
