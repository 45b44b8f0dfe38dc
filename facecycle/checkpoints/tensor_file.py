"""Tensors to a safetensors file: atomically, readable by whom the umask admits, and the same bytes every time."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
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
