"""A look at a data set: the axes of a pose point where the face looks."""

from __future__ import annotations

import numpy as np
import pytest

from facecycle.data.check import axes_of


@pytest.mark.parametrize(
    ("pose", "forward"), [((0, 0, 0), (0, 0)), ((0, 30, 0), (-0.5, 0)), ((30, 0, 0), (0, -0.5)), ((0, 0, 30), (0, 0))]
)
def test_the_forward_axis_follows_yaw_to_the_left_and_pitch_up(
    pose: tuple[float, ...], forward: tuple[float, ...]
) -> None:
    assert np.allclose(axes_of(np.array(pose, float))[2], forward)


def test_the_axes_are_those_of_the_order_of_the_angles() -> None:
    pose = np.array([-30.0, 60.0, 20.0])
    as_hopenet_draws = [[0.4698463, 0.703097], [-0.1710101, 0.6656986], [-0.8660254, 0.25]]
    assert np.allclose(axes_of(pose), as_hopenet_draws)
    assert np.allclose(axes_of(np.array([-59.1991622, 32.2598156, 56.2470743]), "zyx"), as_hopenet_draws)


def test_positive_roll_tilts_clockwise() -> None:
    left, down, _ = axes_of(np.array([0.0, 0.0, 90.0]))
    assert np.allclose(left, (0, 1))
    assert np.allclose(down, (-1, 0))
