"""The names the `timm` encoder answers to, without the seconds that importing timm takes."""

import functools
import importlib.util
import re
from pathlib import Path

_REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


@functools.cache
def names() -> frozenset[str]:
    """Return every timm model name, read from the source of the installed timm."""
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    folder = Path(spec.submodule_search_locations[0]) / "models"
    return frozenset(name for file in folder.glob("*.py") for name in _REGISTERED.findall(file.read_text("utf-8")))
