"""What the contracts share: how the component under test is built, and seeded inputs."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from facecycle import registry
from facecycle.api import Kind


class Contract:
    """A component by its registered name and its options."""

    kind: ClassVar[Kind]
    name: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}

    def build(self) -> Any:
        """Build the component as a run would, with the same random weights every time."""
        torch.manual_seed(0)
        return registry.build(self.kind, self.name, self.options)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return N(0, 1) numbers that are the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
