"""From the start of translate and embed to files on disk, torch against onnx: python benchmarks/start.py [CHECKOUT].

A checkout is another one of facecycle, with an environment in its .venv, whose shipped weights all sides then take.
Every side is a process of its own, which says at its end how much CPU time and memory it took. Ours finds the face of a
photograph. Another checkout, which may not know how, is told where it is. Our pictures have to agree to one level of
255, and the codes of all sides to 1e-4.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from common import Result, interleave, ratio, seconds
from PIL import Image
from pyarrow.parquet import read_table
from skimage.data import astronaut

ROUNDS = 5
TARGET, LESS_MEMORY = 5, 3
"""How many times as fast as one of before a start is to be, and how many times less memory it is to take."""
OTHER = "the other checkout"
CROP = ("--crop", "150,10,180,180")
"""Where the face is."""
COMMAND = """
import atexit, time
from common import peak_bytes
from facecycle_cli.main import run
atexit.register(lambda: print(time.process_time(), peak_bytes()))
run()
"""


@dataclass
class Side:
    """One way to run a command; `cpu` and `memory` are what its processes took, a round each."""

    python: Path
    flags: tuple[str, ...]
    cpu: list[float]
    memory: list[float]

    def run(self, *arguments: object) -> None:
        """Run the command once."""
        words = [self.python, "-c", COMMAND, *map(str, arguments), *self.flags]
        done = subprocess.run(words, check=True, capture_output=True, text=True, cwd=Path(__file__).parent)
        cpu, memory = done.stdout.split()[-2:]
        self.cpu.append(float(cpu))
        self.memory.append(float(memory))


def measure(other: Path | None = None) -> list[Result]:
    """Check that all sides make the same pictures and codes, then time them in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(astronaut()).save(folder / "face.png")
        checkout = other or Path(__file__).parent.parent
        shutil.copy(checkout / "facecycle" / "weights" / "default.safetensors", folder / "weights.safetensors")
        ours = Path(sys.executable)
        Side(ours, (), [], []).run("checkpoint", "export", folder / "weights.safetensors", "--onnx")
        sides = {
            "onnx": Side(ours, ("--runtime", "onnx"), [], []),
            "torch": Side(ours, ("--runtime", "torch"), [], []),
        }
        if other is not None:
            sides[OTHER] = Side(other.resolve() / ".venv" / "bin" / "python", (), [], [])
        results = _compare(folder, sides, "translate", "", _same_pictures)
        results += _compare(folder, sides, "embed", ".parquet", _same_codes)
    return results


def _compare(
    folder: Path, sides: dict[str, Side], command: str, suffix: str, same: Callable[[Path, Path], None]
) -> list[Result]:
    out = {name: folder / f"{command}-{number}{suffix}" for number, name in enumerate(sides)}

    def start(name: str) -> None:
        weights = folder / "weights.safetensors"
        where = CROP if (command, name) == ("translate", OTHER) else ()
        sides[name].run(command, folder / "face.png", *where, "--checkpoint", weights, "--out", out[name])

    for name in sides:
        start(name)
        if (command, name) != ("translate", OTHER):
            same(out["onnx"], out[name])
    for side in sides.values():  # the first start of each reads files that no cache holds
        side.cpu.clear(), side.memory.clear()
    wall = interleave({name: lambda name=name: seconds(lambda: start(name)) for name in sides}, ROUNDS)
    results = []
    for name, side in sides.items():
        took = f"{median(wall[name]):5.2f} s, CPU {median(side.cpu):5.2f} s, {median(side.memory) / 2**20:5.0f} MiB"
        print(f"{command:10} {name:20} {took}", flush=True)
        if name != "onnx":
            speed, memory = (TARGET, LESS_MEMORY) if name == OTHER else (None, None)
            results += [
                ratio(f"{command}: start, against {name}", wall[name], wall["onnx"], speed),
                ratio(f"{command}: its CPU time", side.cpu, sides["onnx"].cpu, speed),
                ratio(f"{command}: its memory", side.memory, sides["onnx"].memory, memory),
            ]
    return results


def _same_pictures(one: Path, other: Path) -> None:
    names = sorted(path.name for path in one.glob("face-*.png"))
    assert len(names) >= 5
    for name in names:
        a, b = (np.asarray(Image.open(folder / name), int) for folder in (one, other))
        assert abs(a - b).max() <= 1, f"{name} differs in {other.name}"


def _same_codes(one: Path, other: Path) -> None:
    for code in ("expression", "identity"):
        a, b = (np.array(read_table(path)[code].to_pylist()) for path in (one, other))
        assert np.allclose(a, b, atol=1e-4), f"{code} differs in {other.name}"


if __name__ == "__main__":
    for result in measure(*map(Path, sys.argv[1:2])):
        print(result.line())
