"""Faces moved at the photograph's own resolution, by the flows that a network saw in the small crop.

A flow says for every point of the aligned crop where its pixel comes from. Here it is taken along into the photograph,
which is sampled once, whatever moves a face: its own flow, another's, or both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from facecycle.errors import ConfigError, DataError
from facecycle.faces.crop import crop, finest_side, shrunk
from facecycle.faces.sampling import cubic, resized, sample, sample_cubic
from facecycle.faces.similarity import Similarity, fit

NETWORK_SIZE = 64
"""Side, in pixels, of the crop that the network sees, unless it says another."""
STRONGEST = 1.5
NODES = 97
"""Points along each axis at which flows are looked up; between them the motion is interpolated, bicubic."""
INVERSE_NODES, ITERATIONS, STEP = 32, 30, 0.7
"""Of an inverse: points along each axis, and how often each of them moves by which share of what it misses."""
MIDDLE, RADII = (0.5, 0.46), (0.62, 0.72)
"""The ellipse, in sides of the crop, outside of which a photograph never changes."""
WHOLE = 0.5
"""Share of its radii within which a face moves in full; from there to the rim the motion fades to nothing."""


def follow(
    points: np.ndarray, flows: Sequence[np.ndarray], strength: float = 1.0, network_size: int = NETWORK_SIZE
) -> np.ndarray:
    """Map points (..., 2) of a moved crop to where their pixels come from; both in sides of the crop.

    Args:
        points: (0, 0) is the crop's upper left corner, and (1, 1) its lower right.
        flows: (2, h, w) each, x first, in grid units with align_corners=True. A face moves by the first, and then by
            the second: its own flow makes it frontal, and the `inverse` of another's re-expresses it like that one.
        strength: factor of the flows, from 0, which moves nothing, to 1.5.
        network_size: side of the crop that the flows were made from, in pixels.
    """
    sides = _sides(network_size)
    for flow in reversed(flows):
        cells = ((points - 0.5) / (2 * sides) + 0.5) * (np.array(flow.shape[:0:-1]) - 1)
        points = points + (strength * cubic(flow, cells)).clip(-1, 1) * sides
    return points


def inverse(flow: np.ndarray, network_size: int = NETWORK_SIZE) -> np.ndarray:
    """Return the flow (2, 32, 32) that takes back what a flow (2, h, w) does, in the same units.

    The method's `backflow` is its first approximation, which of large flows leaves doubled eyes in a photograph. Where
    a flow folds the face it has no inverse, and the result is what comes close.
    """
    axis = np.linspace(-1, 1, INVERSE_NODES)
    sides = _sides(network_size)
    points = np.stack(np.meshgrid(axis, axis), -1) * sides + 0.5
    found = points
    for _ in range(ITERATIONS):
        found = found + STEP * (points - follow(found, [flow], network_size=network_size))
    return ((found - points) / sides).transpose(2, 0, 1)


def moved(
    image: np.ndarray,
    similarity: Similarity,
    flows: Sequence[np.ndarray],
    *,
    strength: float = 1.0,
    network_size: int = NETWORK_SIZE,
) -> np.ndarray:
    """Move a face and cut it out, sampled once from the photograph.

    Args:
        image: RGB (H, W, 3), uint8.
        similarity: where the aligned crop lies.
        flows: see `follow`.
        strength: see `follow`; at 0 the result is `crop`, bit for bit.
        network_size: see `follow`.

    Returns:
        RGB (S, S, 3), uint8, at the face's own resolution. What the flows bring in from beyond the crop comes from
        the photograph.

    Raises:
        ConfigError, DataError: see `check_motion`.
    """
    check_motion(flows, strength)
    size = max(1, round(similarity.side))
    if strength == 0:
        return crop(image, similarity, size)
    finest = finest_side(similarity, size)

    def displacement(pixels: np.ndarray) -> np.ndarray:
        own = pixels / finest
        return similarity.to_photograph(follow(own, flows, strength, network_size)) - similarity.to_photograph(own)

    points = similarity.pixels(finest) + _between_nodes(displacement, (0, 0), (finest, finest))
    return shrunk(sample(image, points), size)


def paste(
    image: np.ndarray,
    similarity: Similarity,
    flows: Sequence[np.ndarray],
    *,
    strength: float = 1.0,
    network_size: int = NETWORK_SIZE,
    sharp: bool = True,
) -> np.ndarray:
    """Move a face within its photograph.

    What a flow does to a face as a whole, which is to shift, turn and scale it, is taken out, because the head stays
    where it is. The rest fades to nothing towards the rim of the face, so that contours stay whole.

    Args:
        image, similarity, flows, strength, network_size: see `moved`.
        sharp: keep the face as sharp as what is beside it, by cubic convolution; bilinear it is softer, and takes
            two thirds of the time.

    Returns:
        RGB (H, W, 3), uint8, equal to the photograph outside the face, bit for bit.

    Raises:
        ConfigError, DataError: see `check_motion`.
    """
    check_motion(flows, strength)
    result = image.copy()
    first, last = _reach(similarity, image.shape)
    if strength == 0 or not (last > first).all():
        return result
    whole = whole_motion(flows, strength, network_size)

    def displacement(pixels: np.ndarray) -> np.ndarray:
        own = similarity.to_crop(pixels)
        known = own.clip(0, 1)  # beyond the crop no flow is known, and what moves its rim goes on
        source = similarity.to_photograph(follow(whole.to_crop(known), flows, strength, network_size))
        return fade(own)[..., None] * (source - similarity.to_photograph(known))

    points = _between_nodes(displacement, first, last)
    x, y = (np.arange(a, b, dtype=np.float32) + np.float32(0.5) for a, b in zip(first, last, strict=True))
    pixels = np.stack(np.broadcast_arrays(x, y[:, None]), -1)
    inside = np.flatnonzero(_radius(similarity.to_crop(pixels)) < 1)
    points += pixels
    found = (sample_cubic if sharp else sample)(image, points.reshape(-1, 2).take(inside, 0))
    part = result[first[1] : last[1], first[0] : last[0]]
    moved_part = part.reshape(-1, 3).copy()
    moved_part[inside] = found
    part[:] = moved_part.reshape(part.shape)
    return result


def whole_motion(flows: Sequence[np.ndarray], strength: float = 1.0, network_size: int = NETWORK_SIZE) -> Similarity:
    """Return what flows do to a face as a whole: the similarity that is closest to them, over the face."""
    axis = (np.arange(32) + 0.5) / 32
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    return fit(points, follow(points, flows, strength, network_size), fade(points))


def fade(points: np.ndarray) -> np.ndarray:
    """Return how much points (..., 2) of the crop move: 1 in the middle, falling smoothly to 0 at the face's rim."""
    t = ((1 - _radius(points)) / (1 - WHOLE)).clip(0, 1)
    return t * t * (3 - 2 * t)


