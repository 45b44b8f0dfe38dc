"""Sharding: the tracks of a data set to tar files for training from storage larger or slower than a disk."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, Field, ValidationError

from facecycle.api import Dataset, Track
from facecycle.atomic import explained, write_atomically, write_text
from facecycle.data.images import printable
from facecycle.data.joined import read_images
from facecycle.data.shards.format import BLOCK, FORMAT, INDEX, MAX_SHARD_BYTES, SUMS, Index, ShardEntry, encode_frame
from facecycle.errors import ConfigError, DataError, RunError
from facecycle.seeds import seeded

JOURNAL = ".progress.jsonl"
THREADS = 2
READ = 256
"""Frames of a track that are decoded at once."""
END = 20 * BLOCK
"""A tar file ends with empty blocks, up to this many bytes."""
_SHARD = re.compile(r"shard-\d{6}\.tar")
_TEMPORARY = re.compile(r"\.(shard-\d{6}\.tar|\.progress\.jsonl|SHA256SUMS|index\.json)\.\d+\.tmp")


@dataclass
class Sharded:
    """What was written: the index, how many shards were there before, and how many tracks have no readable frame."""

    index: Index
    kept: int
    empty: int


@dataclass
class _Progress:
    """Shards that are finished, and how many tracks of the order they have used up."""

    entries: list[ShardEntry] = field(default_factory=list)
    bad_frames: dict[str, str] = field(default_factory=dict)
    used: int = 0
    noted: int = 0
    """How many of the bad frames the journal names."""


class _Line(BaseModel):
    """A line of the journal, after the first: a finished shard, with it `used` tracks, and bad frames met meanwhile."""

    shard: ShardEntry
    bad_frames: dict[str, str]
    used: int = Field(ge=1)


@dataclass(frozen=True)
class _Encoded:
    """A track as it goes into a shard; with it, `used` tracks of the order are behind us."""

    name: str
    identity: str
    frames: list[bytes]
    used: int

    def sample(self, number: int) -> dict[str, Any]:
        """Return the track as a WebDataset sample, the files' names in the order of the frames."""
        about = json.dumps({"name": self.name, "identity": self.identity, "frames": len(self.frames)})
        files = {f"{place:06d}.png": data for place, data in enumerate(self.frames)}
        return {"__key__": f"{number:08d}", **files, "json": about.encode()}

    def bytes(self) -> int:
        """Return the bytes the track takes in a tar file: a header before each file, and padding after it."""
        contents = [content for key, content in self.sample(0).items() if key != "__key__"]
        return sum(BLOCK + -(-len(content) // BLOCK) * BLOCK for content in contents)


def write_shards(
    dataset: Dataset, out: Path, size: int, shard_mb: float, tell: Callable[[int, int], None] = lambda done, total: None
) -> Sharded:
    """Write the tracks of a data set as shards; each is a random sample of the tracks, and none is split.

    The same data set gives the same bytes. What an interrupted call has finished is kept by the next one.

    Args:
        dataset: where the tracks come from.
        out: folder of the shards; created.
        size: side of the frames in pixels.
        shard_mb: a shard ends before it is larger than this many MiB; a larger track has a shard of its own.
        tell: told how many tracks are done, and of how many.

    Raises:
        RunError: the folder holds other shards, or cannot be written.
        DataError: no frame can be read, or a track is larger than any shard may be.
    """
    try:
        import webdataset  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"writing shards needs webdataset: {error}", hint="pip install facecycle[shards]") from error
    tracks = dataset.tracks()
    if not tracks:
        raise DataError("the data set has no tracks to write")
    order = torch.randperm(len(tracks), generator=seeded("shards")).tolist()
    plan = {"format": FORMAT, "size": size, "shard_mb": shard_mb, "licence": dataset.licence}
    progress = _begin(out, {**plan, "data": dataset.fingerprint()})
    kept = len(progress.entries)
    pending: list[_Encoded] = []
    weight = END
    for track in _encode(dataset, [tracks[place] for place in order], size, progress):
        if pending and weight + track.bytes() > shard_mb * 1024**2:
            _write(out, progress, pending)
            pending, weight = [], END
        pending.append(track)
        weight += track.bytes()
        tell(track.used, len(tracks))
    if pending:
        _write(out, progress, pending)
    if not progress.entries:
        name, reason = next(iter(progress.bad_frames.items()))
        raise DataError(f"not one frame of {len(tracks):,} tracks can be read; the first is {name}: {reason}")
    bad = dict(sorted(progress.bad_frames.items()))
    index = Index(format=FORMAT, size=size, licence=dataset.licence, shards=progress.entries, bad_frames=bad)
    _write_index(out, index)
    return Sharded(index, kept, len(tracks) - sum(len(entry.tracks) for entry in index.shards))


def _begin(out: Path, plan: dict[str, Any]) -> _Progress:
    """Return what an interrupted call of the same plan has finished; the remains of another plan are deleted."""
    if (out / INDEX).exists():
        raise RunError(f"{out} already holds finished shards", hint="Name another folder with --out, or delete it.")
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    shards = {name for name in there if _SHARD.fullmatch(name)}
    if shards and JOURNAL not in there:
        raise RunError(f"{out} holds shards that were not written here", hint="Name another folder with --out.")
    first = json.dumps(plan)
    progress, whole = _Progress(), [first]
    for line in _journal(out / JOURNAL, first) if JOURNAL in there else []:
        path = out / line.shard.file
        if not path.is_file() or path.stat().st_size != line.shard.bytes:
            break  # from here on it is written again
        progress.entries.append(line.shard)
        progress.bad_frames.update(line.bad_frames)
        progress.used = line.used
        whole.append(line.model_dump_json())
    progress.noted = len(progress.bad_frames)
    kept = {entry.file for entry in progress.entries}
    for name in [*(shards - kept), *filter(_TEMPORARY.fullmatch, there)]:
        (out / name).unlink(missing_ok=True)
    write_text(out / JOURNAL, "".join(f"{line}\n" for line in whole))
    return progress


def _journal(path: Path, first: str) -> list[_Line]:
    """Return the lines of a journal that begins with `first`, up to one that a kill cut short or something damaged."""
    begin, *texts = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    lines: list[_Line] = []
    if begin == first:
        with contextlib.suppress(ValidationError):
            for text in texts:
                lines.append(_Line.model_validate_json(text))
    return lines


def _encode(dataset: Dataset, tracks: list[Track], size: int, progress: _Progress) -> Iterator[_Encoded]:
    """Yield the tracks that no finished shard holds; notes the frames that cannot be read."""
    with ThreadPoolExecutor(THREADS) as encoders:
        for used, track in enumerate(tracks[progress.used :], progress.used + 1):
            frames: list[bytes] = []
            for start in range(0, len(track.frames), READ):
                pixels, bad = read_images(dataset, track.frames[start : start + READ], size)
                progress.bad_frames.update({b.name: b.reason for b in bad if b is not None})
                good = [row for row, problem in enumerate(bad) if problem is None]
                images = np.ascontiguousarray(pixels[good].permute(0, 2, 3, 1).numpy())
                frames += encoders.map(encode_frame, images)
            if frames:
                yield _Encoded(printable(track.name), printable(track.identity), frames, used)


def _write(out: Path, progress: _Progress, tracks: list[_Encoded]) -> None:
    """Write a shard and note it, so that a call after a kill need not write it again."""
    from webdataset import TarWriter

    first = sum(len(entry.tracks) for entry in progress.entries)
    buffer = io.BytesIO()
    # A fixed time and owner: the same tracks give the same bytes.
    with TarWriter(buffer, user="", group="", mode=0o644, compress=False, encoder=False, mtime=0) as writer:
        for number, track in enumerate(tracks, first):
            writer.write(track.sample(number))
    data = buffer.getvalue()
    if len(data) > MAX_SHARD_BYTES:
        raise DataError(
            f"the track {tracks[0].name} of {len(tracks[0].frames):,} frames takes {len(data):,} bytes, more than "
            f"the {MAX_SHARD_BYTES:,} of the largest shard",
            hint="Split its folder, or lower --size.",
        )
    file = f"shard-{len(progress.entries):06d}.tar"
    write_atomically(out / file, lambda path: path.write_bytes(data))
    listed = [(track.name, track.identity, len(track.frames)) for track in tracks]
    entry = ShardEntry(file=file, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), tracks=listed)
    progress.entries.append(entry)
    progress.used = tracks[-1].used
    bad = dict(itertools.islice(progress.bad_frames.items(), progress.noted, None))
    progress.noted = len(progress.bad_frames)
    line = _Line(shard=entry, bad_frames=bad, used=progress.used)
    with explained(out / JOURNAL), (out / JOURNAL).open("a", encoding="utf-8") as journal:
        journal.write(line.model_dump_json() + "\n")
        journal.flush()
        os.fsync(journal.fileno())


def _write_index(out: Path, index: Index) -> None:
    text = index.model_dump_json() + "\n"
    sums = {**{entry.file: entry.sha256 for entry in index.shards}, INDEX: hashlib.sha256(text.encode()).hexdigest()}
    write_text(out / SUMS, "".join(f"{digest}  {file}\n" for file, digest in sums.items()))
    write_text(out / INDEX, text)  # where it is, everything is
    (out / JOURNAL).unlink(missing_ok=True)
