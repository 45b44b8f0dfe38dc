"""Random numbers that follow from what they are for."""

from __future__ import annotations

import hashlib

import torch


def seeded(*parts: object) -> torch.Generator:
    """Return a generator seeded by its arguments, so that no state has to be kept to resume a run."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
