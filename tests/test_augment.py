"""Augmentation acts on each image of a batch by its own draw, and not at all when told so."""

from __future__ import annotations

import torch
from torchvision.transforms.v2 import functional as tv

from facecycle.config import AugmentationConfig
from facecycle.data.augment import (
    CROP_DRAWS,
    DRAWS,
    JITTER_DRAWS,
    augment,
    colour_jitter,
    greyscale,
    random_crop,
)
from facecycle.data.normalise import denormalise, from_uint8, to_uint8

NOTHING = AugmentationConfig(crop_scale=(1, 1), crop_ratio=(1, 1), jitter_probability=0.0, mirror_probability=0.0)


def pixels(count: int, size: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(count: int, images: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, images, generator=rng(seed))


def test_with_every_change_off_images_pass_through() -> None:
    x = pixels(4)
    assert torch.allclose(augment(x, NOTHING, uniform(DRAWS, 4)), x.float() / 255, atol=1e-6)


def test_a_mirrored_crop_is_the_crop_in_a_mirror() -> None:
    x, chosen = torch.rand(4, 3, 8, 10, generator=rng(3)), torch.tensor([True, False, True, False])
    plain = random_crop(x, (0.5, 0.9), (0.8, 1.2), uniform(CROP_DRAWS, 4))
    mirrored = random_crop(x, (0.5, 0.9), (0.8, 1.2), uniform(CROP_DRAWS, 4), chosen)
    assert torch.allclose(mirrored[chosen], plain[chosen].flip(-1), atol=1e-5)
    assert torch.equal(mirrored[~chosen], plain[~chosen])


def test_images_are_changed_independently() -> None:
    x = pixels(1).expand(8, -1, -1, -1).contiguous()
    out = augment(x, AugmentationConfig(), uniform(DRAWS, 8))
    assert len({image.numpy().tobytes() for image in out}) == 8


def test_a_crop_keeps_constant_images_constant_and_stays_inside() -> None:
    x = torch.full((6, 3, 16, 16), 0.3)
    assert torch.allclose(random_crop(x, (0.5, 1.05), (0.8, 1.2), uniform(CROP_DRAWS, 6)), x)


def test_a_crop_moves_by_the_same_rule_as_cutting_and_resizing() -> None:
    x = torch.rand(1, 3, 32, 32, generator=rng(3))
    draws = uniform(CROP_DRAWS, 1, 5)
    out = random_crop(x, (0.25, 0.25), (1, 1), draws)
    # The last two draws are the centre.
    left, top = (((draw * 2 - 1) * 0.5 + 0.5) * 32 - 8 for draw in draws[-2:])
    lo_x, hi_x, lo_y, hi_y = int(left), int(left) + 17, int(top), int(top) + 17
    window = x[:, :, lo_y:hi_y, lo_x:hi_x]
    assert window.amin() - 1e-6 <= out.amin()
    assert out.amax() <= window.amax() + 1e-6


def test_a_crop_that_never_fits_takes_the_whole_image() -> None:
    x = torch.rand(4, 3, 8, 8, generator=rng(3))
    assert torch.allclose(random_crop(x, (1.1, 1.2), (0.9, 1.1), uniform(CROP_DRAWS, 4)), x, atol=1e-6)


def test_grey_images_are_grey_where_chosen() -> None:
    x = torch.rand(2, 3, 8, 8, generator=rng(3))
    out = greyscale(x, torch.tensor([True, False]))
    assert torch.equal(out[0, 0], out[0, 2])
    assert torch.allclose(out[0, :1], tv.rgb_to_grayscale(x[0]), atol=1e-3)
    assert torch.equal(out[1], x[1])


def test_jitter_agrees_with_torchvision_where_one_property_changes() -> None:
    x = torch.rand(1, 3, 8, 8, generator=rng(3))
    for index, adjust in enumerate((tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation)):
        strength = [0.0, 0.0, 0.0, 0.0]
        strength[index] = 0.4
        draws = uniform(JITTER_DRAWS, 1, 7)
        factors = [float(draw * 2 * s + 1 - s) for draw, s in zip(draws, strength[:3], strict=False)]
        out = colour_jitter(x, tuple(strength), 1.0, draws)  # type: ignore[arg-type]
        assert torch.allclose(out, adjust(x, factors[index]), atol=2e-3)


def test_a_turned_hue_keeps_the_luma() -> None:
    x = torch.rand(4, 3, 8, 8, generator=rng(3)) * 0.4 + 0.3
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    out = colour_jitter(x, (0, 0, 0, 0.05), 1.0, uniform(JITTER_DRAWS, 4))
    assert not torch.allclose(out, x, atol=1e-3)
    assert torch.allclose((out * luma).sum(1), (x * luma).sum(1), atol=1e-4)


def test_normalisation_round_trips_every_level() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(to_uint8(from_uint8(levels)), levels)
    assert denormalise(torch.full((1, 3, 2, 2), 9.0)).max() == 1
