"""Losses: predictions that share a target to one value each."""

from dataclasses import dataclass
from typing import ClassVar

from facecycle.api import Options as BaseOptions


@dataclass(eq=False)
class Loss:
    """What the losses without a network share: options, most often none, and a target."""

    options: BaseOptions
    facecycle_api: ClassVar = (1, 0)
    Options: ClassVar[type[BaseOptions]] = BaseOptions
    needs_target: ClassVar = True
