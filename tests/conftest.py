"""What tests share: caches in a throw-away folder, and the command, as a process or inside the test's own."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Tests run side by side, a process a core: each, and what it starts, has one thread. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What they expect is what a CPU computes, to the last bit; kernels/proof/gpu.py alone looks at a GPU.
os.environ.setdefault("GPUS_OF_THE_PROOF", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pytest
from helpers.common import Command
from hypothesis import settings

# No example is too slow for a busy machine, and a test that passes once passes again.
settings.register_profile("facecycle", deadline=None, derandomize=True, database=None)
settings.load_profile("facecycle")

# Imports leave little garbage, and to look for it takes a sixth of the time that collecting the tests does.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collections: a full one looked through it for a quarter of a second."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, ready for throw-away distributions."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run `facecycle` as a process in the test's folder."""

    def run(
        *arguments: object, cwd: Path = tmp_path, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "facecycle_cli", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "COLUMNS": "200", **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `facecycle` in this process, which has imported everything already, in the test's folder."""
    from facecycle_cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("facecycle.machine.keep_pages", lambda: None)  # it would hold for every test that follows

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["facecycle", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main.run()
        out, err = capsys.readouterr()
        code = ended.value.code
        return subprocess.CompletedProcess(sys.argv, code if isinstance(code, int) else 0, out, err)

    return run
