"""The Triton kernels, proven as far as a machine without a GPU can: each level in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROOF = Path(__file__).parent.parent / "kernels" / "proof"


@pytest.mark.parametrize("level", ["reference", "interpreter", "aot", "mutants"])
def test_level(level: str) -> None:
    if level != "reference":
        pytest.importorskip("triton", reason="the kernels are Triton's")
    command = [sys.executable, "-W", "ignore", str(PROOF / f"{level}.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
