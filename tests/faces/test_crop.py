"""Crops: one sampling of the photograph, antialiased, with border pixels beyond it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from skimage.data import astronaut, coffee

from facecycle.data.images import read_square
from facecycle.faces.crop import crop
from facecycle.faces.sampling import cubic, resized, sample
from facecycle.faces.similarity import Similarity


@pytest.mark.parametrize("size", [32, 64, 400])
def test_the_middle_square_is_what_read_square_gives(size: int) -> None:
    image = coffee()
    height, width = image.shape[:2]
    square = Similarity((width - height) // 2 + height / 2, height / 2, height)
    difference = np.abs(crop(image, square, size).astype(int) - read_square(image, size).permute(1, 2, 0).numpy())
    # At the rim read_square looks at pixels beside the square, and a crop does not.
    assert difference[1:-1, 1:-1].max() <= (size > height)
    assert difference.mean() < 0.5


def test_quarter_turns_are_exact() -> None:
    image = astronaut()
    for turns in range(4):
        turned = crop(image, Similarity(250, 170, 80, 90 * turns), 80)
        assert np.array_equal(turned, np.rot90(image[130:210, 210:290], turns))


def test_beyond_the_photograph_its_border_pixels_go_on() -> None:
    image = astronaut()[:40, :60]
    cut = crop(image, Similarity(0, 0, 40), 40)
    assert np.array_equal(cut[20:, 20:], image[:20, :20])
    assert (cut[:20, :20] == image[0, 0]).all()
    assert (cut[:20, 20:] == image[0, :20]).all()
    away = crop(image, Similarity(-500, 900, 10, 30), 10)
    assert (away == image[-1, 0]).all()


def test_a_shrunk_crop_keeps_the_mean_of_fine_stripes() -> None:
    stripes = np.zeros((600, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    small = crop(stripes, Similarity(300, 300, 400, 20), 40)
    assert np.abs(small.astype(int) - 127).max() < 12


def test_a_mark_lands_where_the_similarity_says() -> None:
    canvas = Image.new("RGB", (300, 200))
    square = Similarity(150, 90, 100, -35)
    x, y = square.to_photograph(np.array([0.7, 0.3]))
    ImageDraw.Draw(canvas).ellipse((x - 4, y - 4, x + 4, y + 4), fill=(255, 255, 255))
    bright = crop(np.asarray(canvas), square, 200)[..., 0].astype(float)
    rows, columns = np.indices(bright.shape) + 0.5
    found = (bright * columns).sum() / bright.sum() / 200, (bright * rows).sum() / bright.sum() / 200
    assert found == pytest.approx((0.7, 0.3), abs=0.008)


def test_samples_at_centres_are_pixels_and_lie_between_them_elsewhere() -> None:
    image = astronaut()[:30, :50]
    centres = np.stack(np.meshgrid(np.arange(50) + 0.5, np.arange(30) + 0.5), -1)
    assert np.array_equal(sample(image, centres), image)
    assert np.array_equal(sample(image, centres + 1000), np.broadcast_to(image[-1, -1], image.shape))
    halfway = (image[:, :-1].astype(float) + image[:, 1:]) / 2
    assert np.abs(sample(image, centres[:, :-1] + (0.5, 0)) - halfway).max() <= 0.5
    one = sample(image[:1, :1], centres)
    assert (one == image[0, 0]).all()


def test_cubic_interpolation_is_that_of_torch() -> None:
    torch = pytest.importorskip("torch")
    grid = np.random.default_rng(0).normal(size=(2, 9, 16)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(grid)[None], size=(40, 33), mode="bicubic", align_corners=True
    )
    expected = expected[0].permute(1, 2, 0).numpy()
    assert np.allclose(resized(grid.transpose(1, 2, 0), 40, 33), expected, atol=1e-5)
    cells = np.stack(np.meshgrid(np.linspace(0, 15, 33), np.linspace(0, 8, 40)), -1)
    assert np.allclose(cubic(grid, cells), expected, atol=1e-5)
