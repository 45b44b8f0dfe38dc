"""uint8 pixels to the normalised space networks read and write, and back."""

from __future__ import annotations

import torch
from torch import Tensor

# ImageNet statistics, RGB, for pixel values in [0, 1].
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def _statistics(like: Tensor) -> tuple[Tensor, Tensor]:
    mean = torch.tensor(MEAN, dtype=like.dtype, device=like.device).view(3, 1, 1)
    std = torch.tensor(STD, dtype=like.dtype, device=like.device).view(3, 1, 1)
    return mean, std


def normalise(unit: Tensor) -> Tensor:
    """Map RGB (..., 3, H, W) in [0, 1] to the normalised space."""
    mean, std = _statistics(unit)
    return (unit - mean).div_(std)


def denormalise(images: Tensor) -> Tensor:
    """Map normalised (..., 3, H, W) to RGB in [0, 1], clamped."""
    mean, std = _statistics(images)
    return (images * std + mean).clamp(0, 1)


def from_uint8(pixels: Tensor) -> Tensor:
    """Map uint8 RGB (..., 3, H, W) to the normalised space, float32."""
    return normalise(pixels.float() / 255)


def to_uint8(images: Tensor) -> Tensor:
    """Map normalised (..., 3, H, W) to uint8 RGB, rounded to the nearest level."""
    return (denormalise(images.float()) * 255).round().to(torch.uint8)
