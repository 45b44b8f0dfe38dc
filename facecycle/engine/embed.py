"""Embedding: a folder of images to a table of codes, in constant memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facecycle.data.images import printable, read_square
from facecycle.engine.features import CPU_BATCH, GPU_BATCH, FeatureRow, feature_row
from facecycle.engine.load import Loaded
from facecycle.errors import ConfigError, DataError
from facecycle.files import write_atomically

CODES = ("expression", "identity")
THREADS = 4
OK = "ok"


def embed(
    loaded: Loaded, paths: Sequence[Path], out: Path, tell: Callable[[int], None] = lambda done: None
) -> dict[str, str]:
    """Write the codes of images as a parquet file: path, status, and a list of numbers a code.

    A row's status is `ok`, or why the image could not be read; its codes are then null. The file's metadata
    names the checkpoint. It appears under its name when it is whole.

    Args:
        loaded: networks and their checkpoint.
        paths: image files.
        out: the parquet file.
        tell: told how many images are done.

    Returns:
        The images that could not be read, with the reason.

    Raises:
        ConfigError: the checkpoint trained no code.
        RunError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = code_rows(loaded)
    size = {row.label: row.extract(torch.zeros(1, 3, row.size, row.size)).shape[1] for row in rows}
    fields = [pa.field("path", pa.string()), pa.field("status", pa.string())]
    fields += [pa.field(row.label, pa.list_(pa.float32(), size[row.label])) for row in rows]
    about = {"checkpoint": str(loaded.checkpoint.path), "sha256": loaded.checkpoint.sha256()}
    schema = pa.schema(fields, {"facecycle": json.dumps(about)})
    bad: dict[str, str] = {}

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema) as writer:
            done = 0
            for part, pixels, reasons in _read(paths, rows[0].size, GPU_BATCH if rows[0].accelerated else CPU_BATCH):
                writer.write_table(pa.table(_columns(rows, part, pixels, reasons), schema))
                bad.update({printable(path): r for path, r in zip(part, reasons, strict=True) if r != OK})
                done += len(part)
                tell(done)

    write_atomically(out, write)
    return bad


def code_rows(loaded: Loaded) -> list[FeatureRow]:
    """Return the codes that a checkpoint trained."""
    method, checkpoint = loaded.method, loaded.checkpoint
    names = [name for name in CODES if method.features_from.get(name) in checkpoint.trained]
    if not names:
        raise ConfigError(f"{checkpoint.path} trained none of the codes {', '.join(CODES)}")
    return [_row(method, name, checkpoint.config.size) for name in names]


def _row(method: Any, name: str, size: int) -> FeatureRow:
    return feature_row(name, "", method, lambda images: method.features(images, name), size)


def _columns(rows: Sequence[FeatureRow], paths: Sequence[Path], pixels: Tensor, reasons: list[str]) -> dict[str, Any]:
    """Return the columns of a batch; what could not be read has no codes."""
    import pyarrow as pa

    from facecycle.data.normalise import from_uint8

    columns: dict[str, Any] = {"path": [printable(path) for path in paths], "status": reasons}
    unreadable = pa.array([reason != OK for reason in reasons])
    with torch.inference_mode():
        images = from_uint8(pixels)
        for row in rows:
            codes = row.extract(images)
            values = pa.array(codes.flatten().numpy())
            columns[row.label] = pa.FixedSizeListArray.from_arrays(values, codes.shape[1], mask=unreadable)
    return columns


def _read(paths: Sequence[Path], size: int, batch: int) -> Iterator[tuple[Sequence[Path], Tensor, list[str]]]:
    """Yield paths, uint8 images (n, 3, S, S) and reasons; a batch is decoded while the one before is computed."""

    def read_one(path: Path) -> tuple[Tensor, str]:
        try:
            return read_square(path, size), OK
        except DataError as error:
            return torch.zeros(3, size, size, dtype=torch.uint8), error.message.removeprefix(f"{path}: ")

    with ThreadPoolExecutor(THREADS) as decoders, ThreadPoolExecutor(1) as ahead:

        def read(start: int) -> tuple[Sequence[Path], Tensor, list[str]]:
            part = paths[start : start + batch]
            images, reasons = zip(*decoders.map(read_one, part), strict=True)
            return part, torch.stack(images), list(reasons)

        upcoming = ahead.submit(read, 0)
        for start in range(0, len(paths), batch):
            ready = upcoming.result()
            upcoming = ahead.submit(read, start + batch) if start + batch < len(paths) else upcoming
            yield ready
