"""Noise drawn by numpy is what torch draws from the same seed."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from facecycle.runtimes.draws import standard_normals

SHAPES = st.lists(st.integers(16, 100).map(lambda n: (1, n)), min_size=1, max_size=3)


@given(seed=st.integers(-(2**63), 2**64 - 1), shapes=SHAPES)
@example(seed=0, shapes=[(1, 64, 16, 16), (1, 32, 32, 32), (1, 3, 7), (16,), (17,)])
@example(seed=2**32 - 1, shapes=[(1, 4, 8, 8)])
def test_a_seed_draws_what_torch_draws(seed: int, shapes: list[tuple[int, ...]]) -> None:
    source = torch.Generator().manual_seed(seed)
    expected = [torch.randn(shape, generator=source).numpy() for shape in shapes]
    for mine, theirs in zip(standard_normals(seed, shapes), expected, strict=True):
        assert mine.dtype == np.float32
        assert mine.shape == theirs.shape
        assert np.allclose(mine, theirs, atol=1e-5)
