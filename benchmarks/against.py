"""Whole commands of this build against another checkout of facecycle: python benchmarks/against.py CHECKOUT [WHAT...].

Each row is a command that both run in turn as a process of one thread, with nothing cached, and the ratio of their
seconds of processor time. The other checkout needs an environment of its own in .venv. What both found is compared.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import Result, interleave, ratio
from PIL import Image

from facecycle.registry import build

HERE = Path(__file__).parents[1]
NOISE = 12.0
"""Deviation of the grey levels that are added, so that rendered emotions are about as hard as real ones."""


def rendered(count: int, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Return grey rendered faces with noise, uint8 (n, S, S), and the numbers of their emotions."""
    options = {"identities": -(-count // 8), "test_identities": 20, "takes": 2, "frames": 4}
    dataset = build("dataset", "synthetic", options)
    labels = dataset.labelled("emotion")
    pixels = dataset.images(labels.frames[:count].tolist(), size)[0].float().mean(dim=1)
    noisy = pixels + NOISE * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    return noisy.clamp(0, 255).byte().numpy(), labels.targets[:count]


def emotion(folder: Path, train: int = 4000, test: int = 3589) -> list[str]:
    """The probe of emotions, protocol linear, of as many images as a file of FER-2013's layout has here."""
    images, emotions = rendered(train + test)
    order = np.random.default_rng(0).permutation(len(images))
    rows = [f"{emotions[i]},{' '.join(map(str, images[i].ravel()))}" for i in order]
    usage = ["Training"] * train + ["PrivateTest"] * test
    lines = [f"{row},{split}" for row, split in zip(rows, usage, strict=True)]
    (folder / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]))
    return ["probe", "--task", "emotion", "--data", f"fer2013:{folder / 'fer2013.csv'}", "--out", "found"]


def verify(folder: Path, people: int = 710, pairs: int = 5400) -> list[str]:
    """The probe of verification: ten images of each person, and pairs in the layout of CPLFW."""
    images, _ = rendered(10 * people, 64)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"p{number // 10}_{number % 10}.png")
    rng = np.random.default_rng(0)
    lines = []
    for number in range(pairs):
        one, other = rng.choice(people, 2, replace=False)
        a, b = rng.choice(10, 2, replace=False)
        same = number % 2 == 0
        lines.append(f"p{one}_{a}.png p{one if same else other}_{b}.png {int(same)}")
    (folder / "pairs_CPLFW.txt").write_text("\n".join(lines))
    return ["probe", "--task", "verify", "--data", f"cplfw:{folder}", "--out", "found"]


def embed(folder: Path, count: int = 2000) -> list[str]:
    """Codes of a folder of JPEG files."""
    images, _ = rendered(count, 96)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.jpg")
    return ["embed", str(folder), "--out", "codes.parquet"]


def start(folder: Path) -> list[str]:
    """Codes of one image: what a command needs before it computes."""
    return embed(folder, 1)


COMMANDS: dict[str, tuple[Callable[[Path], list[str]], int]] = {
    "start": (start, 5),
    "embed": (embed, 3),
    "verify": (verify, 1),
    "emotion": (emotion, 1),
}
"""What is measured, and in how many rounds."""


def seconds(checkout: Path, command: list[str], out: Path) -> float:
    """Run a command of a checkout in an empty folder, and return its seconds of processor time."""
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "XDG_CACHE_HOME": cache, "OMP_NUM_THREADS": "1", "FACECYCLE_PLUGINS": ""}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out.mkdir(exist_ok=True)
        program = checkout / ".venv" / "bin" / "facecycle"
        subprocess.run([program, *command], env=env, cwd=out, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(what: str, outs: dict[str, Path]) -> None:
    """Print what both builds found, side by side."""
    ours, theirs = (json.loads((outs[side] / "found" / "result.json").read_text())["rows"] for side in outs)
    print(f"{what}: {len(ours)} rows, accuracy in % here and there, and what was chosen in the first fold")
    for row, other in zip(ours, theirs, strict=True):
        here, there = (100 * each["metrics"]["accuracy"] for each in (row, other))
        chosen = [next(iter(each["chosen"].values()), None) for each in (row, other)]
        print(f"  {row['feature']:28} {here:6.2f} {there:6.2f}   {chosen[0]} {chosen[1]}")


def measure(other: Path, wanted: list[str]) -> list[Result]:
    """Run every wanted command of both builds in turn, and compare the results of probes."""
    results = []
    for what in wanted or COMMANDS:
        prepare, rounds = COMMANDS[what]
        with tempfile.TemporaryDirectory() as name:
            data = Path(name) / "data"
            data.mkdir()
            command = prepare(data)
            outs = {"ours": Path(name) / "ours", "theirs": Path(name) / "theirs"}
            sides = {
                "ours": partial(seconds, HERE, command, outs["ours"]),
                "theirs": partial(seconds, other.resolve(), command, outs["theirs"]),
            }
            taken = interleave(sides, rounds)
            print(f"{what}: {min(taken['theirs']):.1f} s there, {min(taken['ours']):.1f} s here", flush=True)
            if command[0] == "probe":
                compare(what, outs)
            results.append(ratio(f"against: {what}", taken["theirs"], taken["ours"]))
    return results


if __name__ == "__main__":
    for result in measure(Path(sys.argv[1]), sys.argv[2:]):
        print(result.line())
