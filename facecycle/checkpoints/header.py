"""What a `model.safetensors` says of itself, read without torch, which takes seconds to import."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from facecycle.atomic import file_sha256
from facecycle.checkpoints.places import HUB, Name, find
from facecycle.config.settings import RunConfig
from facecycle.errors import CheckpointError

FORMAT = "facecycle/1"
PRETRAINED = "pretrained weights"
"""What a header and a report say that an encoder began with."""
_STRINGS = TypeAdapter(list[str])


@dataclass(frozen=True)
class Checkpoint:
    """What a `model.safetensors` says of itself."""

    path: Path
    config: RunConfig
    trained: frozenset[str]
    """The cycles that were trained at least one step."""
    metadata: Mapping[str, str]
    """All entries of the header."""

    @property
    def pretrained(self) -> bool:
        """Whether its encoder began with pretrained weights, in its run or in one that its run began with."""
        return self.config.pretrained or self.metadata.get("begun_with") == PRETRAINED

    def sha256(self) -> str:
        """Return the digest of the file."""
        return file_sha256(self.path)

    def table(self, entry: str) -> dict[str, Any]:
        """Return an entry that holds a table as JSON; an empty one where it is missing or damaged."""
        try:
            table = json.loads(self.metadata.get(entry, "{}"))
        except (ValueError, RecursionError):
            return {}
        return table if isinstance(table, dict) else {}

    def components(self) -> dict[str, dict[str, str]]:
        """Return where each component came from, by `kind:name`."""
        origins = {name: origin for name, origin in self.table("components").items() if isinstance(origin, dict)}
        return {name: {key: str(value) for key, value in origin.items()} for name, origin in origins.items()}


def read(name: Name) -> Checkpoint:
    """Read the header of a checkpoint; no tensor is loaded.

    Args:
        name: of weights; see `places`.

    Raises:
        CheckpointError: not a safetensors file, not ours, of another format version, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = find(name)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a safetensors checkpoint: {error}",
            hint="Expected the model.safetensors of a run; `facecycle checkpoint import` reads the authors' .tar.",
        ) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has the format {metadata.get('format')!r}; this version of facecycle reads {FORMAT!r}",
            hint="It was written by another version of facecycle, or by another program.",
        )
    try:
        config = RunConfig.model_validate_json(metadata["config"])
        trained = frozenset(_STRINGS.validate_json(metadata["trained"]))
    except (KeyError, ValueError, ValidationError) as error:
        raise CheckpointError(f"the header of {path} is damaged: {error}") from error
    return Checkpoint(path, config, trained, metadata)


def check(names: Iterable[Name | None]) -> None:
    """Refuse weights on this machine that cannot be used, before anything that takes long; None and a hub's pass.

    Raises:
        CheckpointError: see `read`.
    """
    for name in names:
        if name is not None and not os.fspath(name).startswith(HUB):
            read(name)
