"""Augmentation of whole batches: random crop, colour jitter and mirror, each image with its own draw."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from facecycle.config import AugmentationConfig

TRIES = 10
_LUMA = (0.299, 0.587, 0.114)
# RGB to YIQ: a rotation in its (I, Q) plane turns the hue and keeps the luma.
_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def random_crop(
    images: Tensor, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Cut a random rectangle out of each image (B, 3, H, W) and resize it back to (H, W), bilinear.

    As torchvision's RandomResizedCrop, a rectangle that does not fit is drawn again, up to ten times; then
    the whole image is taken.

    Args:
        images: float images.
        scale: range of the rectangle's area over the image's.
        ratio: range of width over height, drawn log-uniformly.
        generator: source of the draws.
    """
    count = len(images)
    area = _uniform(count * TRIES, *scale, generator).view(count, TRIES)
    aspect = torch.exp(_uniform(count * TRIES, math.log(ratio[0]), math.log(ratio[1]), generator)).view(count, TRIES)
    widths, heights = (area * aspect).sqrt(), (area / aspect).sqrt()
    fits = (widths <= 1) & (heights <= 1)
    first = fits.int().argmax(1, keepdim=True)
    none = ~fits.any(1)
    width, height = (sides.gather(1, first).squeeze(1).masked_fill(none, 1) for sides in (widths, heights))
    # The centre moves as far as the rectangle leaves room, in grid units [-1, 1].
    x = _uniform(count, -1, 1, generator) * (1 - width)
    y = _uniform(count, -1, 1, generator) * (1 - height)
    zero = torch.zeros(count)
    matrix = torch.stack([torch.stack([width, zero, x], 1), torch.stack([zero, height, y], 1)], 1)
    grid = F.affine_grid(matrix.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def colour_jitter(
    images: Tensor,
    strength: tuple[float, float, float, float],
    probability: float,
    generator: torch.Generator,
) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image (B, 3, H, W) in [0, 1], in this order.

    Args:
        images: RGB in [0, 1].
        strength: brightness, contrast and saturation factors are drawn from [1 - s, 1 + s]; the hue is
            turned by up to s turns.
        probability: of an image being changed at all.
        generator: source of the draws.
    """
    count = len(images)
    brightness, contrast, saturation = (
        _uniform(count, 1 - s, 1 + s, generator).view(-1, 1, 1, 1) for s in strength[:3]
    )
    angle = _uniform(count, -strength[3], strength[3], generator) * 2 * math.pi
    chosen = torch.rand(count, generator=generator) < probability
    luma = torch.tensor(_LUMA).view(1, 3, 1, 1)
    x = (images * brightness).clamp(0, 1)
    grey = (x * luma).sum(1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    x = (grey + (x - grey) * contrast).clamp(0, 1)
    grey = (x * luma).sum(1, keepdim=True)
    x = (grey + (x - grey) * saturation).clamp(0, 1)
    x = torch.einsum("bij,bjhw->bihw", _hue_rotation(angle), x).clamp(0, 1)
    return torch.where(chosen.view(-1, 1, 1, 1), x, images)


def _hue_rotation(angle: Tensor) -> Tensor:
    """Return the RGB matrices (B, 3, 3) that turn the hue by `angle` (B,) radians."""
    to_yiq = torch.tensor(_YIQ)
    rotation = torch.zeros(len(angle), 3, 3)
    rotation[:, 0, 0] = 1
    rotation[:, 1, 1] = rotation[:, 2, 2] = angle.cos()
    rotation[:, 1, 2] = -angle.sin()
    rotation[:, 2, 1] = angle.sin()
    return torch.linalg.inv(to_yiq) @ rotation @ to_yiq


def greyscale(images: Tensor, chosen: Tensor) -> Tensor:
    """Replace the images (B, 3, H, W) by their luma, in all three channels, where `chosen` (B,) is True."""
    luma = torch.tensor(_LUMA).view(1, 3, 1, 1)
    grey = (images * luma).sum(1, keepdim=True).expand_as(images)
    return torch.where(chosen.view(-1, 1, 1, 1), grey, images)


def mirror(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror the images (B, 3, H, W) where `chosen` (B,) is True."""
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(-1), images)


def augment(pixels: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    """Map uint8 RGB (B, 3, H, W) to augmented float RGB in [0, 1] of the same shape.

    Source: FaceCycle (ICCV 2021), section 4.1. Colour changes come in a fixed order, where the paper's
    code draws the order too.
    """
    images = random_crop(pixels.float() / 255, config.crop_scale, config.crop_ratio, generator)
    images = colour_jitter(images, config.jitter, config.jitter_probability, generator)
    return mirror(images, torch.rand(len(images), generator=generator) < config.mirror_probability)
