"""The Triton kernels, proven as far as this machine can: each level in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROOF = Path(__file__).parent.parent.parent / "kernels" / "proof"
SKIPPED = 77
"""What a level ends with that cannot run here."""


@pytest.mark.parametrize("level", ["reference", "interpreter", "aot", "mutants", "gpu"])
def test_level(level: str) -> None:
    if level != "reference":
        pytest.importorskip("triton", reason="the kernels are Triton's")
    command = [sys.executable, "-W", "ignore", str(PROOF / f"{level}.py")]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": os.environ["GPUS_OF_THE_PROOF"]}
    if env["CUDA_VISIBLE_DEVICES"] == "all":
        del env["CUDA_VISIBLE_DEVICES"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=env)
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
