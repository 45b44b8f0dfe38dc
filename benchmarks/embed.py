"""How near embedding comes to the machine's peak: python benchmarks/embed.py [IMAGES].

The encoder's own floating point operations a second against those of a large convolution, measured in turn.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from common import Result, interleave, seconds
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from facecycle.checkpoints import model_file
from facecycle.config.layers import preset_layers, resolve
from facecycle.networks import Loaded, build_method, load
from facecycle.probing.embed import embed_files
from facecycle.runtimes.by_torch import TorchRuntime

ROUNDS = 3


def make_checkpoint(path: Path, preset: str) -> Loaded:
    """Return an untrained checkpoint of a preset: speed does not depend on the weights."""
    config = resolve(preset_layers(preset))
    header = {"config": config.model_dump_json(), "trained": '["expression", "identity"]'}
    model_file.save_model(path, build_method(config, weights_follow=True), header)
    return load(path)


def peak() -> float:
    """Return the floating point operations a second of a convolution that suits the machine."""
    layer = nn.Conv2d(256, 256, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.randn(32, 256, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        layer(x)
        taken = seconds(lambda: layer(x))
    return 2 * 32 * 32 * 32 * 256 * 256 * 9 / taken


def measure(count: int = 512) -> list[Result]:
    """Embed a folder with the encoders of `small` and `paper`."""
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        codes = folder / "codes.parquet"
        paths = [folder / f"{number}.jpg" for number in range(count)]
        for number, path in enumerate(paths):
            pixels = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8, generator=torch.manual_seed(number))
            Image.fromarray(pixels.numpy()).resize((96, 96), Image.Resampling.BICUBIC).save(path)
        for preset in ("small", "paper"):
            loaded = make_checkpoint(folder / f"{preset}.safetensors", preset)
            image = torch.zeros(1, 3, 64, 64)
            with FlopCounterMode(display=False) as counter, torch.inference_mode():
                loaded.method.features(image, frozenset({"expression", "identity"}))
            work = counter.get_total_flops() * count
            taken = interleave(
                {
                    "embed": lambda loaded=loaded: seconds(lambda: embed_files(TorchRuntime(loaded), paths, codes)),
                    "peak": peak,
                },
                ROUNDS,
            )
            shares = [work / s / p for s, p in zip(taken["embed"], taken["peak"], strict=True)]
            speed, best = work / min(taken["embed"]) / 1e9, max(taken["peak"]) / 1e9
            print(f"{preset:6} {count / min(taken['embed']):6.0f} images/s  {speed:6.1f} of {best:.1f} GFLOP/s")
            share = sorted(shares)[len(shares) // 2]
            results.append(Result(f"embed: share of peak, {preset}", share, min(shares), max(shares)))
    return results


if __name__ == "__main__":
    for result in measure(*map(int, sys.argv[1:2])):
        print(result.line())
