"""The noise that torch draws from a seed, drawn by numpy: one seed gives the same pictures in every runtime."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

LEAST = 16
"""Numbers that torch draws at a time; fewer are drawn in another way, which is not repeated here."""


def standard_normals(seed: int, shapes: Iterable[tuple[int, ...]]) -> list[np.ndarray]:
    """Return what `torch.randn` draws one after the other on a CPU, float32, up to rounding.

    Both use the Mersenne Twister. Torch takes 24 bits of each number, and turns 16 numbers at a time to normal ones.

    Args:
        seed: of a `torch.Generator`.
        shapes: of the arrays, each of 16 numbers or more.

    Source: Box and Muller, 1958; `normal_fill` in torch's `DistributionTemplates.h`.
    """
    source = np.random.RandomState(seed % 2**32)

    def uniform(count: int) -> np.ndarray:
        return (source.randint(2**32, size=count, dtype=np.uint32) % 2**24).astype(np.float32) / np.float32(2**24)

    arrays = []
    for shape in shapes:
        numbers = uniform(int(np.prod(shape)))
        assert len(numbers) >= LEAST
        last = uniform(LEAST) if len(numbers) % LEAST else numbers[-LEAST:]
        whole = len(numbers) // LEAST * LEAST
        made = np.concatenate([_box_muller(numbers[:whole]), numbers[whole:]])
        made[-LEAST:] = _box_muller(last)
        arrays.append(made.reshape(shape))
    return arrays


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    radii, angles = np.moveaxis(uniform.reshape(-1, 2, LEAST // 2), 1, 0)
    lengths, turns = np.sqrt(-2 * np.log(1 - radii)), np.float32(2 * np.pi) * angles
    return np.stack([lengths * np.cos(turns), lengths * np.sin(turns)], axis=1).ravel()
