"""The data set `shards`: tar files that `facecycle data shard` wrote, on a disk, behind a URL or from a command.

Each is fetched once, checked, and kept in memory as long as it is among the last that were asked for.
"""

import hashlib
import logging
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import torch
from torch import Tensor

from facecycle.api import BadFrame, Track
from facecycle.api import Options as BaseOptions
from facecycle.data.frames import FileDataset
from facecycle.data.images import resize
from facecycle.data.pairs import POOL_SHARDS
from facecycle.data.shards.format import INDEX, MAX_INDEX_BYTES, decode_frame, frame_table, member_name, parse_index
from facecycle.errors import ConfigError, DataError

HELD = 2 * POOL_SHARDS
"""Shards in memory: those of the pool that is used, and of the next one. Each has at most `MAX_SHARD_BYTES`."""
FETCHERS = 2
"""Shards that are fetched at once, in memory besides those held."""
ATTEMPTS = 3
PAUSE = 0.5
"""Seconds before the second attempt to fetch a file; the next pause is twice as long."""
log = logging.getLogger("facecycle")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):")
_CURL = {6: "unknown host", 7: "no connection", 18: "cut short", 22: "refused by the server, as a missing file is"}


class Location:
    """Where the files of a folder lie.

    Args:
        text: a folder; a URL of one, its query kept; or `pipe:COMMAND` that writes the file named in place of `{}`.

    Raises:
        ConfigError: webdataset is missing, or knows no such URL.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        scheme = _SCHEME.match(text)
        self.remote = scheme is not None and not os.path.exists(text)
        if scheme is None or not self.remote:
            return
        try:
            from webdataset.gopen import gopen, gopen_schemes
        except ImportError as error:
            raise ConfigError(
                f"reading shards from {text} needs webdataset: {error}", hint="pip install facecycle[shards]"
            ) from error
        known = sorted(name for name in gopen_schemes if not name.startswith("_"))
        if scheme[1] not in known:
            raise ConfigError(f"{text}: shards cannot be read from {scheme[1]}:", hint=f"Known: {', '.join(known)}.")
        if scheme[1] == "pipe" and "{}" not in text:
            raise ConfigError(
                f"{text}: the command does not say where a file's name goes",
                hint="Write {} for it: pipe:aws s3 cp s3://bucket/shards/{} -",
            )
        self._open = gopen

    def name(self, file: str) -> str:
        """Return the path, URL or command of a file."""
        if not self.remote:
            return str(Path(self.text) / file)
        if self.text.startswith("pipe:"):
            return self.text.replace("{}", file)
        parts = urlsplit(self.text)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{file}"))

    def read(self, file: str, most: int, sha256: str | None = None) -> bytes:
        """Read a file of at most so many bytes and that digest; what is fetched from elsewhere is tried a few times.

        Raises:
            DataError: missing, unreachable, larger, or damaged.
        """
        attempts = ATTEMPTS if self.remote else 1
        for attempt in range(attempts):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                return self._checked(file, most, sha256)
            except OSError as error:
                reason = _reason(error)
        tried = f", tried {attempts} times" if self.remote else ""
        raise DataError(f"{self.name(file)} cannot be read{tried}: {reason}")

    def _checked(self, file: str, most: int, sha256: str | None) -> bytes:
        name = self.name(file)
        with self._open(name, "rb") if self.remote else Path(name).open("rb") as stream:
            data: bytes = stream.read(most + 1)
        if len(data) > most:
            raise DataError(f"{name} is larger than the {most:,} bytes it should have")
        # An OSError, for a transfer that was cut short deserves another attempt.
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise OSError(f"it is damaged: its {len(data):,} bytes have another sha256 than the index says")
        return data


def _reason(error: OSError) -> str:
    """Return what went wrong; webdataset says so with the whole command and its exit code."""
    code = re.search(r": exit (-?\d+) ", str(error))
    if code is None:
        return error.strerror or str(error)
    meaning = f" ({_CURL[int(code[1])]})" if int(code[1]) in _CURL and "'curl'" in str(error) else ""
    return f"exit code {code[1]}{meaning}"


def _no_index(location: Location, error: DataError) -> DataError:
    """Say what lies where the index of our shards should be."""
    path = Path(location.text)
    if path.suffix == ".tar" and (path.parent / INDEX).is_file():
        return DataError(f"{path} is one shard of several", hint=f"Give their folder: shards:{path.parent}")
    tar_files = [path] if path.suffix == ".tar" else [] if location.remote else sorted(path.glob("*.tar"))
    if tar_files and not (path / INDEX).exists():
        return DataError(
            f"there is no {INDEX} beside {tar_files[0]}, as `facecycle data shard` writes it with its shards",
            hint="If that command was stopped, repeat it. Shards of other programs do not tell tracks and people: "
            "unpack them into one folder a track, and read these as tracks:FOLDER.",
        )
    return DataError(error.message, hint=f"Expected the folder that `facecycle data shard` writes, with its {INDEX}.")


Held = TypeVar("Held")


class Kept(Generic[Held]):
    """What `load` returned for the last `HELD` numbers asked for; each is loaded once, in the background."""

    def __init__(self, load: Callable[[int], Held]) -> None:
        self._load = load
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._kept: OrderedDict[int, Future[Held]] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(FETCHERS, thread_name_prefix="shards")

    def get(self, number: int) -> Held:
        """Return what belongs to a number.

        Raises:
            DataError: as `load` does; the next call tries again.
        """
        future = self._request(number)
        try:
            return future.result()
        except DataError:
            with self._lock:
                if self._kept.get(number) is future:
                    del self._kept[number]
            raise

    def prefetch(self, numbers: Sequence[int]) -> None:
        """Begin to load these in this order, and drop none of them for another."""
        for number in numbers[:HELD]:
            self._request(number)

    def _request(self, number: int) -> Future[Held]:
        if self._process != os.getpid():  # a worker inherits the pool without its threads
            self._begin()
        with self._lock:
            if number not in self._kept:
                self._kept[number] = self._pool.submit(self._load_unless_ended, number)
            self._kept.move_to_end(number)
            while len(self._kept) > HELD:
                self._kept.popitem(last=False)[1].cancel()
            return self._kept[number]

    def _load_unless_ended(self, number: int) -> Held:
        if not threading.main_thread().is_alive():
            raise DataError("the program has ended")  # which waits for its threads, but not for what they would fetch
        return self._load(number)


class ShardOptions(BaseOptions):
    """Options of the data set `shards`."""

    path: str
    """Folder with index.json, its URL (http, https, gs), or pipe:COMMAND with {} for a file's name."""


