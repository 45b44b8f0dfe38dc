"""The shipped weights, opened once."""

from __future__ import annotations

import pytest

from facecycle.runtimes.base import Runtime

for library in ("starlette", "uvicorn", "onnxruntime"):
    pytest.importorskip(library)


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    from facecycle.runtimes.choose import choose

    return choose(None, "onnx")[0]
