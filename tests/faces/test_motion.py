"""Faces moved at full resolution: the method's own pictures, whole similarities, and what must stay as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facecycle_kernels.flow_warp.reference import flow_warp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import laplace
from skimage.data import astronaut

from facecycle.errors import ConfigError, DataError
from facecycle.faces.crop import crop
from facecycle.faces.motion import fade, follow, inverse, moved, paste, whole_motion
from facecycle.faces.sampling import cubic, sample_cubic
from facecycle.faces.similarity import Similarity

FACE = Similarity(223, 118, 109, 8)


def smooth(seed: int, scale: float = 0.12) -> np.ndarray:
    """Return a smooth flow (2, 16, 16), float32, as decoders make them."""
    coarse = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(seed)) * scale
    return torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bicubic", align_corners=True)[0].numpy()


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()


def bicubic(flow: np.ndarray, size: int) -> torch.Tensor:
    return torch.nn.functional.interpolate(
        torch.from_numpy(flow)[None], size=(size, size), mode="bicubic", align_corners=True
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_inverse_takes_back_what_a_flow_does(seed: int) -> None:
    flow = smooth(seed, 0.08)
    points = np.random.default_rng(0).uniform(0.15, 0.85, (50, 2))
    moved_there = follow(points, [flow])
    assert np.abs(moved_there - points).max() > 0.02
    assert np.allclose(follow(moved_there, [inverse(flow)]), points, atol=0.004)
    # The flow first and then its inverse, which is what re-expresses a face like itself.
    assert np.allclose(follow(points, [flow, inverse(flow)]), points, atol=0.004)


def test_of_a_small_flow_the_inverse_is_the_methods_backflow() -> None:
    flow = smooth(0, 0.005)
    given = torch.from_numpy(flow)[None]
    expected = bicubic(-flow_warp(given, given)[0].numpy(), 32)[0].numpy()
    inner = slice(4, -4)
    assert np.abs(inverse(flow) - expected)[:, inner, inner].max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("size", [64, 96])
def test_within_the_crop_a_moved_face_is_the_methods_warp(size: int) -> None:
    image, flow = astronaut()[40:360, 60:380], smooth(0)
    square = np.ascontiguousarray(crop(image, Similarity(160, 160, 320), size))
    ours = moved(square, Similarity(size / 2, size / 2, size), [flow], network_size=size)
    expected = flow_warp(tensor(square), bicubic(flow, size))[0].permute(1, 2, 0).numpy()
    inner = slice(size // 4, -size // 4)
    assert np.abs(ours.astype(float) - expected)[inner, inner].max() < 1


def test_two_flows_are_one_sampling_of_both_warps() -> None:
    x, y = np.meshgrid(np.linspace(0, 6, 64), np.linspace(0, 5, 64))
    square = np.stack([127 + 120 * np.sin(x + 0.7 * y + c) for c in range(3)], -1).astype(np.uint8)
    first, second = smooth(1, 0.15), smooth(2, 0.15)
    twice = flow_warp(flow_warp(tensor(square), bicubic(first, 64)), bicubic(second, 64))
    inner = slice(16, -16)

    def difference(flows: list[np.ndarray]) -> float:
        ours = moved(square, Similarity(32, 32, 64), flows).astype(float)
        return float(np.abs(ours - twice[0].permute(1, 2, 0).numpy())[inner, inner].max())

    assert difference([first, second]) < 2
    assert difference([second, first]) > 10


def test_clamped_flows_end_at_the_other_side() -> None:
    point = np.array([[0.25, 0.5]])
    far = np.full((2, 16, 16), 5.0)
    assert np.allclose(follow(point, [far]), point + 63 / 128)


def test_no_strength_is_no_change_at_all() -> None:
    image, flow = astronaut(), smooth(3)
    assert np.array_equal(moved(image, FACE, [flow], strength=0), crop(image, FACE, 109))
    assert np.array_equal(paste(image, FACE, [flow], strength=0), image)
    assert np.array_equal(paste(image, FACE, [np.zeros((2, 16, 16))]), image)
    almost = moved(image, FACE, [flow], strength=1e-6).astype(int)
    assert np.abs(almost - crop(image, FACE, 109)).max() <= 1


@pytest.mark.parametrize("strength", [-0.1, 1.51, float("nan")])
def test_a_strength_beyond_its_range_is_refused(strength: float) -> None:
    for act in (moved, paste):
        with pytest.raises(ConfigError, match=r"is not from 0 to 1\.5"):
            act(astronaut(), FACE, [smooth(0)], strength=strength)


@pytest.mark.parametrize("flow", [np.zeros((16, 16)), np.zeros((3, 4, 4)), np.full((2, 4, 4), np.nan)])
def test_what_is_no_flow_is_refused(flow: np.ndarray) -> None:
    for act in (moved, paste):
        with pytest.raises(DataError, match=r"no flow|not finite"):
            act(astronaut(), FACE, [smooth(0), flow])


@settings(max_examples=15)
@given(st.integers(0, 9), st.floats(-30, 540), st.floats(-30, 540), st.floats(20, 300), st.floats(-180, 180))
def test_outside_of_the_face_a_photograph_does_not_change(
    seed: int, x: float, y: float, side: float, roll: float
) -> None:
    image, square = astronaut(), Similarity(x, y, side, roll)
    result = paste(image, square, [smooth(seed, 0.3)], strength=1.5)
    assert result.shape == image.shape
    rows, columns = np.indices(image.shape[:2]) + 0.5
    outside = fade(square.to_crop(np.stack((columns, rows), -1))) == 0
    assert np.array_equal(result[outside], image[outside])


def test_a_face_that_moves_as_a_whole_stays_where_it_is_in_the_photograph() -> None:
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 16)] * 2))
    turned = np.stack((0.04 * grid[0] - 0.08 * grid[1] + 0.1, 0.08 * grid[0] + 0.04 * grid[1] - 0.05))
    whole = whole_motion([turned])
    assert whole.side == pytest.approx(np.hypot(1.04, 0.08), rel=1e-3)
    assert whole.roll == pytest.approx(np.degrees(np.arctan2(0.08, 1.04)), rel=1e-2)
    # A level of these ramps is a pixel across, or down.
    x, y = np.meshgrid(np.arange(250), np.arange(250))
    ramps = np.stack((x, y, x), -1).astype(np.uint8)
    face = Similarity(125, 125, 109, 8)
    assert np.abs(moved(ramps, face, [turned]).astype(int) - crop(ramps, face, 109)).mean() > 4
    assert np.abs(paste(ramps, face, [turned]).astype(int) - ramps).max() <= 1


def test_the_motion_in_a_photograph_has_no_edge() -> None:
    ramp = np.broadcast_to(np.linspace(0, 250, 500, dtype=np.float32)[:, None], (500, 500, 3))
    result = paste(ramp.astype(np.uint8), Similarity(250, 250, 200), [smooth(5, 0.2)], strength=1.5)
    steps = np.abs(np.diff(result[..., 0].astype(int), axis=1))
    assert steps.max() <= 3


def test_what_a_flow_brings_in_comes_from_the_photograph() -> None:
    image = np.full((200, 200, 3), 90, np.uint8)
    image[:, 120:] = (200, 30, 60)
    outward = np.zeros((2, 16, 16))
    outward[0] = 0.5
    result = moved(image, Similarity(90, 100, 60), [outward])
    assert (result[:, -2] == (200, 30, 60)).all()


@given(st.integers(0, 99))
@settings(max_examples=8)
def test_a_pasted_face_is_nearly_as_sharp_as_it_was(seed: int) -> None:
    def detail(image: np.ndarray) -> float:
        return float(laplace(image.mean(-1))[90:150, 195:250].var())

    soft, sharp = (detail(paste(astronaut(), FACE, [smooth(seed, 0.05)], sharp=each)) for each in (False, True))
    assert sharp > 0.7 * detail(astronaut())
    assert sharp > 1.4 * soft  # which keeps a half


def test_pixels_come_back_at_their_centres_and_cubic_between_them() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)
    rows, columns = (each.ravel() for each in np.mgrid[:9, :11])
    centres = np.stack((columns, rows), -1) + np.float32(0.5)
    np.testing.assert_array_equal(sample_cubic(image, centres), image[rows, columns])
    np.testing.assert_array_equal(sample_cubic(image, centres - 100), image[np.zeros(99, int), np.zeros(99, int)])
    points = rng.uniform(-1, 12, (500, 2))
    expected = cubic(image.transpose(2, 0, 1).astype(float), points - 0.5).clip(0, 255)
    assert abs(sample_cubic(image, points).astype(float) - expected).max() < 0.51
    assert sample_cubic(image, points[:0]).shape == (0, 3)