def _radius(points: np.ndarray) -> np.ndarray:
    """Return how far points (..., 2) of the crop are from the face's middle: 1 at its rim."""
    return np.hypot(*((points[..., axis] - MIDDLE[axis]) / RADII[axis] for axis in (0, 1)))


def check_motion(flows: Sequence[np.ndarray], strength: float) -> None:
    """Refuse what moves no face.

    Raises:
        ConfigError: the strength is not from 0 to 1.5.
        DataError: a flow is not (2, h, w), or not finite.
    """
    if not 0 <= strength <= STRONGEST:
        raise ConfigError(f"the strength {strength:g} is not from 0 to {STRONGEST:g}", hint="1 is what the flow says.")
    for flow in flows:
        if flow.ndim != 3 or len(flow) != 2 or not flow.size:
            raise DataError(f"an array of shape {flow.shape} is no flow", hint="Expected (2, h, w), x first.")
        if not np.isfinite(flow).all():
            raise DataError(
                "the flow is not finite", hint="Are the weights damaged? Try `facecycle checkpoint verify`."
            )


def _sides(network_size: int) -> float:
    """Return sides of the crop per grid unit: with align_corners=True, -1 and 1 are the outermost pixels' centres."""
    return (network_size - 1) / (2 * network_size)


def _reach(similarity: Similarity, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pixel (x, y) of the ellipse's bounding box in a photograph, and the one after the last."""
    turn = np.linspace(0, 2 * np.pi, 64)
    rim = similarity.to_photograph(np.stack((np.cos(turn), np.sin(turn)), -1) * RADII + MIDDLE)
    ends = np.floor(rim.min(0)) - 1, np.ceil(rim.max(0)) + 1
    first, last = (each.clip(0, shape[1::-1]).astype(int) for each in ends)
    return first, last


def _between_nodes(
    displacement: Callable[[np.ndarray], np.ndarray],
    first: Sequence[int] | np.ndarray,
    last: Sequence[int] | np.ndarray,
) -> np.ndarray:
    """Return the displacement of a rectangle's pixels (h, w, 2), float32, asked at nodes and interpolated between."""
    ends = list(zip(map(int, first), map(int, last), strict=True))
    axes = [np.linspace(a + 0.5, b - 0.5, min(NODES, b - a)) for a, b in ends]
    width, height = (b - a for a, b in ends)
    return resized(displacement(np.stack(np.meshgrid(*axes), -1)).astype(np.float32), height, width)
