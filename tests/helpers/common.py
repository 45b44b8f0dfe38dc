"""What most tests use: where the project lies, small pictures, and how a mistake ends."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from skimage.data import astronaut

ROOT = Path(__file__).parent.parent.parent


Command = Callable[..., subprocess.CompletedProcess[str]]


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (24, 24)) -> Path:
    """Write a small picture of smooth random colours."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    coarse.resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def photograph(path: Path, mirrored: bool = False) -> Path:
    """Write scikit-image's astronaut, whose face a detector finds."""
    image = Image.fromarray(astronaut())
    (ImageOps.mirror(image) if mirrored else image).save(path)
    return path


def refused(result: subprocess.CompletedProcess[str], *expected: str) -> None:
    """A mistake ends with exit code 2 and one message, without a traceback."""
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    for text in expected:
        assert text in result.stderr
    assert result.stderr.count("error:") <= 1
