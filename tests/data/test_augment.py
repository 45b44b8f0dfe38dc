"""Augmentation acts on each image of a batch by its own draw, and not at all when told so."""

from __future__ import annotations

import torch
from torchvision.transforms.v2 import functional as tv

from facecycle.config.settings import AugmentationConfig
from facecycle.data.augment import (
    CROP_DRAWS,
    DRAWS,
    JITTER_DRAWS,
    augment,
    colour_jitter,
    greyscale,
    random_crop,
)
from facecycle.data.images import denormalise, from_uint8, to_uint8

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


def test_a_crop_is_the_window_that_its_draws_name() -> None:
    # A picture whose red is x and whose green is y, in [-1, 1] from edge to edge.
    across, down = ((2 * torch.arange(length) + 1) / length - 1 for length in (32, 24))
    x = torch.stack([across.expand(24, 32), down[:, None].expand(24, 32), torch.zeros(24, 32)]).expand(5, 3, 24, 32)
    draws = uniform(CROP_DRAWS, 5, 5)
    out = random_crop(x, (0.3, 0.3), (1.5, 1.5), draws)
    for axis, (side, line) in enumerate([((0.3 * 1.5) ** 0.5, across), ((0.3 / 1.5) ** 0.5, down)]):
        centres = (2 * draws[CROP_DRAWS - 2 + axis] - 1) * (1 - side)  # the last two draws are the centre's
        window = (centres[:, None] + side * line).clamp(line[0], line[-1])
        found = out[:, axis].movedim(1 + (axis == 0), 1)
        assert torch.allclose(found, window[..., None].expand_as(found), atol=1e-5)


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


def test_a_hue_of_half_a_turn_is_the_opposite_colour() -> None:
    x = torch.rand(1, 3, 8, 8, generator=rng(3)) * 0.4 + 0.3
    luma = (torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1) * x).sum(1, keepdim=True)
    draws = torch.tensor([0.5, 0.5, 0.5, 1.0, 0.0])[:, None]
    assert torch.allclose(colour_jitter(x, (0, 0, 0, 0.5), 1.0, draws), 2 * luma - x, atol=1e-3)


def test_images_are_normalised_by_imagenets_statistics() -> None:
    red_green_blue = torch.tensor([124, 116, 104], dtype=torch.uint8).view(3, 1, 1)
    expected = [(124 / 255 - 0.485) / 0.229, (116 / 255 - 0.456) / 0.224, (104 / 255 - 0.406) / 0.225]
    assert torch.allclose(from_uint8(red_green_blue).flatten(), torch.tensor(expected), atol=1e-6)


def test_normalisation_round_trips_every_level() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(to_uint8(from_uint8(levels)), levels)
    assert denormalise(torch.full((1, 3, 2, 2), 9.0)).max() == 1
