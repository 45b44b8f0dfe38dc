"""The format of shards: tar files of whole tracks, and the index that says what each of them holds.

A folder of shards holds `index.json`, `SHA256SUMS` and `shard-000000.tar` and on. Track number t (counted through all
shards) is one WebDataset sample: `0000000t.000000.png` and on, square RGB frames of one size, and `0000000t.json`.
"""

from __future__ import annotations

import io
import re
import tarfile
from typing import Annotated, Final, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field, ValidationError, model_validator

from facecycle.data.images import DAMAGED
from facecycle.errors import DataError

FORMAT: Final = 1
INDEX = "index.json"
SUMS = "SHA256SUMS"
MAX_SHARD_BYTES = 256 * 1024**2
"""Larger shards are neither written nor read, so that memory stays bounded whoever wrote the index."""
MAX_INDEX_BYTES = 512 * 1024**2
"""Room for some millions of tracks."""
BLOCK = 512
"""Everything in a tar file is padded to this many bytes."""
_MEMBER = re.compile(r"\d{8}\.(json|\d{6}\.png)")

Count = Annotated[int, Field(ge=1, le=MAX_SHARD_BYTES // (2 * BLOCK))]


class ShardEntry(BaseModel, extra="forbid", frozen=True):
    """One shard, as the index describes it."""

    # The name becomes part of a path, a URL or a command: nothing but a plain file name will do.
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.tar$", max_length=100)
    bytes: int = Field(ge=2 * BLOCK, le=MAX_SHARD_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    tracks: list[tuple[str, str, Count]] = Field(min_length=1)
    """Name, identity and number of frames of each track, in the order of the tar file."""

    @model_validator(mode="after")
    def _has_room(self) -> ShardEntry:
        if self.frames * 2 * BLOCK > self.bytes:
            raise ValueError(f"{self.frames} frames do not fit into {self.bytes} bytes")
        return self

    @property
    def frames(self) -> int:
        """The number of frames in this shard."""
        return sum(count for _, _, count in self.tracks)


class Index(BaseModel, extra="forbid", frozen=True):
    """What a folder of shards holds."""

    format: Literal[1]
    size: int = Field(ge=1, le=4096)
    """Side of the frames in pixels."""
    licence: str = Field(min_length=1)
    shards: list[ShardEntry] = Field(min_length=1)
    bad_frames: dict[str, str] = {}
    """Frames of the original data that could not be read and are in no shard, with the reason."""


def parse_index(text: bytes, where: str) -> Index:
    """Read the content of an `index.json`; messages name its path or URL as `where`.

    Raises:
        DataError: it is no index, or of another format.
    """
    try:
        index = Index.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{where} is no index of shards: {f'{key}: ' if key else ''}{first['msg']}",
            hint=f"Expected the {INDEX} that `facecycle data shard` writes, format {FORMAT}.",
        ) from error
    files = [entry.file for entry in index.shards]
    if len(set(files)) < len(files):
        raise DataError(f"{where} names a shard twice")
    return index


def member_name(track: int, frame: int) -> str:
    """Return the name of a frame inside its shard."""
    return f"{track:08d}.{frame:06d}.png"


def frame_table(data: bytes, first: int, counts: list[int], where: str) -> np.ndarray:
    """Return where each frame's PNG file begins in a tar file, and its length, (n, 2) in the order of the index.

    The file holds as many tracks as there are `counts` of their frames, numbered from `first` on; messages name its
    path or URL as `where`.

    Raises:
        DataError: not such a tar file, or a frame is missing.
    """
    found = _members(data, where)
    names = [member_name(track, frame) for track, count in enumerate(counts, first) for frame in range(count)]
    for name in names:
        if name not in found:
            raise DataError(f"{where} lacks {name}, which the index promises")
    return np.array([found[name] for name in names], np.int64).reshape(-1, 2)


def _members(data: bytes, where: str) -> dict[str, tuple[int, int]]:
    """Return where each member begins, and its length, by name.

    Only what we write is accepted: plain files under our own names, without extended headers. `tarfile` itself
    follows links, sparse maps and negative offsets, none of which has a place here.
    """
    found: dict[str, tuple[int, int]] = {}
    place = 0
    while any(data[place : place + BLOCK]):
        try:
            member = tarfile.TarInfo.frombuf(data[place : place + BLOCK], "ascii", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise DataError(f"{where} is no tar file, or damaged at byte {place:,}: {error}") from error
        if member.type != tarfile.REGTYPE or not _MEMBER.fullmatch(member.name):
            raise DataError(f"{where} holds {member.name!r}, which is no frame of a track")
        begin = place + BLOCK
        if not 0 <= member.size <= len(data) - begin:
            raise DataError(f"{where} is cut short: {member.name} claims {member.size:,} bytes")
        found[member.name] = (begin, member.size)
        place = begin + -(-member.size // BLOCK) * BLOCK
    return found


def encode_frame(pixels: np.ndarray) -> bytes:
    """Encode RGB uint8 (H, W, 3), without loss: where the data lies then changes no pixel that is trained on."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def decode_frame(data: bytes, size: int) -> np.ndarray:
    """Decode a frame to RGB uint8 (size, size, 3).

    Raises:
        DataError: it is no PNG file of that size.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.size != (size, size) or image.mode != "RGB":
                raise DataError(f"expected {size} x {size} pixels RGB, got {image.width} x {image.height} {image.mode}")
            return np.array(image)
    except (*DAMAGED, Image.DecompressionBombError) as error:
        raise DataError(f"the frame is damaged ({error})") from error
