"""facecycle: facial representations from cycle consistency, with every part a plugin.

import facecycle

model = facecycle.load()
model.translate("img.jpg")["neutral"].save("neutral.png")
codes = model.embed(["a.jpg", "b.jpg"])
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from facecycle.errors import FacecycleError

if TYPE_CHECKING:
    from facecycle.model import Model

# Else onnxruntime keeps an identifier of this machine on its disk and reports to its makers, as soon as it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["FacecycleError", "Model", "__version__", "load"]


def load(path: str | os.PathLike[str] | None = None) -> Model:
    """Load networks ready for use. The first call imports torch, which takes seconds.

    Args:
        path: a run folder, a checkpoint folder, a `.safetensors` file, `hf-hub:OWNER/NAME[@REVISION]` or
            `local-dir:PATH`; None takes the weights that come with the package.

    Raises:
        FacecycleError: there is no checkpoint, it cannot be read, or a plugin that it needs is not installed.
    """
    from facecycle.model import Model

    return Model(path)


def __getattr__(name: str) -> Any:
    """Import what needs torch, or reads metadata, when it is asked for."""
    if name == "Model":
        from facecycle.model import Model

        return Model
    if name == "__version__":
        from importlib.metadata import version

        return version("facecycle")
    raise AttributeError(f"module 'facecycle' has no attribute {name!r}")
