"""The folder of everything that can be made again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def cache_home() -> Path:
    """Return the folder of everything that can be made again: `$XDG_CACHE_HOME/facecycle`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "facecycle"


def index_file(kind: str, root: Path) -> Path:
    """Return the file in the cache for what was read of a folder; `kind` tells whose it is."""
    return cache_home() / kind / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:32]}.json"
