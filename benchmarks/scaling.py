"""How cost grows: python benchmarks/scaling.py [MOST_FILES]. Draws scaling.png and prints the exponents.

Time and memory of indexing and of decoding into the cache against the number of files, and of a training step against
the batch and the image size. An exponent of 1 is linear growth.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import peak_bytes, seconds
from data import write_tracks
from matplotlib.figure import Figure
from step import Step, config_of

from facecycle.machine import keep_pages

PER_TRACK = 10
MOST_CACHED = 100_000
"""A million frames of 64 pixels are more than the cache may take."""
HERE = Path(__file__).parent
INDEX = """
import sys, time
from common import peak_bytes
from facecycle.registry import build
import facecycle_plugins.datasets.unlabelled.tracks
before, start = peak_bytes(), time.perf_counter()
dataset = build("dataset", "tracks", {"path": sys.argv[1]})
count = sum(len(track.frames) for track in dataset.tracks())
print(time.perf_counter() - start, peak_bytes() - before, count)
"""


def _run_twice(script: str, root: Path) -> list[list[float]]:
    """Return the numbers that a script prints of a tree, from its first and its second run with one cache."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(root.parent / "cache")}
    command = [sys.executable, "-c", script, str(root)]
    runs = [
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=HERE)
        for _ in range(2)
    ]
    return [[float(part) for part in done.stdout.split()] for done in runs]


def index(most: int) -> dict[str, list[tuple[float, float]]]:
    """Return seconds of a first and a second start, and the MiB of the first, by number of files."""
    found: dict[str, list[tuple[float, float]]] = {"first index, s": [], "later index, s": [], "index, MiB": []}
    count = 1000
    with tempfile.TemporaryDirectory() as name:
        root, made = Path(name) / "tree", 0
        while count <= most:
            for track in range(made // PER_TRACK, count // PER_TRACK):
                folder = root / f"id{track // 100:05d}" / f"video{track % 100:02d}"
                folder.mkdir(parents=True)
                for frame in range(PER_TRACK):
                    (folder / f"{frame}.jpg").touch()
            made = count
            lines = _run_twice(INDEX, root)
            assert [line[2] for line in lines] == [count] * 2, "frames are missing from the index"
            found["first index, s"].append((count, lines[0][0]))
            found["later index, s"].append((count, lines[1][0]))
            found["index, MiB"].append((count, lines[0][1] / 1024**2))
            count *= 10
    return found


CACHE = """
import sys, time
from common import peak_bytes
from facecycle.registry import build
dataset = build("dataset", "tracks", {"path": sys.argv[1]})
count = sum(len(track.frames) for track in dataset.tracks())
dataset.images([0], 64)
before, start = peak_bytes(), time.perf_counter()
for first in range(0, count, 100):
    dataset.images(range(first, first + 100), 64)
print(time.perf_counter() - start, peak_bytes() - before)
"""


def cache(most: int) -> dict[str, list[tuple[float, float]]]:
    """Return seconds of decoding every file into the cache and of reading it again, and the MiB it took."""
    found: dict[str, list[tuple[float, float]]] = {"cache filled, s": [], "cache read, s": [], "cache filled, MiB": []}
    count = 1000
    with tempfile.TemporaryDirectory() as name:
        root, made = Path(name) / "tree", 0
        write_tracks(Path(name) / "faces", 20)
        faces = sorted((Path(name) / "faces").glob("*/*/*.jpg"))
        while count <= most:
            for number in range(made, count):
                folder = root / f"id{number // 1000:05d}" / f"video{number // PER_TRACK % 100:02d}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{number % PER_TRACK}.jpg").hardlink_to(faces[number % len(faces)])
            made = count
            lines = _run_twice(CACHE, root)
            found["cache filled, s"].append((count, lines[0][0]))
            found["cache read, s"].append((count, lines[1][0]))
            found["cache filled, MiB"].append((count, lines[0][1] / 1024**2))
            count *= 10
    return found


def steps() -> dict[str, list[tuple[float, float]]]:
    """Return seconds and MiB of a step of `small`, generator included, by images in the batch and by pixels."""
    found: dict[str, list[tuple[float, float]]] = {}
    by = {"images": [(2 * pairs, pairs, 64) for pairs in (2, 4, 8, 16, 32)]}
    by["pixels"] = [(size * size, 4, size) for size in (32, 64, 96, 128)]
    for name, cases in by.items():
        for x, *case in cases:
            command = [sys.executable, __file__, "--step", *map(str, case)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            taken, peak = map(float, done.stdout.split())
            found.setdefault(f"step by {name}, s", []).append((x, taken))
            found.setdefault(f"step by {name}, MiB", []).append((x, peak / 1024**2))
    return found


def _print_step(pairs: int, size: int) -> None:
    keep_pages()
    taken = Step(config_of("small", f"pairs={pairs}", f"size={size}"))
    images = taken.images()

    def step() -> None:
        taken.loss(images).backward()

    before = peak_bytes()
    step()
    print(min(seconds(step) for _ in range(3)), peak_bytes() - before)


def main() -> None:
    """Measure, draw, and print the slope of each line in the logarithms."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    curves = {**index(most), **cache(min(most, MOST_CACHED)), **steps()}
    figure = Figure(figsize=(20, 7), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(2, 5).flat, curves.items(), strict=True):
        x, y = np.array(points).T
        slope = np.polyfit(np.log(x), np.log(np.maximum(y, 1e-6)), 1)[0]
        axes.loglog(x, y, "o-")
        axes.set_title(f"{name}: exponent {slope:.2f}", fontsize=9)
        values = ", ".join(f"{a:,.0f}: {b:.3g}" for a, b in points)
        print(f"{name:20} exponent {slope:5.2f}   {values}")
    figure.savefig("scaling.png", dpi=100)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        _print_step(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
