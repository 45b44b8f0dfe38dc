"""Images a second delivered to a training step, from files, the cache and shards: python benchmarks/data.py [TRACKS].

The baseline is the public reference's way: the track's directory is listed for each pair, and each image is opened,
resized and augmented alone, by torchvision's transforms on PIL images, in one process; every second pair is an image
and its mirror.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import Result, interleave, ratio, seconds
from PIL import Image
from torchvision import transforms
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.functional import hflip

from facecycle.config.layers import preset_layers, resolve
from facecycle.config.settings import RunConfig
from facecycle.data.batches import Batches
from facecycle.data.frame_cache import limit
from facecycle.data.images import MEAN, STD, read_square, resize
from facecycle.data.shards.write import write_shards
from facecycle.pretraining.videos import joined_tracks
from facecycle.registry import build

FRAMES = 6
SIDE = 224
STEPS = 20
WORKERS = 2
WARM = 5
ROUNDS = 3


def write_tracks(root: Path, tracks: int) -> None:
    """Render faces as JPEG files of VoxCeleb's size, one folder a track."""
    faces = build("dataset", "synthetic", {"identities": tracks, "takes": 2, "frames": FRAMES})
    for number, track in enumerate(faces.tracks()[::2]):
        pixels, _ = faces.images(track.frames, SIDE)
        folder = root / f"id{number:05d}" / "video"
        folder.mkdir(parents=True)
        for frame, image in enumerate(pixels):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{frame}.jpg", quality=90)


