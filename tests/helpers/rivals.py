"""The rivals' golden values: networks filled by name, formula images, and the numbers that the public codes gave.

The files lie beside the project and not in it: not all of the codes state a licence.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from facecycle_plugins.warpers.reference import ReferenceWarper
from helpers.common import ROOT
from safetensors.torch import load_file
from torch import Tensor, nn

from facecycle.api import Parts
from facecycle.registry import build

FOLDER = ROOT.parent / "shared" / "golden" / "rivals"
SIZE = 256


def values(name: str) -> dict[str, Any]:
    """Return the recorded numbers of a file, or skip the test where it is absent."""
    if not (FOLDER / f"{name}.json").is_file():
        pytest.skip(f"the golden values {FOLDER / name}.json are not on this machine")
    return json.loads((FOLDER / f"{name}.json").read_text())


def maps(name: str) -> dict[str, Tensor]:
    """Return the recorded maps and codes of a file."""
    return load_file(FOLDER / f"{name}.safetensors")


def draw(name: str, *shape: int) -> np.ndarray:
    """Return normal numbers that depend on a name alone."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)


def filled(name: str, shape: Iterable[int], norm: bool, last: bool) -> Tensor:
    """Return the values of a parameter, by its golden name."""
    found = draw(name, *shape)
    found *= math.sqrt(2 / math.prod(found.shape[1:])) if found.ndim > 1 else 0.05
    if norm and name.endswith("weight"):
        found += 1
    return torch.from_numpy((found * (0.1 if last else 1)).astype(np.float32))


def images(numbers: Iterable[int]) -> Tensor:
    """Return formula images (n, 3, 256, 256), by their numbers."""
    line = np.linspace(-1, 1, SIZE)
    y, x = np.meshgrid(line, line, indexing="ij")
    planes = [
        [np.sin((2 + c) * 1.3 * x + 0.25 + i) + np.cos((3 - c) * 1.7 * y - 0.125 + 0.3 * i) for c in range(3)]
        for i in numbers
    ]
    return torch.from_numpy(np.asarray(planes).astype(np.float32))


def assembled(method: str, encoder: str, options: dict[str, Any], golden: dict[str, Any], ours: Renaming) -> Any:
    """Return a method at 256 px whose parameters are filled by the golden names.

    Args:
        method: its name.
        encoder: the paper's encoder.
        options: the encoder's.
        golden: the recorded numbers, with the names and shapes of the public networks.
        ours: a golden name to ours.
    """
    made = build("method", method)
    made.assemble(
        Parts(lambda: build("encoder", encoder, options), ReferenceWarper(ReferenceWarper.Options()), size=SIZE)
    )
    own = made.state_dict()
    found: dict[str, Tensor] = {}
    for entry in golden["names"]:
        name = ours(entry["name"])
        if "running" in name or "num_batches" in name:
            continue
        value = filled(entry["name"], entry["shape"], entry["norm"], entry["last"])
        if name.endswith("weight") and value.dim() == 4 and own[name].dim() == 2:
            value = value[:, :, 1:3, 1:3].flatten(1)  # a 4 x 4 convolution of a 2 x 2 map never reads its outer taps
        found[name] = value
    missing, unknown = made.load_state_dict(found, strict=False)
    assert not unknown
    # Ours adds the constants of a timm encoder's input, and batch norm's statistics begin as torch begins them.
    assert all("running" in name or "num_batches" in name or ".input." in name for name in missing), missing
    return made


Renaming = Callable[[str], str]


def close(found: Tensor, expected: Tensor) -> None:
    """Codes and maps agree to 1e-4 of the largest value; maps are recorded at each eighth pixel."""
    thin = found[..., ::8, ::8] if found.dim() == 4 else found
    assert thin.shape == expected.shape
    assert float((thin.detach() - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


def gradient_norms(loss: Tensor, networks: Mapping[str, nn.Module]) -> dict[str, float]:
    """Return the length of a loss's gradient over what is trained of each network, by one pass for all."""
    owned = [(name, p) for name, network in networks.items() for p in network.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, [p for _, p in owned], retain_graph=True, allow_unused=True)
    squares = dict.fromkeys(networks, 0.0)
    for (name, _), gradient in zip(owned, found, strict=True):
        squares[name] += 0.0 if gradient is None else gradient.double().square().sum().item()
    return {name: math.sqrt(square) for name, square in squares.items()}
