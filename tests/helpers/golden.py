"""Filled parameters and formula images: the inputs of the golden values, made the same on any machine."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from facecycle_plugins.warpers.reference import ReferenceWarper
from torch import Tensor

from facecycle.api import Parts
from facecycle.checkpoints.import_released import released_name
from facecycle.method.encoder import FaceCycleEncoder
from facecycle.method.facecycle import FaceCycle, FaceCycleOptions

GOLDEN = json.loads((Path(__file__).parent / "golden_values.json").read_text())
"""Computed with the public reference code."""


def filled(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the values of the parameter `<network>.<key>`; they depend on its name and shape alone."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    values *= math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.05
    if name.split(".", 1)[1].startswith("torgb"):
        values *= 0.1
    return torch.from_numpy(values.astype(np.float32))


def images(count: int, phase: float) -> Tensor:
    """Return images (count, 3, 64, 64) made of sines and cosines."""
    line = np.linspace(-1, 1, 64)
    y, x = np.meshgrid(line, line, indexing="ij")
    planes = [
        [np.sin((2 + c) * 1.3 * x + phase + i) + np.cos((3 - c) * 1.7 * y - 0.5 * phase + 0.3 * i) for c in range(3)]
        for i in range(count)
    ]
    return torch.from_numpy(np.asarray(planes).astype(np.float32))


def paper_networks() -> FaceCycle:
    """Return the paper's networks with filled parameters; the stems are frozen."""
    method = FaceCycle(FaceCycleOptions())
    method.assemble(
        Parts(
            encoder=lambda: FaceCycleEncoder(FaceCycleEncoder.Options()),
            warper=ReferenceWarper(ReferenceWarper.Options()),
            size=64,
        )
    )
    method.load_state_dict({k: filled(released_name(k), tuple(v.shape)) for k, v in method.state_dict().items()})
    method.generator.stem.requires_grad_(False)
    method.renormalizer.stem.requires_grad_(False)
    return method