class PlainLoader:
    """Pairs as the reference makes them: track listed, images decoded and transforms built anew for every item."""

    def __init__(self, root: Path) -> None:
        self.tracks = sorted(path for path in root.glob("*/*"))

    def batch(self, step: int, pairs: int) -> torch.Tensor:
        rng = np.random.default_rng(step)
        chosen = rng.choice(len(self.tracks), pairs, replace=False)
        both = [self._pair(self.tracks[index], rng) for index in chosen]
        halves = [self._collate([pair[side] for pair in both]) for side in (0, 1)]
        mean, std = 255 * torch.from_numpy(MEAN), 255 * torch.from_numpy(STD)
        return torch.cat([half.float().sub_(mean).div_(std) for half in halves])

    def _pair(self, track: Path, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
        files = [entry.path for entry in os.scandir(track)]
        first, second = rng.integers(len(files), size=2)
        image = self._load(files[first])
        return image, hflip(image) if rng.random() > 0.5 else self._load(files[second])

    def _load(self, path: str) -> Image.Image:
        transform = transforms.Compose(
            [
                transforms.Resize(64),
                transforms.RandomResizedCrop(64, scale=(0.95, 1.05), ratio=(0.95, 1.05)),
                transforms.CenterCrop(64),
                transforms.RandomApply([transforms.ColorJitter(0.05, 0.05, 0.05, 0.01)], p=0.8),
                transforms.RandomHorizontalFlip(),
            ]
        )
        return transform(Image.open(path).convert("RGB"))

    def _collate(self, images: list[Image.Image]) -> torch.Tensor:
        pixels = torch.zeros(len(images), 3, 64, 64, dtype=torch.uint8)
        for row, image in enumerate(images):
            pixels[row] += torch.from_numpy(np.rollaxis(np.array(image), 2))
        return pixels


def decoders(root: Path) -> None:
    """Print what a JPEG file takes by Pillow, at half scale, and by torchvision, whose batches are resized at once."""
    files = sorted(root.glob("*/*/*.jpg"))[:300]

    def by_torchvision() -> None:
        contents = (torch.from_numpy(np.fromfile(file, np.uint8)) for file in files)
        decoded = [decode_jpeg(content, ImageReadMode.RGB) for content in contents]
        for part in range(0, len(decoded), 32):
            resize(torch.stack(decoded[part : part + 32]), 64)

    sides = {"Pillow": lambda: [read_square(file, 64) for file in files], "torchvision": by_torchvision}
    taken = interleave({name: partial(seconds, side) for name, side in sides.items()}, ROUNDS)
    said = ", ".join(f"{name} {1000 * min(each) / len(files):.2f} ms" for name, each in taken.items())
    print(f"a file of {SIDE} pixels: {said}")


def measure(tracks: int = 200) -> list[Result]:
    """Check that neither the cache nor shards change a pixel, then time the four ways in turn."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tracks"
        write_tracks(root, tracks)
        decoders(root)
        with limit(0):
            source = build("dataset", "tracks", {"path": str(root)})
            taken_to_write = seconds(lambda: write_shards(source, Path(folder) / "shards", 64, 1))
        print(f"written as shards: {tracks * FRAMES / taken_to_write:.0f} images/s")
        config, sharded = _config("tracks", root), _config("shards", Path(folder) / "shards")
        uncached = _batches(config, 0)
        first = uncached.batch(0)
        cached = _batches(config)
        assert torch.equal(cached.batch(0).first, first.first), "the cache changes pixels"
        cached.data.images(range(tracks * FRAMES), config.size)  # as after the first epoch
        shards = _batches(sharded)
        _check_pixels(cached, shards)
        plain = PlainLoader(root)
        config = config.model_copy(update={"workers": WORKERS})
        by_workers = _by_workers(_batches(config, 0))
        timed = range(1, STEPS + 1)  # the first batch is kept
        taken = interleave(
            {
                "plain": lambda: seconds(lambda: [plain.batch(step, config.pairs) for step in timed]),
                "uncached": lambda: seconds(lambda: [uncached.batch(step) for step in timed]),
                "cached": lambda: seconds(lambda: [cached.batch(step) for step in timed]),
                "shards": lambda: seconds(lambda: [shards.batch(step) for step in timed]),
                "uncached, by workers": by_workers,
            },
            ROUNDS,
        )
    images = 2 * config.pairs * STEPS
    for name, each in taken.items():
        print(f"{name:20} {images / sorted(each)[len(each) // 2]:8.0f} images/s")
    return [
        ratio("data: decoded cache", taken["plain"], taken["cached"], target=20),
        ratio("data: no cache", taken["plain"], taken["uncached"], target=4),
        ratio(f"data: no cache, {WORKERS} workers", taken["plain"], taken["uncached, by workers"], target=4),
        ratio("data: shards", taken["plain"], taken["shards"]),
    ]


def _check_pixels(files: Batches, shards: Batches) -> None:
    """Compare the first frame of each track."""
    found = {track.name: track.frames[0] for track in files.data.tracks}
    ours, _ = shards.data.images([track.frames[0] for track in shards.data.tracks], 64)
    theirs, _ = files.data.images([found[track.name] for track in shards.data.tracks], 64)
    assert torch.equal(ours, theirs), "shards change pixels"


def _config(name: str, path: Path) -> RunConfig:
    data = [{"name": name, "options": {"path": str(path)}}]
    return resolve([*preset_layers("small"), ("benchmark", {"data": data})])


def _batches(config: RunConfig, gigabytes: float = 4) -> Batches:
    """Return the batches of a run; without gigabytes there is nothing to keep frames in."""
    batches = Batches(joined_tracks(config), config, "direct", config.stages["direct"])
    with limit(gigabytes):
        batches.data.images([0], config.size)
    return batches


def _by_workers(batches: Batches) -> Callable[[], float]:
    """Return what measures the seconds of `STEPS` steps, made ahead by processes that have started already."""

    def measured() -> float:
        made = batches.iterate(1, 1 + WARM + 10 * STEPS)
        for _ in range(WARM):
            next(made)
        return seconds(lambda: list(made)) / 10

    return measured


if __name__ == "__main__":
    for result in measure(*map(int, sys.argv[1:2])):
        print(result.line())
