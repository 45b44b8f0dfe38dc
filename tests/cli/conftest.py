"""What tests of commands share: the command in the test's own process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from facecycle_cli import main
from helpers.common import Command


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `facecycle` in this process, which has imported everything already, in the test's folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["facecycle", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main.run()
        out, err = capsys.readouterr()
        code = ended.value.code
        return subprocess.CompletedProcess(sys.argv, code if isinstance(code, int) else 0, out, err)

    return run
