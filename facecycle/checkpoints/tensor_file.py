"""Safetensors files: written atomically, readable by whom the umask admits, the same bytes every time; their map."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from facecycle.atomic import write_atomically


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a safetensors file, atomically.

    Raises:
        RunError: it cannot be written.
    """
    write_atomically(path, lambda temporary: write_tensors(tensors, temporary))


def write_tensors(tensors: Mapping[str, Tensor], path: Path, header: dict[str, str] | None = None) -> None:
    """Write tensors to a safetensors file, with the mode that the umask gives.

    Raises:
        OSError: the system refuses.
    """
    path.touch()
    mode = path.stat().st_mode  # the umask's; safetensors puts a file in its place that the owner alone may read
    try:
        save_file(dict(tensors), path, header)
    except SafetensorError as error:
        # safetensors reports what the system refused as its own error: "… (os error 28)" is a full disk.
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(*((int(number[1]), os.strerror(int(number[1]))) if number else (str(error),))) from error
    path.chmod(mode)
    _sort_header(path)


def _sort_header(path: Path) -> None:
    """Write the entries of a safetensors header by name: the library's order changes from run to run.

    The sorted header takes the same room, so no tensor moves.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(length))
        ordered = json.dumps(entries, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        if len(ordered) > length:
            raise OSError(f"the header of {path} does not fit its place")
        file.seek(8)
        file.write(ordered.ljust(length))


@dataclass(frozen=True)
class Stored:
    """A tensor's place in a safetensors file.

    Attributes:
        dtype: its type, in the words of safetensors: F32, F16.
        shape: its sides.
        offset: of its first byte in the file.
        length: in bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


def byte_ranges(path: Path) -> dict[str, Stored]:
    """Return where the tensors of a safetensors file that can be read lie in it."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    return {
        name: Stored(entry["dtype"], tuple(entry["shape"]), 8 + length + start, end - start)
        for name, entry in entries.items()
        for start, end in [entry["data_offsets"]]
    }
