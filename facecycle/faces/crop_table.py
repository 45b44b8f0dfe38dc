"""The table of faces, and the parts that it is joined from: which files they know, and which are to be tried."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facecycle.atomic import remove_folder, remove_leftovers, write_atomically, write_text
from facecycle.data.folders import TABLE, Stamp, stamp
from facecycle.errors import RunError
from facecycle.faces.crop_photograph import NO_FACE, OK, Work, schema

PARTS, PLAN = ".faces", "plan.json"
FORMAT = 3
OTHERWISE = "Choose another folder with --out, or remove that one."


def begin(work: Work, plan: dict[str, Any], names: Sequence[str], *, own: bool) -> tuple[dict[str, Any], list[str]]:
    """Prepare the folder of crops.

    Args:
        work: where photographs are and crops go.
        plan: how crops are made. A setting of videos alone may be added when there are videos.
        names: of the files, in the order of the table.
        own: rows of files that are gone are left to `finish`, which removes them, instead of refusing them.

    Returns:
        The plan, and the names of files to try: those that no row knows, and those that have changed since.

    Raises:
        RunError: the folder holds something else, or crops of files that are gone.
    """
    plan = _agreed(work.out, {"format": FORMAT, **plan})
    remove_leftovers(work.out / PARTS)
    known, paths = _known(work.out), dict(_by_path(names))
    now = {path: stamp(work.root / name) for path, name in paths.items()}
    gone = [path for path, (_, cropped) in known.items() if cropped and path not in now]
    if gone and not own:
        more = f" (+{len(gone) - 1:,} more)" if len(gone) > 1 else ""
        what = f"{work.out} holds the crop of {gone[0]}, which is not among those in {work.root}{more}"
        raise RunError(what, hint=OTHERWISE)
    write_text(work.out / PARTS / PLAN, json.dumps(plan))
    return plan, [name for path, name in paths.items() if path not in known or known[path][0] != now[path]]


def write_part(work: Work, rows: list[dict[str, Any]], number: int) -> None:
    """Write rows as a part; those of files that are known already take the place of the earlier ones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(rows, schema())
    path = work.out / PARTS / f"part-{number:06d}.parquet"
    write_atomically(path, functools.partial(pq.write_table, table))


def next_part(out: Path) -> int:
    """Return the first number that no part has."""
    return 1 + max((int(path.stem.partition("-")[2]) for path in _parts(out)), default=-1)


def finish(work: Work, plan: dict[str, Any], names: Sequence[str]) -> Path:
    """Join the table and the parts, so that rows and crops are those of one call over the files that there are now."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = work.out / TABLE
    order = {path: place for place, (path, _) in enumerate(_by_path(names))}
    found = [pq.read_table(file, schema=schema()) for file in _files(work.out)]
    latest = {path: number for number, rows in enumerate(found) for path in rows["path"].to_pylist()}
    if _parts(work.out) or not table.exists() or not latest.keys() <= order.keys():
        kept = [
            rows.filter(pa.array([path in order and latest[path] == number for path in rows["path"].to_pylist()]))
            for number, rows in enumerate(found)
        ]
        whole = pa.concat_tables([schema().empty_table(), *kept])
        made = {crop for rows in found for crop in rows["crop"].to_pylist() if crop}
        for crop in made.difference(whole["crop"].to_pylist()):  # such as those of a broken video that is gone
            if (work.out / crop).resolve().is_relative_to(work.out.resolve()):  # whatever a damaged table says
                (work.out / crop).unlink(missing_ok=True)
        places = np.argsort([order[path] for path in whole["path"].to_pylist()], kind="stable")
        whole = whole.take(pa.array(places)).replace_schema_metadata({"facecycle": json.dumps(plan)})
        write_atomically(table, functools.partial(pq.write_table, whole))
    remove_folder(work.out / PARTS)
    return table


def _agreed(out: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Return the plan that a folder is filled by, which is this one where it is new.

    Raises:
        RunError: it holds something else.
    """
    import pyarrow.parquet as pq

    table, notes = out / TABLE, out / PARTS / PLAN
    try:
        if notes.exists():  # which may say more than the table: of videos that came after it
            known = dict(json.loads(notes.read_text()))
        elif table.exists():
            known = dict(json.loads(pq.read_schema(table).metadata[b"facecycle"]))
        elif out.exists() and any(out.iterdir()):
            raise RunError(f"{out} exists and is not empty", hint="Choose another folder with --out.")
        else:
            return plan
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{out} cannot be used: {error}", hint="Choose another folder with --out.") from error
    known.setdefault("format", None)
    if differs := ", ".join(key for key in plan if known.get(key, plan[key]) != plan[key]):
        raise RunError(f"{out} holds crops of other settings (they differ in: {differs})", hint=OTHERWISE)
    return {**known, **plan}


def _known(out: Path) -> dict[str, tuple[Stamp, bool]]:
    """Return the stamp of each file that has rows, and whether all of it could be read and a face was cropped."""
    import pyarrow.parquet as pq

    known: dict[str, tuple[Stamp, bool]] = {}
    for file in _files(out):
        rows = pq.read_table(file, columns=["path", "status", "bytes", "modified"]).to_pylist()
        statuses: dict[str, set[str]] = {}
        for row in rows:
            statuses.setdefault(row["path"], set()).add(row["status"])
        for row in rows:
            cropped = OK in statuses[row["path"]] <= {OK, NO_FACE}
            known[row["path"]] = ((row["bytes"], row["modified"]), cropped)
    return known


def _by_path(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names as the table has them, and as they are."""
    from facecycle.data.images import printable

    return ((printable(name), name) for name in names)


def _parts(out: Path) -> list[Path]:
    return sorted((out / PARTS).glob("part-*.parquet"))


def _files(out: Path) -> list[Path]:
    """Return the table, if there is one, and the parts that came after it."""
    return [*([out / TABLE] if (out / TABLE).exists() else []), *_parts(out)]
