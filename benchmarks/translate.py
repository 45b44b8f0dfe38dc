"""Time to the first translated face, and a folder against one call a face: python benchmarks/translate.py [IMAGES].

The baseline starts as the public reference does: it imports matplotlib's pyplot, builds VGG19 twice and loads its
weights, initialises every network before the pickled weights replace what was drawn, makes each warp's grid in numpy
and keeps gradients. Both sides are processes of their own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torchvision
from common import Result, interleave, ratio, seconds
from PIL import Image

from facecycle.checkpoints import model_file
from facecycle.checkpoints.import_released import released_name
from facecycle.config.layers import preset_layers, resolve
from facecycle.networks import build_method

ROUNDS = 3
OURS = """
import atexit
from common import peak_bytes
from facecycle_cli.main import run
atexit.register(lambda: print(peak_bytes()))
run()
"""
"""The command, which tells at its end how much memory it took."""
PLAIN = """
import sys
import numpy, torch, torchvision
import matplotlib.pyplot
from PIL import Image
from reference import PlainWarper
from facecycle.api import Parts
from facecycle.data.images import from_uint8, to_uint8
from facecycle.data.pairs import seeded
from facecycle.method.encoder import FaceCycleEncoder
from facecycle.method.facecycle import FaceCycle, FaceCycleOptions
from facecycle.checkpoints.import_released import released_name

for _ in range(2):
    vgg = torchvision.models.vgg19(init_weights=False)
    vgg.load_state_dict(torch.load(sys.argv[4], weights_only=True))
method = FaceCycle(FaceCycleOptions())
method.assemble(Parts(lambda: FaceCycleEncoder(FaceCycleEncoder.Options()), PlainWarper(), 64))
weights = torch.load(sys.argv[1], weights_only=True)
named = {f"{network}.{key}": value for network, values in weights.items() for key, value in values.items()}
method.load_state_dict({name: named[released_name(name)] for name in method.state_dict()})
image = Image.open(sys.argv[2]).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
pixels = torch.from_numpy(numpy.array(image)).permute(2, 0, 1)[None]
panels = method.eval().translate(from_uint8(pixels), None, seeded("translate", 0), frozenset(method.panels_from))
for name in ("frontal", "neutral", "mean_face"):
    Image.fromarray(to_uint8(panels[name].detach())[0].permute(1, 2, 0).numpy()).save(f"{sys.argv[3]}/{name}.png")
"""


def measure(count: int = 1000) -> list[Result]:
    """Check that both make the same face, then time them in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = resolve(preset_layers("paper"))
        method = build_method(config, weights_follow=True)
        header = {"config": config.model_dump_json(), "trained": '["expression", "identity"]'}
        model_file.save_model(folder / "model.safetensors", method, header)
        networks: dict[str, dict[str, torch.Tensor]] = {}
        for key, tensor in method.state_dict().items():
            network, _, inner = released_name(key).partition(".")
            networks.setdefault(network, {})[inner] = tensor
        torch.save(networks, folder / "model.tar")
        torch.save(torchvision.models.vgg19().state_dict(), folder / "vgg19.pth")
        (folder / "faces").mkdir()
        (folder / "tenth").mkdir()
        for number in range(count):
            pixels = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8, generator=torch.manual_seed(number))
            image = Image.fromarray(pixels.numpy()).resize((96, 96), Image.Resampling.BICUBIC)
            image.save(folder / "faces" / f"{number}.png")
            if number % 10 == 0:
                image.save(folder / "tenth" / f"{number}.png")
        first = folder / "faces" / "0.png"

        def plain() -> None:
            _run("-c", PLAIN, folder / "model.tar", first, folder, folder / "vgg19.pth")

        def ours(images: Path, out: str) -> int:
            arguments = ("translate", images, "--detector", "centre", "--checkpoint", folder / "model.safetensors")
            arguments += ("--out", folder / out)
            return int(_run("-c", OURS, *arguments).split()[-1])

        plain(), ours(first, "one")
        a, b = (np.asarray(Image.open(p), float) for p in (folder / "neutral.png", folder / "one" / "0-neutral.png"))
        assert np.abs(a - b).max() <= 1, "the neutral faces differ"
        few, many = ours(folder / "tenth", "tenth-done"), []
        taken = interleave(
            {
                "plain": lambda: seconds(plain),
                "ours": lambda: seconds(lambda: ours(first, "one")),
                "folder": lambda: seconds(lambda: many.append(ours(folder / "faces", "all"))),
            },
            ROUNDS,
        )
    for side, each in taken.items():
        print(f"{side:8} {sorted(each)[len(each) // 2]:6.2f} s")
    print(f"memory: {few / 1024**2:.0f} MiB for {count // 10} images, {max(many) / 1024**2:.0f} MiB for {count}")
    alone = [count * one for one in taken["ours"]]
    return [
        ratio("translate: first result", taken["plain"], taken["ours"], target=2.2),
        ratio(f"translate: folder of {count}", alone, taken["folder"], target=4),
    ]


def _run(*arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent).stdout


if __name__ == "__main__":
    for result in measure(*map(int, sys.argv[1:2])):
        print(result.line())
