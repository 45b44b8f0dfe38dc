"""Embedding: a folder of images to a table of codes, in constant memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facecycle import distributed
from facecycle.atomic import write_atomically
from facecycle.data.images import printable, read_square, reason
from facecycle.errors import ConfigError, DataError
from facecycle.networks import Loaded
from facecycle.probing.features import Feature, dimensions, extract, network_feature

CODES = ("expression", "identity")
THREADS = 4
OK = "ok"


def embed_files(
    loaded: Loaded, paths: Sequence[Path], out: Path, tell: Callable[[int], None] = lambda done: None
) -> dict[str, str]:
    """Write the codes of images as a parquet file: path, status, and a list of numbers per code.

    A row's status is `ok`, or why the image could not be read; its codes are then null. The file's metadata
    names the checkpoint. It appears under its name when it is whole. Of several processes each computes a part
    of the images, and the first one joins the parts.

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

    codes = code_features(loaded)
    fields = [pa.field("path", pa.string()), pa.field("status", pa.string())]
    fields += [pa.field(code.label, pa.list_(pa.float32(), dimensions(code))) for code in codes]
    about = {"checkpoint": str(loaded.checkpoint.path), "sha256": loaded.checkpoint.sha256()}
    schema = pa.schema(fields, {"facecycle": json.dumps(about)})
    bad: dict[str, str] = {}
    mine = paths[distributed.share(len(paths))]

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema) as writer:
            done = 0
            for part, pixels, reasons in _read(mine, codes[0].size, codes[0].batch):
                writer.write_table(pa.table(_columns(codes, part, pixels, reasons), schema))
                bad.update({printable(path): r for path, r in zip(part, reasons, strict=True) if r != OK})
                done += len(part)
                tell(done * distributed.world_size())  # the others are about as far

    if distributed.world_size() == 1:
        write_atomically(out, write)
        return bad
    parts = [out.with_name(f"{out.name}.part-{rank}") for rank in range(distributed.world_size())]
    write_atomically(parts[distributed.rank()], write)
    found = distributed.all_gather(bad)  # when every part is there
    if distributed.is_main():
        _join(parts, out, schema)
    return {path: reason for each in found for path, reason in each.items()}


def _join(parts: Sequence[Path], out: Path, schema: Any) -> None:
    """Write the parts of all processes as one file, and remove them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema) as writer:
            for part in parts:
                for batch in pq.ParquetFile(part).iter_batches():
                    writer.write_table(pa.Table.from_batches([batch], schema))

    write_atomically(out, write)
    for part in parts:
        part.unlink()


def code_features(loaded: Loaded) -> list[Feature]:
    """Return the codes that a checkpoint trained."""
    method, checkpoint = loaded.method, loaded.checkpoint
    names = [name for name in CODES if method.features_from.get(name) in checkpoint.trained]
    if not names:
        raise ConfigError(f"{checkpoint.path} trained none of the codes {', '.join(CODES)}")
    size = checkpoint.config.size
    return [network_feature(name, "", method, partial(method.features, name=name), size) for name in names]


def _columns(codes: Sequence[Feature], paths: Sequence[Path], pixels: Tensor, reasons: list[str]) -> dict[str, Any]:
    """Return the columns of a batch; what could not be read has no codes."""
    import pyarrow as pa

    columns: dict[str, Any] = {"path": [printable(path) for path in paths], "status": reasons}
    unreadable = pa.array([reason != OK for reason in reasons])
    for code in codes:
        found = extract(code, pixels)
        values = pa.array(found.flatten().numpy())
        columns[code.label] = pa.FixedSizeListArray.from_arrays(values, found.shape[1], mask=unreadable)
    return columns


def _read(paths: Sequence[Path], size: int, batch: int) -> Iterator[tuple[Sequence[Path], Tensor, list[str]]]:
    """Yield paths, uint8 images (n, 3, S, S) and reasons; a batch is decoded while the one before is computed."""

    def read_one(path: Path) -> tuple[Tensor, str]:
        try:
            return read_square(path, size), OK
        except DataError as error:
            return torch.zeros(3, size, size, dtype=torch.uint8), reason(path, error)

    with ThreadPoolExecutor(THREADS) as decoders:
        parts = [paths[start : start + batch] for start in range(0, len(paths), batch)]
        upcoming = [decoders.submit(read_one, path) for path in paths[:batch]]
        for number, part in enumerate(parts, 1):
            decoding, following = upcoming, parts[number] if number < len(parts) else []
            upcoming = [decoders.submit(read_one, path) for path in following]
            images, reasons = zip(*(one.result() for one in decoding), strict=True)
            yield part, torch.stack(images), list(reasons)
