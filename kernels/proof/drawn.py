"""The checks of `cases` on shapes that nobody thought of."""

from __future__ import annotations

from types import ModuleType

import cases
from hypothesis import given, reject, settings
from hypothesis import strategies as st

SIDE = st.integers(1, 12)


def check(kernels: dict[str, ModuleType], examples: int) -> None:
    """Check so many random shapes of every op."""
    options = {"max_examples": examples, "deadline": None, "derandomize": True, "database": None}

    @settings(**options)
    @given(st.tuples(st.integers(1, 2), st.integers(1, 10), SIDE, SIDE), st.tuples(SIDE, SIDE), st.booleans(),
           st.booleans(), st.integers(0, 999))  # fmt: skip
    def flow_warp(x: tuple[int, ...], cells: tuple[int, int], clamp: bool, last: bool, seed: int) -> None:
        try:
            cases.check_flow_warp(kernels["flow_warp"], x, cells, clamp, last, seed=seed)
        except cases.NoDraw:
            reject()

    @settings(**options)
    @given(st.tuples(st.integers(1, 2), st.integers(1, 20), SIDE, SIDE), st.booleans(), st.booleans(),
           st.integers(0, 999))  # fmt: skip
    def renormalize(shape: tuple[int, ...], spatial: bool, last: bool, seed: int) -> None:
        cases.check_renormalize(kernels["renormalize"], shape, spatial, last, seed=seed)

    @settings(**options)
    @given(st.tuples(st.integers(1, 2), st.just(1), st.integers(1, 2), st.integers(1, 20), st.integers(1, 20)),
           st.integers(0, 999))  # fmt: skip
    def ssim(shape: tuple[int, ...], seed: int) -> None:
        cases.check_ssim(kernels["ssim"], shape, seed=seed)

    for op in (flow_warp, renormalize, ssim):
        op()
        print(f"ok  {op.__name__}: {examples} drawn shapes", flush=True)
