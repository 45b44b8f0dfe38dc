"""The data set `shards`: tracks in tar files that `facecycle data shard` wrote, on a disk or behind a URL."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from facecycle.api import BadFrame, Track
from facecycle.api import Options as BaseOptions
from facecycle.data.frames import FileDataset
from facecycle.data.shards.format import INDEX, MAX_INDEX_BYTES, decode_frame, frame_table, member_name, parse_index
from facecycle.errors import DataError
from facecycle_plugins.datasets.unlabelled.shard_files import Kept, Location, Shard

log = logging.getLogger("facecycle")


class ShardOptions(BaseOptions):
    """Options of the data set `shards`."""

    path: str
    """Folder with index.json, its URL (http, https, gs), or pipe:COMMAND with {} for a file's name."""


class Shards(FileDataset):
    """Frames are read a shard at a time; see `shard_files` for how many are kept."""

    facecycle_api = (1, 0)
    Options = ShardOptions
    kind = "shards"
    licence = "as the index of the shards says"

    def __init__(self, options: ShardOptions) -> None:
        self.location = Location(options.path)
        text = self.location.read(INDEX, MAX_INDEX_BYTES)
        self.index = parse_index(text, self.location.name(INDEX))
        self.licence = self.index.licence
        self._fingerprint = hashlib.sha256(text).hexdigest()
        self._tracks: list[Track] = []
        frames = 0
        for number, entry in enumerate(self.index.shards):
            for name, identity, count in entry.tracks:
                self._tracks.append(Track(name, identity, range(frames, frames + count), number))
                frames += count
        self._first_frames = np.cumsum([0, *(entry.frames for entry in self.index.shards)])
        self._first_tracks = np.cumsum([0, *(len(entry.tracks) for entry in self.index.shards)])
        self._shards = Kept(self._load)
        self._enlarges = False

    def tracks(self) -> list[Track]:
        """Return every track, in the order of the shards."""
        return self._tracks

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames as RGB uint8 (n, 3, size, size); a bad frame's pixels are zero and it is named.

        Raises:
            DataError: a shard cannot be fetched, or is damaged.
        """
        if size > self.index.size and not self._enlarges:
            self._enlarges = True
            log.info("shards: the frames have %d pixels a side and are enlarged to %d", self.index.size, size)
        pixels = torch.zeros(len(frames), 3, size, size, dtype=torch.uint8)
        bad: list[BadFrame | None] = [None] * len(frames)
        numbers = (np.searchsorted(self._first_frames, frames, side="right") - 1).tolist()
        for number in dict.fromkeys(numbers):
            shard = self._shards.get(number)
            for row in (row for row, each in enumerate(numbers) if each == number):
                place = frames[row] - int(self._first_frames[number])
                begin, length = shard.frames[place].tolist()
                try:
                    image = decode_frame(shard.data[begin : begin + length], self.index.size)
                except DataError as error:
                    bad[row] = BadFrame(self.name(frames[row]), error.message)
                    continue
                found = torch.from_numpy(image).permute(2, 0, 1)
                pixels[row] = found if size == self.index.size else resize(found, [size, size], antialias=True)
        return pixels, bad

    def prefetch(self, shards: Sequence[int]) -> None:
        """Begin to fetch shards in the background."""
        self._shards.prefetch(shards)

    def fingerprint(self) -> str:
        """Return a digest of the index, which has the digest of every shard."""
        return self._fingerprint

    def _load(self, number: int) -> Shard:
        entry = self.index.shards[number]
        data = self.location.read(entry.file, entry.bytes, entry.sha256)
        counts = [count for _, _, count in entry.tracks]
        first = int(self._first_tracks[number])
        return Shard(data, frame_table(data, first, counts, self.location.name(entry.file)))

    def name(self, frame: int) -> str:
        """Return a frame's track, shard and name in it."""
        number = int(np.searchsorted(self._first_frames, frame, side="right")) - 1
        within = range(int(self._first_tracks[number]), int(self._first_tracks[number + 1]))
        track = next(place for place in within if frame in self._tracks[place].frames)
        member = member_name(track, frame - self._tracks[track].frames[0])
        return f"{self._tracks[track].name} ({self.index.shards[number].file}: {member})"
