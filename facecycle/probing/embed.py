"""Embedding: a folder of images to a table of features, in constant memory, as parquet, csv or npy."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from facecycle import distributed
from facecycle.atomic import check_out, write_atomically
from facecycle.data.images import printable, read_square_array, reason
from facecycle.errors import ConfigError, DataError, did_you_mean
from facecycle.runtimes.base import Runtime

THREADS = 4
OK = "ok"
NOT_FINITE = "its features are not finite"
SUFFIXES = (".parquet", ".csv", ".npy")


def check_output(out: Path) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises:
        ConfigError: a folder, a suffix that says no format, or a place below a file.
    """
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder", hint=f"Name a file in it: {out / 'codes.parquet'}")
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out {out}: the suffix says no format", hint=f"Formats: {', '.join(SUFFIXES)}.")
    check_out(out, folder=False)


def embed_files(
    runtime: Runtime,
    paths: Sequence[Path],
    out: Path,
    names: Sequence[str] = (),
    tell: Callable[[int], None] = lambda done: None,
) -> dict[str, str]:
    """Write features of images as a table: path, status, and the numbers of each feature.

    A row's status is `ok`, or why there are no features, which are then null. The format follows the suffix:

    * `.parquet` has a list of numbers per feature, and its metadata names the checkpoint;
    * `.csv` has a column per number, `expression_0` and so on;
    * `.npy` is float32 (n, D), the features side by side, with nan where there are none. Path and status lie beside it
      in `<name>.names.csv`, which is no table's name.

    The file appears under its name when it is whole. Of several processes each computes a part of the images, and the
    first one joins the parts.

    Args:
        runtime: the weights, ready to compute.
        paths: image files.
        out: the file; see `check_output`.
        names: features of the checkpoint; left out, the codes that it trained.
        tell: told how many images are done.

    Returns:
        The images without features, with the reason.

    Raises:
        ConfigError: the checkpoint trained no code, or not a feature that is named, or the file says no format.
        RunError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_output(out)
    features = _features(runtime, names)
    fields = [pa.field("path", pa.string()), pa.field("status", pa.string())]
    black = runtime.embed(np.zeros((1, 3, runtime.size, runtime.size), np.uint8), features)
    fields += [
        pa.field(name, pa.list_(pa.float32(), found.shape[1])) for name, found in zip(features, black, strict=True)
    ]
    about = {"checkpoint": str(runtime.weights), "sha256": runtime.sha256()}
    schema = pa.schema(fields, {"facecycle": json.dumps(about)})
    bad: dict[str, str] = {}
    mine = paths[distributed.share(len(paths))]

    def write(temporary: Path) -> None:
        with pq.ParquetWriter(temporary, schema) as writer:
            done = 0
            for part, pixels, reasons in _read(mine, runtime.size, runtime.batch):
                columns = _columns(runtime, features, part, pixels, reasons)
                writer.write_table(pa.table(columns, schema))
                rows = zip(part, columns["status"], strict=True)
                bad.update({printable(path): status for path, status in rows if status != OK})
                done += len(part)
                tell(done * distributed.world_size())  # the others are about as far

    alone = distributed.world_size() == 1
    if alone and out.suffix.lower() == ".parquet":
        write_atomically(out, write)
        return bad
    parts = [out.with_name(f"{out.name}.part-{rank}") for rank in range(distributed.world_size())]
    write_atomically(parts[distributed.rank()], write)
    found = distributed.all_gather(bad)  # when every part is there
    if distributed.is_main():
        _join(parts, out, schema, len(paths))
    return {path: reason for each in found for path, reason in each.items()}


def _features(runtime: Runtime, names: Sequence[str]) -> list[str]:
    """Return the named features of a checkpoint, or its codes; of another method, the first feature that it names."""
    trained = runtime.features
    for name in names:
        if name not in trained:
            hint = did_you_mean(name, trained) or f"Features: {', '.join(trained)}."
            raise ConfigError(f"--feature {name}: {runtime.weights} has no such feature", hint=hint)
    chosen = list(dict.fromkeys(names)) or list(runtime.codes)
    if not chosen:
        raise ConfigError(f"{runtime.weights} trained no features")
    return chosen


def _columns(
    runtime: Runtime, features: Sequence[str], paths: Sequence[Path], pixels: np.ndarray, reasons: list[str]
) -> dict[str, Any]:
    """Return the columns of a batch; what could not be read, or is not finite, has no features."""
    import pyarrow as pa

    found = runtime.embed(pixels, features)
    finite = np.all([np.isfinite(each).all(axis=1) for each in found], axis=0)
    status = [why if why != OK or good else NOT_FINITE for why, good in zip(reasons, finite, strict=True)]
    missing = pa.array([why != OK for why in status])
    columns: dict[str, Any] = {"path": [printable(path) for path in paths], "status": status}
    for name, each in zip(features, found, strict=True):
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(each.ravel()), each.shape[1], mask=missing)
    return columns


def _read(paths: Sequence[Path], size: int, batch: int) -> Iterator[tuple[Sequence[Path], np.ndarray, list[str]]]:
    """Yield paths, uint8 images (n, 3, S, S) and reasons; a batch is decoded while the one before is computed."""

    def read_one(path: Path) -> tuple[np.ndarray, str]:
        try:
            return read_square_array(path, size), OK
        except DataError as error:
            return np.zeros((3, size, size), np.uint8), reason(path, error)

    with ThreadPoolExecutor(THREADS) as decoders:
        parts = [paths[start : start + batch] for start in range(0, len(paths), batch)]
        upcoming = [decoders.submit(read_one, path) for path in paths[:batch]]
        for number, part in enumerate(parts, 1):
            decoding, following = upcoming, parts[number] if number < len(parts) else []
            upcoming = [decoders.submit(read_one, path) for path in following]
            images, reasons = zip(*(one.result() for one in decoding), strict=True)
            yield part, np.stack(images), list(reasons)


# --- from the parts of all processes to one file --------------------------------------------------


def _join(parts: Sequence[Path], out: Path, schema: Any, count: int) -> None:
    """Write the parts as one file of the format that the suffix says, and remove them."""
    import pyarrow.parquet as pq

    batches = (batch for part in parts for batch in pq.ParquetFile(part).iter_batches())
    if out.suffix.lower() == ".parquet":
        write_atomically(out, lambda temporary: _write_parquet(temporary, batches, schema))
    elif out.suffix.lower() == ".csv":
        write_atomically(out, lambda temporary: _write_csv(temporary, batches, schema))
    else:
        rows: list[tuple[str, str]] = []
        write_atomically(out, lambda temporary: _write_npy(temporary, batches, schema, count, rows))
        write_atomically(
            out.with_suffix(".names.csv"), lambda temporary: _write_rows(temporary, ["path", "status"], rows)
        )
    for part in parts:
        part.unlink()


def _write_parquet(file: Path, batches: Iterator[Any], schema: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(file, schema) as writer:
        for batch in batches:
            writer.write_table(pa.Table.from_batches([batch], schema))


def _matrix(batch: Any, schema: Any) -> np.ndarray:
    """Return the features of a batch side by side, float32 (n, D), nan where there are none."""
    columns = []
    for field in list(schema)[2:]:
        column, width = batch.column(field.name), field.type.list_size
        values = np.full((len(column), width), np.nan, np.float32)
        values[column.is_valid().to_numpy(False)] = column.flatten().to_numpy(False).reshape(-1, width)
        columns.append(values)
    return np.concatenate(columns, axis=1)


def _write_csv(file: Path, batches: Iterator[Any], schema: Any) -> None:
    numbered = [f"{field.name}_{place}" for field in list(schema)[2:] for place in range(field.type.list_size)]

    def rows() -> Iterator[list[object]]:
        for batch in batches:
            names = zip(batch.column("path").to_pylist(), batch.column("status").to_pylist(), strict=True)
            for (path, status), values in zip(names, _matrix(batch, schema), strict=True):
                yield [path, status, *(values.tolist() if status == OK else [""] * len(values))]

    _write_rows(file, ["path", "status", *numbered], rows())


def _write_npy(file: Path, batches: Iterator[Any], schema: Any, count: int, rows: list[tuple[str, str]]) -> None:
    width = sum(field.type.list_size for field in list(schema)[2:])
    whole = np.lib.format.open_memmap(file, "w+", np.float32, (count, width))
    for batch in batches:
        whole[len(rows) : len(rows) + len(batch)] = _matrix(batch, schema)
        rows += zip(batch.column("path").to_pylist(), batch.column("status").to_pylist(), strict=True)
    whole.flush()


def _write_rows(file: Path, titles: list[str], rows: Any) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(titles)
        writer.writerows(rows)
