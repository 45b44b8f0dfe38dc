"""Augmentation of whole batches: random crop, colour jitter and mirror, each image with its own draw."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from facecycle.config.settings import AugmentationConfig

TRIES = 10
CROP_DRAWS = 2 * TRIES + 2
JITTER_DRAWS = 5
DRAWS = 1 + CROP_DRAWS + JITTER_DRAWS
"""Uniform numbers that the augmentation of an image takes."""
LUMA = torch.tensor([0.299, 0.587, 0.114])
# RGB to YIQ: a rotation in its (I, Q) plane turns the hue and keeps the luma.
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
# What a turn by an angle is in RGB: the first matrix, plus the second times its cosine, plus the third times its sine.
TURN = (
    YIQ.inverse()
    @ torch.tensor(
        [[[1.0, 0, 0], [0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, -1], [0, 1, 0]]]
    )
    @ YIQ
)
GREY = LUMA.expand(3, 3)


def random_crop(
    images: Tensor,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    draws: Tensor,
    mirrored: Tensor | None = None,
) -> Tensor:
    """Cut a random rectangle out of each image (B, 3, H, W) and resize it back to (H, W), bilinear.

    As torchvision's RandomResizedCrop, a rectangle that does not fit is drawn again, up to ten times; then
    the whole image is taken.

    Args:
        images: float images.
        scale: range of the rectangle's area over the image's.
        ratio: range of width over height, drawn log-uniformly.
        draws: (CROP_DRAWS, B) uniform numbers.
        mirrored: (B,) which results to mirror: reading the rectangle from right to left costs nothing.
    """
    count = len(images)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    areas, logs, centres = draws.split((TRIES, TRIES, 2))
    area, aspect = areas * (scale[1] - scale[0]) + scale[0], torch.exp(logs * (high - low) + low)
    sides = torch.stack([area * aspect, area / aspect]).sqrt_()
    fits = (sides <= 1).all(0)
    first = fits.int().argmax(0)
    sides = sides[:, first, torch.arange(count)].masked_fill_(~fits.any(0), 1)
    # The centre moves as far as the rectangle leaves room, in grid units [-1, 1].
    x, y = (2 * centres - 1) * (1 - sides)
    width, height = sides
    if mirrored is not None:
        width = torch.where(mirrored, -width, width)
    grid = torch.empty(count, 2, *images.shape[2:])
    grid[:, 0] = torch.addcmul(x[:, None], _centres(images.shape[3]), width[:, None])[:, None]
    grid[:, 1] = torch.addcmul(y[:, None], _centres(images.shape[2]), height[:, None])[:, :, None]
    return F.grid_sample(images, grid.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def _centres(length: int) -> Tensor:
    """Return where the pixels of a line lie in [-1, 1]."""
    return (2 * torch.arange(length) + 1) / length - 1


def colour_jitter(
    images: Tensor,
    strength: tuple[float, float, float, float],
    probability: float,
    draws: Tensor,
) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image (B, 3, H, W) in [0, 1], in this order.

    Args:
        images: RGB in [0, 1].
        strength: brightness, contrast and saturation factors are drawn from [1 - s, 1 + s]; the hue is
            turned by up to s turns.
        probability: of an image being changed at all.
        draws: (JITTER_DRAWS, B) uniform numbers.
    """
    left_alone = draws[4] >= probability
    # An image that is left alone has all changes 0: factors of 1, and a hue turned by nothing.
    changes = ((2 * draws[:4] - 1) * torch.tensor(strength)[:, None]).masked_fill_(left_alone, 0)
    brightness, contrast, saturation = (1 + changes[:3])[..., None, None]
    angle = changes[3].view(-1, 1, 1) * 2 * math.pi
    hue = TURN[0] + TURN[1] * angle.cos() + TURN[2] * angle.sin()
    x = (images.flatten(2) * brightness).clamp_(0, 1)
    grey = (x.mean(2) @ LUMA).view(-1, 1, 1)
    x.mul_(contrast).add_(grey * (1 - contrast)).clamp_(0, 1)
    x = (torch.lerp(GREY, torch.eye(3), saturation) @ x).clamp_(0, 1)
    return (hue @ x).clamp_(0, 1).view_as(images)


def greyscale(images: Tensor, chosen: Tensor) -> Tensor:
    """Replace the images (B, 3, H, W) by their luma, in all three channels, where `chosen` (B,) is True."""
    grey = (images * LUMA.view(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(images)
    return torch.where(chosen.view(-1, 1, 1, 1), grey, images)


def augment(pixels: Tensor, config: AugmentationConfig, draws: Tensor) -> Tensor:
    """Map uint8 RGB (B, 3, H, W) to augmented float RGB in [0, 1] of the same shape.

    Source: FaceCycle (ICCV 2021), section 4.1. Colour changes come in a fixed order, where the paper's
    code draws the order too. `draws` (DRAWS, B) holds uniform numbers, a column for each image: what happens to
    one depends on no other.
    """
    mirror, crop, jitter = draws.split((1, CROP_DRAWS, JITTER_DRAWS))
    mirrored = mirror[0] < config.mirror_probability
    images = random_crop(pixels.float() / 255, config.crop_scale, config.crop_ratio, crop, mirrored)
    return colour_jitter(images, config.jitter, config.jitter_probability, jitter)
