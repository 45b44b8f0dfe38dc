"""YuNet's network: images to its three maps, through onnxruntime where that is installed, and torch elsewhere.

Both read the one file `weights/yunet.safetensors`; the graph `weights/yunet.onnx` holds none of the weights.

Source: Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector" (Machine Intelligence Research, 2023).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from facecycle.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

STRIDES = (8, 16, 32)
"""Pixels per cell of each map."""
WEIGHTS = Path(__file__).parent / "weights"
Runtime = Literal["onnx", "torch"]
Network = Callable[[np.ndarray], list[np.ndarray]]
"""Images (B, 3, H, W), float32 BGR in [0, 255], H and W multiples of 32, to a map (B, 16, H / s, W / s) per stride.

Its channels are the logits of class and of objectness, 4 numbers of the box and 10 of the landmarks.
"""


def open_network(runtime: Runtime | None) -> Network:
    """Open the network in the given runtime; None takes onnxruntime where it is installed.

    Raises:
        ConfigError: onnxruntime was asked for and is not installed.
    """
    installed = importlib.util.find_spec("onnxruntime") is not None
    if runtime == "onnx" and not installed:
        raise ConfigError(
            "the detector yunet cannot run in onnxruntime, because that is not installed",
            hint="Install it: pip install 'facecycle[onnx]'. Without runtime=onnx torch is taken.",
        )
    return _in_onnxruntime() if installed and runtime != "torch" else _in_torch()


def _in_onnxruntime() -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more threads take longer to agree than so small a network to compute
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(WEIGHTS / "yunet.onnx", options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def _in_torch() -> Network:
    import torch
    from safetensors.torch import load_file

    weights = load_file(WEIGHTS / "yunet.safetensors")

    def run(images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            found = forward(weights, torch.from_numpy(images).contiguous(memory_format=torch.channels_last))
        return [each.contiguous().numpy() for each in found]

    return run


def forward(weights: dict[str, Tensor], images: Tensor) -> list[Tensor]:
    """Compute the maps of the three strides (see `Network`)."""
    import torch
    import torch.nn.functional as F

    def conv(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = weights[f"{name}.weight"]
        return F.conv2d(x, weight, weights[f"{name}.bias"], stride, weight.shape[-1] // 2, groups=groups)

    def unit(x: Tensor, name: str) -> Tensor:
        """Mix the channels, then filter each of them."""
        mixed = conv(x, f"{name}.conv1")
        return conv(mixed, f"{name}.conv2", groups=mixed.shape[1])

    def block(x: Tensor, name: str) -> Tensor:
        return unit(unit(x, f"{name}.conv1").relu(), f"{name}.conv2").relu()

    x = unit(conv(images, "backbone.model0.conv1", stride=2).relu(), "backbone.model0.conv2").relu()
    x = block(block(F.max_pool2d(x, 2), "backbone.model1"), "backbone.model2")
    levels = []
    for name in ("backbone.model3", "backbone.model4", "backbone.model5"):
        x = block(F.max_pool2d(x, 2), name)
        levels.append(x)
    for level in (2, 1, 0):
        if level < 2:
            levels[level] = levels[level] + F.interpolate(levels[level + 1], scale_factor=2.0, mode="nearest")
        levels[level] = unit(levels[level], f"neck.lateral_convs.{level}").relu()
    heads = ("cls", "obj", "bbox", "kps")
    return [
        torch.cat([unit(features, f"bbox_head.multi_level_{head}.{level}") for head in heads], dim=1)
        for level, features in enumerate(levels)
    ]
