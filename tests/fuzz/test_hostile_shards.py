"""Shards and indexes made to do harm: refused by an error of ours, with nothing written and nothing believed."""

from __future__ import annotations

import hashlib
import json
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from facecycle.data.shards.format import INDEX, MAX_SHARD_BYTES, encode_frame, member_name
from facecycle.errors import DataError
from facecycle.registry import build
from facecycle.seeds import seeded

SIZE = 16


def opened(path: Path) -> Any:
    return build("dataset", "shards", {"path": str(path)})


def member(name: str, data: bytes = b"", **fields: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(fields.get("format", tarfile.USTAR_FORMAT)) + data.ljust(-(-len(data) // 512) * 512, b"\0")


def resized(header: bytes, field: bytes) -> bytes:
    """Write another size into a tar header, and the checksum that fits."""
    header = header[:124] + field.ljust(12, b"\0") + header[136:148] + b" " * 8 + header[156:]
    return header[:148] + f"{sum(header[:512]):06o}\0 ".encode() + header[156:]


NAME = member_name(0, 0)
PNG = encode_frame(torch.randint(256, (SIZE, SIZE, 3), generator=seeded("noise")).byte().numpy())
HOSTILE: dict[str, bytes] = {
    "absolute": member("/tmp/facecycle-escaped.png", PNG),
    "above": member("../" + NAME, PNG),
    "symbolic link": member(NAME, type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": member(NAME, type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "device": member(NAME, type=tarfile.CHRTYPE, devmajor=1, devminor=5),
    "folder": member("x", type=tarfile.DIRTYPE),
    "sparse": member(NAME, PNG, type=tarfile.GNUTYPE_SPARSE),
    "extended header": member("pax", b"30 path=/tmp/facecycle-escaped\n", type=tarfile.XHDTYPE),
    "long name": member("././@LongLink", b"/tmp/facecycle-escaped", type=tarfile.GNUTYPE_LONGNAME),
    "huge": resized(member(NAME, PNG), b"77777777777"),
    "enormous": resized(member(NAME, PNG), b"\x80" + b"\x7f" * 11),
    "negative": resized(member(NAME, PNG), b"\xff" * 11 + b"\0"),
    "no number": resized(member(NAME, PNG), b"size?"),
    "cut short": member(NAME, PNG)[:530],
    "cut in a header": member(NAME, PNG)[:300],
    "no tar": bytes(range(256)) * 8,
    "compressed": zlib.compress(b"\0" * 2_000_000).ljust(2048, b"\1"),
    "empty": b"\0" * 10240,
    "another track": member(member_name(1, 0), PNG),
}


def hostile(folder: Path, tar: bytes, size: int = SIZE) -> Path:
    """Write one shard of one frame with an index that vouches for it."""
    tar = tar.ljust(2048, b"\0") if not tar or len(tar) % 512 == 0 else tar
    entry = {"file": "a.tar", "bytes": max(len(tar), 1024), "sha256": hashlib.sha256(tar).hexdigest()}
    index = {"format": 1, "size": size, "licence": "none", "shards": [{**entry, "tracks": [["t", "i", 1]]}]}
    folder.mkdir(exist_ok=True)
    (folder / "a.tar").write_bytes(tar)
    (folder / INDEX).write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tar_is_refused_and_writes_nothing(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = opened(hostile(tmp_path / "s", HOSTILE[kind]))
    with pytest.raises(DataError, match=r"a\.tar"):
        dataset.images([0], SIZE)
    assert {path.name for path in tmp_path.rglob("*")} == {"s", "a.tar", INDEX}
    assert not Path("/tmp/facecycle-escaped.png").exists()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


OTHER = encode_frame(torch.zeros(8, 8, 3).byte().numpy())
BOMB = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
    + chunk(b"IEND", b"")
)


@pytest.mark.parametrize("data", [b"", b"no image", PNG[:500], BOMB, OTHER], ids=range(5))
def test_a_frame_that_is_none_is_named_as_bad(tmp_path: Path, data: bytes) -> None:
    pixels, (bad,) = opened(hostile(tmp_path / "s", member(NAME, data))).images([0], SIZE)
    assert pixels.max() == 0
    assert bad is not None
    assert bad.name == "t (a.tar: 00000000.000000.png)"
    good, problems = opened(hostile(tmp_path / "good", member(NAME, PNG))).images([0], SIZE)
    assert (problems, good.shape) == ([None], (1, 3, SIZE, SIZE))


INDEX_FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "shards.0.file": lambda index: index["shards"][0].update(file="../a.tar"),
    "file: String": lambda index: index["shards"][0].update(file="a;touch x.tar"),
    "shards.0.bytes": lambda index: index["shards"][0].update(bytes=MAX_SHARD_BYTES + 1),
    "shards.0.sha256": lambda index: index["shards"][0].update(sha256="?"),
    "tracks.0.2": lambda index: index["shards"][0].update(tracks=[["t", "i", -1]]),
    "do not fit": lambda index: index["shards"][0].update(tracks=[["t", "i", 9999]]),
    "names a shard twice": lambda index: index["shards"].append(index["shards"][0]),
    "format": lambda index: index.update(format=2),
    "no index": lambda index: index.clear(),
}


@pytest.mark.parametrize("message", INDEX_FAULTS)
def test_a_malformed_index_is_refused(tmp_path: Path, message: str) -> None:
    folder = hostile(tmp_path, member(NAME, PNG))
    index = json.loads((folder / INDEX).read_text())
    INDEX_FAULTS[message](index)
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(DataError, match=message):
        opened(folder)
    (folder / INDEX).write_bytes(b"[" * 100_000 + b"\xff")
    with pytest.raises(DataError, match="is no index of shards"):
        opened(folder)
