"""Videos: their frames, upright, with the times at which they are shown, through PyAV, the extra `video`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

import numpy as np

from facecycle.errors import ConfigError, DataError

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".3gp"})
"""Of files that are taken for videos."""
FORMATS = "mov,matroska,webm,avi,mpeg,mpegvideo,mpegts,asf"
"""FFmpeg's names of what such files hold. Others may be lists that name further files, on other machines too."""
AHEAD = 4
"""Frames that are made before they are used: each stage of the work has a thread of its own."""
LEAST_MISSING = 0.5
"""Seconds that a file may be shorter than the length in its header, where that does not count frames."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Frame:
    """A frame of a video.

    Attributes:
        pixels: upright RGB (H, W, 3), uint8.
        pts: when it is shown, in units of the stream's time base.
        seconds: the same in seconds.
    """

    pixels: np.ndarray
    pts: int
    seconds: float


def is_video(path: Path) -> bool:
    """Tell whether a file's suffix is a video's."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def library() -> Any:
    """Import PyAV.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ConfigError("videos need PyAV, which is not installed", hint="pip install 'facecycle[video]'") from error
    return av


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a video for reading, as a PyAV container with a video stream that can be decoded.

    Raises:
        ConfigError: PyAV is not installed.
        DataError: it is not there, cannot be read, has no video stream, or no decoder knows its codec.
    """
    av = library()
    if not path.exists():
        raise DataError(f"there is no file {path}")
    try:
        # `file:` keeps what stands before a colon from being taken for a protocol.
        container = av.open(f"file:{path}", metadata_errors="replace", options={"format_whitelist": FORMATS})
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(
            f"{path}: not a video that can be read ({error.strerror})", hint="Was it cut short, or is it still written?"
        ) from error
    with container:
        if not container.streams.video:
            raise DataError(f"{path}: there is no video stream in it")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise DataError(f"{path}: no decoder is installed for its video stream")
        stream.thread_type = "AUTO"
        yield container


def frames(path: Path) -> Iterator[Frame]:
    """Yield the frames of a video, upright, in the order they are shown.

    What a file that is cut short still holds is yielded.

    Raises:
        ConfigError, DataError: see `opened`.
    """
    with opened(path) as container:
        stream = container.streams.video[0]
        for packet in packets(container, stream):
            yield from decoded(packet, stream)


def packets(container: Any, *streams: Any) -> Iterator[Any]:
    """Yield the packets of streams in the order they stand in the file, to its end or to where it is damaged."""
    with contextlib.suppress(library().error.InvalidDataError):
        yield from container.demux(*streams)


def missing(path: Path, count: int, end: float) -> float:
    """Return how many seconds of pictures a file's header promises and its frames do not show; 0 where it is silent.

    Args:
        path: the video.
        count: its frames.
        end: when the last one is shown, in seconds.
    """
    with opened(path) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 25)
        begin = float((stream.start_time or 0) * stream.time_base)
        if stream.frames:
            # AVI counts frames that show nothing new too, and MP4 those that were trimmed away. So no more is missing
            # than there is time for between the last frame and the end, which MP4 alone says apart from the count.
            promised = float(stream.frames)
            if stream.duration and "mp4" in container.format.name:
                promised = min(promised, float(stream.duration * stream.time_base) * rate)
            late = promised - (end - begin) * rate - 1
            return max(0, round(min(stream.frames - count, late))) / rate
        length = 0.0
        if found := re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", "")):  # as Matroska says it
            hours, minutes, seconds = map(float, found.groups())
            length = 3600 * hours + 60 * minutes + seconds
        elif stream.duration:
            length = float(stream.duration * stream.time_base) + begin
        elif container.duration and len(container.streams) == 1:
            length = (container.duration + (container.start_time or 0)) / 1e6
        short = length - end - 1 / rate
        return short if short > LEAST_MISSING else 0.0


def decoded(packet: Any, stream: Any) -> Iterator[Frame]:
    """Yield the upright frames that a packet completes; one that is damaged completes none."""
    av = library()
    if packet.is_corrupt:  # as at the end of a file that was cut short, which the decoder does not notice
        return
    try:
        found = packet.decode()
    except av.error.InvalidDataError:
        return
    base = stream.time_base or Fraction(1, 25)
    for frame in found:
        pts = frame.pts if frame.pts is not None else frame.dts
        if pts is not None:
            # Phones store how they were held; the turn is counter-clockwise, as numpy's.
            pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            yield Frame(np.ascontiguousarray(pixels), pts, float(pts * base))


def ahead(items: Iterator[Item], depth: int = AHEAD) -> Generator[Item, None, None]:
    """Yield items that a thread makes ahead, so many at most; what it raises is raised here.

    Closing it ends the thread, and closes the items there. Do that before what they read is closed: FFmpeg crashes.
    """
    queue: Queue[tuple[str, Any]] = Queue(depth)
    stopped = Event()

    def put(kind: str, value: Any) -> bool:
        while not stopped.is_set():
            with contextlib.suppress(Full):
                queue.put((kind, value), timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are used
            put("error", error)
        finally:
            if isinstance(items, Generator):
                items.close()  # here, because what it reads must not be closed while this thread still reads it

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            try:
                kind, value = queue.get(timeout=0.5)
            except Empty:
                continue
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stopped.set()
        thread.join()
