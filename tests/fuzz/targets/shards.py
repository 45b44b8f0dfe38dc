"""Shards: tar files with damaged headers and frames, indexes that name and promise other things, damaged journals."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz.damage import EDGES, ODD_TEXT, damaged, damaged_json
from fuzz.harness import Target
from hypothesis import strategies as st

from facecycle.api import Track
from facecycle.data.frames import FileDataset, FrameArrays
from facecycle.data.shards.format import INDEX, encode_frame, member_name
from facecycle.data.shards.write import JOURNAL, write_shards
from facecycle.registry import build

SIZE = 8
TAR = "shard-000000.tar"
FRAME = encode_frame(np.arange(SIZE * SIZE * 3, dtype=np.uint8).reshape(SIZE, SIZE, 3))
TRACKS = [["a", "someone", 2], ["b", "another", 1]]
NAMES = [member_name(0, 0), member_name(0, 1), member_name(1, 0)]
FIELDS = {"name": (0, 100), "size": (124, 12), "checksum": (148, 8), "type": (156, 1), "link": (157, 100)}
"""Where some fields of a tar header lie, and how long they are."""


def _tar(names: list[str], frames: list[bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in zip(names, frames, strict=True):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


WHOLE = _tar(NAMES, [FRAME] * 3)


def _index(tar: bytes) -> dict[str, Any]:
    entry = {"file": TAR, "bytes": max(len(tar), 4096), "sha256": hashlib.sha256(tar).hexdigest(), "tracks": TRACKS}
    return {"format": 1, "size": SIZE, "licence": "none", "shards": [entry], "bad_frames": {"x.jpg": "cut short"}}


@st.composite
def _tars(draw: st.DrawFn) -> bytes:
    """Draw a tar file with damaged bytes, other names and frames, or other fields in a header that adds up again."""
    kind = draw(st.sampled_from(("bytes", "names", "frames", "field", "field")))
    if kind == "bytes":
        return draw(damaged(WHOLE))
    if kind == "names":
        odd = draw(ODD_TEXT).replace("\0", "")[:90]
        names = draw(st.permutations([*NAMES[1:], odd.encode("utf-8", "replace").decode()]))
        return _tar(names, [FRAME] * 3)
    if kind == "frames":
        return _tar(NAMES, [draw(damaged(FRAME)), FRAME, draw(st.binary(max_size=64))])
    tar = bytearray(WHOLE)
    start, length = FIELDS[draw(st.sampled_from(sorted(FIELDS)))]
    number = draw(st.sampled_from(EDGES))
    octal = f"{abs(number):o}".encode()[:length]
    value = draw(st.sampled_from((octal, b"\x80" + octal[1:], b"\xff" * length)) | st.binary(max_size=length))
    tar[start : start + length] = value.ljust(length, b"\0")
    tar[148:156] = b" " * 8
    tar[148:156] = f"{sum(tar[:512]):06o}\0 ".encode()
    return bytes(tar)


def _read(index: bytes, tar: bytes, folder: Path) -> None:
    (folder / INDEX).write_bytes(index)
    (folder / TAR).write_bytes(tar)
    dataset = build("dataset", "shards", {"path": str(folder)})
    frames = [track.frames[-1] for track in dataset.tracks()[:3]]
    pixels, bad = dataset.images(frames, SIZE)
    assert pixels.shape == (len(frames), 3, SIZE, SIZE)
    assert all(not image.any() for image, problem in zip(pixels, bad, strict=True) if problem is not None)


class _Faces(FileDataset):
    kind, licence = "faces", "none"

    def __init__(self) -> None:
        self.files = FrameArrays(torch.zeros(3, 3, SIZE, SIZE, dtype=torch.uint8), ["a0", "a1", "b0"])

    def tracks(self) -> list[Track]:
        return [Track("a", "someone", range(2)), Track("b", "another", range(2, 3))]


def _lines() -> list[dict[str, Any]]:
    """Return a journal of two shards, of which the second was not written."""
    plan = {"format": 1, "size": SIZE, "shard_mb": 1, "licence": "none", "data": _Faces().fingerprint()}
    entry = {**_index(WHOLE)["shards"][0], "bytes": len(WHOLE)}
    lines: list[dict[str, Any]] = [plan]
    for number, used in ((0, 1), (1, 2)):
        lines.append({"shard": {**entry, "file": f"shard-{number:06d}.tar"}, "bad_frames": {"x": "y"}, "used": used})
    return lines


@st.composite
def _journals(draw: st.DrawFn) -> bytes:
    lines = [json.dumps(line).encode() for line in _lines()]
    at = draw(st.integers(0, len(lines) - 1))
    lines[at] = draw(damaged_json(_lines()[at]))
    return b"\n".join(lines)


def _go_on(journal: bytes, folder: Path) -> None:
    """Go on writing where a journal says that an earlier call was killed."""
    (folder / JOURNAL).write_bytes(journal)
    (folder / TAR).write_bytes(WHOLE)
    done = write_shards(_Faces(), folder, SIZE, 1)
    assert sum(len(entry.tracks) for entry in done.index.shards) >= 1
    assert not (folder / JOURNAL).exists()


SOUND = json.dumps(_index(WHOLE)).encode()

TARGETS = [
    Target(
        "shards/tar",
        _tars(),
        lambda tar, folder: _read(json.dumps(_index(tar)).encode(), tar, folder),
        WHOLE,
        share=2,
    ),
    Target("shards/index", damaged_json(_index(WHOLE)), lambda index, folder: _read(index, WHOLE, folder), SOUND),
    Target("shards/journal", _journals(), _go_on, b"\n".join(json.dumps(line).encode() for line in _lines())),
]