class Shards(FileDataset):
    """Frames are read a shard at a time; see `Kept` for how many stay in memory."""

    facecycle_api = (1, 0)
    Options = ShardOptions
    kind = "shards"
    licence = "as the index of the shards says"

    def __init__(self, options: ShardOptions) -> None:
        self.location = Location(options.path)
        try:
            text = self.location.read(INDEX, MAX_INDEX_BYTES)
        except DataError as error:
            raise _no_index(self.location, error) from error
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
            data, table = self._shards.get(number)
            for row in (row for row, each in enumerate(numbers) if each == number):
                place = frames[row] - int(self._first_frames[number])
                begin, length = table[place].tolist()
                try:
                    image = decode_frame(data[begin : begin + length], self.index.size)
                except DataError as error:
                    bad[row] = BadFrame(self.name(frames[row]), error.message)
                    continue
                pixels[row] = resize(torch.from_numpy(image).permute(2, 0, 1)[None], size)[0]
        return pixels, bad

    def prefetch(self, shards: Sequence[int]) -> None:
        """Begin to fetch shards in the background."""
        self._shards.prefetch(shards)

    def fingerprint(self) -> str:
        """Return a digest of the index, which has the digest of every shard."""
        return self._fingerprint

    def _load(self, number: int) -> tuple[bytes, np.ndarray]:
        """Return a shard's tar file, and (n, 2) where each frame begins and how long it is."""
        entry = self.index.shards[number]
        data = self.location.read(entry.file, entry.bytes, entry.sha256)
        counts = [count for _, _, count in entry.tracks]
        first = int(self._first_tracks[number])
        return data, frame_table(data, first, counts, self.location.name(entry.file))

    def name(self, frame: int) -> str:
        """Return a frame's track, shard and name in it."""
        number = int(np.searchsorted(self._first_frames, frame, side="right")) - 1
        within = range(int(self._first_tracks[number]), int(self._first_tracks[number + 1]))
        track = next(place for place in within if frame in self._tracks[place].frames)
        member = member_name(track, frame - self._tracks[track].frames[0])
        return f"{self._tracks[track].name} ({self.index.shards[number].file}: {member})"
