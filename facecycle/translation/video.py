"""Videos: the face of every frame moved within it; sound, times, size and length stay as they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from facecycle.atomic import write_atomically
from facecycle.data.video import Frame, ahead, decoded, frames, is_video, library, missing, opened, packets
from facecycle.errors import ConfigError, DataError
from facecycle.faces.crop import crop
from facecycle.faces.following import Track, track
from facecycle.faces.motion import check_motion, inverse, paste
from facecycle.runtimes.base import Runtime
from facecycle.translation.files import Wanted, check_out
from facecycle.translation.photographs import find_driver, finder

BATCH = 8
"""Frames whose faces are computed at a time."""
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mp4"}
"""What a video of some suffix becomes; every other one becomes Matroska, which takes any sound."""
ENCODING = {"crf": "18", "preset": "veryfast"}


@dataclass
class Filmed:
    """What was made of a video.

    Attributes:
        path: the new video.
        frames, moved: how many frames it has, and in how many a face was moved.
        cut_short: seconds of pictures that the file promised and does not hold.
        shake: mean change of a crop's corners from frame to frame, in sides of the crop, found and smoothed.
        seconds: that each part of the work took.
    """

    path: Path
    frames: int = 0
    moved: int = 0
    cut_short: float = 0.0
    shake: tuple[float, float] = (0.0, 0.0)
    seconds: dict[str, float] = field(default_factory=dict)


def translate_video(
    runtime: Runtime,
    path: Path,
    out: Path,
    wanted: Wanted = Wanted(),
    driver: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Filmed:
    """Move the largest face of a video, frame by frame, to the front, or as a driver moves.

    The video is read twice: once to see where the face is, so that its place can be smoothed over time, and once to
    move it. So memory does not grow with its length. A driver's photograph gives the face its expression. A driver's
    video moves it as that face moves, relative to its own most neutral frame, and holds its last frame.

    Args:
        runtime: the weights, ready to compute, with the panel `flow`.
        path: the video.
        out: folder to write to; created when missing.
        wanted: the detector, the crop and the strength.
        driver: a photograph or a video.
        tell: told how far the work is.

    Raises:
        ConfigError: PyAV is not installed, the weights know no flow, what is wanted is for photographs, or `out` is a
            file.
        DataError: a file is no video, holds no frame, or no face is found in it.
        RunError: the video cannot be written.
    """
    check_motion((), wanted.strength)
    if "flow" not in runtime.panels:
        raise ConfigError(f"{runtime.weights} knows no flow, which moves the faces of videos")
    if wanted.face != 1 or wanted.strengths:
        raise ConfigError(
            f"{path}: of a video the largest face is moved, by one strength",
            hint="--face and several --strength are for photographs.",
        )
    check_out(out)
    begun = time.monotonic()
    follow = _following(runtime, driver, wanted, tell)
    found = track(path, finder(wanted.detector, wanted.crop), tell)
    if not np.isfinite(found.places).any():
        raise DataError(f"{path}: no face was found in any of {len(found.seconds):,} frames", hint="See --detector.")
    smooth = found.smooth()
    made = Filmed(out / f"{path.stem}-pasted.{CONTAINERS.get(path.suffix.lower(), 'mkv')}", len(found.seconds))
    made.moved = int(np.isfinite(smooth.places[:, 0]).sum())
    made.shake = found.shake(), smooth.shake()
    made.cut_short = missing(path, made.frames, float(found.seconds[-1]))
    made.seconds["finding"] = time.monotonic() - begun
    made.path.parent.mkdir(parents=True, exist_ok=True)

    def write(temporary: Path) -> None:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        # The matrices are small, and whoever waits for a second thread keeps it from the encoder.
        with threadpool_limits(1, user_api="blas"):
            _render(runtime, path, temporary, made.path.suffix, smooth, follow, wanted.strength, tell)

    write_atomically(made.path, write)
    made.seconds["moving"] = time.monotonic() - begun - made.seconds["finding"]
    return made


def _flows(runtime: Runtime, pixels: np.ndarray) -> np.ndarray:
    return runtime.translate(pixels, None, 0, ["flow"])["flow"]


Follow = Callable[[np.ndarray, float], list[np.ndarray]]
"""Maps a face's own flow and a time in seconds to the flows that it moves by."""


def _following(runtime: Runtime, driver: Path | None, wanted: Wanted, tell: Callable[[str], None]) -> Follow:
    """Return how faces move: to the front, or as a photograph or a video shows."""
    if driver is None:
        return lambda own, seconds: [own]
    if is_video(driver):
        return _driving(runtime, driver, wanted, tell)
    face = find_driver(driver, wanted.detector, runtime.size)
    back = inverse(_flows(runtime, face.pixels[None])[0], runtime.size)
    return lambda own, seconds: [own, back]


def _driving(runtime: Runtime, path: Path, wanted: Wanted, tell: Callable[[str], None]) -> Follow:
    """Return how faces move as that of a video, relative to its most neutral frame; its last frame holds.

    Raises:
        DataError: no frame of it shows a face.
    """
    found = track(path, finder(wanted.detector), tell).smooth()
    seconds, flows = [], []
    for part in _chunks(enumerate(ahead(frames(path)))):
        seen = [(frame, place) for number, frame in part if (place := found.similarity(number)) is not None]
        if seen:
            pixels = np.stack([crop(frame.pixels, place, runtime.size).transpose(2, 0, 1) for frame, place in seen])
            flows += list(_flows(runtime, pixels))
            seconds += [frame.seconds for frame, _ in seen]
    if not flows:
        raise DataError(f"{path}: no face was found", hint="Faces are to follow it. Name another driver.")
    moves, times = np.stack(flows), np.array(seconds)
    neutral = moves[np.square(moves).mean((1, 2, 3)).argmin()]

    def follow(own: np.ndarray, now: float) -> list[np.ndarray]:
        number = int(np.searchsorted(times, now - 1e-6).clip(0, len(times) - 1))
        return [inverse(moves[number] - neutral, runtime.size)]  # nothing at the most neutral frame

    return follow


def _chunks(items: Iterator[Any]) -> Iterator[list[Any]]:
    while part := list(islice(items, BATCH)):
        yield part


def _moved(
    runtime: Runtime, numbered: Iterator[tuple[int, Any]], places: Track, follow: Follow, strength: float
) -> Iterator[Any]:
    """Yield frames with their faces moved, and every packet of sound where it stood between them."""
    for part in _chunks(numbered):
        seen = [
            (position, place)
            for position, (number, frame) in enumerate(part)
            if isinstance(frame, Frame) and (place := places.similarity(number)) is not None
        ]
        made = {}
        if seen:
            crops = [crop(part[i][1].pixels, place, runtime.size).transpose(2, 0, 1) for i, place in seen]
            for (i, place), own in zip(seen, _flows(runtime, np.stack(crops)), strict=True):
                frame = part[i][1]
                flows = follow(own, frame.seconds)
                made[i] = paste(
                    frame.pixels, place, flows, strength=strength, network_size=runtime.size, sharp=False
                )  # for speed
        for position, (_, item) in enumerate(part):
            yield Frame(made[position], item.pts, item.seconds) if position in made else item


def _render(
    runtime: Runtime,
    path: Path,
    out: Path,
    suffix: str,
    places: Track,
    follow: Follow,
    strength: float,
    tell: Callable[[str], None],
) -> None:
    """Write a video with its faces moved."""
    av = library()
    kind = "mp4" if suffix == ".mp4" else "matroska"
    options = {"movflags": "+faststart"} if kind == "mp4" else {}
    with (
        opened(path) as source,
        av.open(f"file:{out}", "w", format=kind, options=options) as target,
        closing(ahead(_moved(runtime, ahead(_numbered(source)), places, follow, strength))) as items,
    ):
        begun, done, total = time.monotonic(), 0, len(places.seconds)
        video, streams, early = source.streams.video[0], {}, []
        encoder = None
        for item in items:
            if not isinstance(item, Frame):
                early.append(item)
            else:
                if encoder is None:  # all streams are made before anything is written, and the first frame has the size
                    encoder = _encoder(target, video, item.pixels.shape)
                    streams = {sound: _copied(path, target, sound) for sound in source.streams.audio}
                shown = av.VideoFrame.from_ndarray(_even(item.pixels), format="rgb24")
                shown.pts, shown.time_base = item.pts, video.time_base
                target.mux(encoder.encode(shown))
                done += 1
                left = (time.monotonic() - begun) / done * max(0, total - done)
                tell(f"{path.name}: {done:,} of {total:,} frames, {left:.0f} s left")
            if encoder is not None:
                for packet in early:
                    packet.stream = streams[packet.stream]
                    target.mux(packet)
                early.clear()
        if encoder is not None:
            target.mux(encoder.encode(None))


def _numbered(source: Any) -> Iterator[tuple[int, Any]]:
    """Yield frames with their numbers, and packets of sound with the number of the frame that comes next."""
    number, video = 0, source.streams.video[0]
    for packet in packets(source, video, *source.streams.audio):
        if packet.stream is video:
            for frame in decoded(packet, video):
                yield number, frame
                number += 1
        elif packet.dts is not None:
            yield number, packet


def _copied(path: Path, target: Any, sound: Any) -> Any:
    """Add a stream for a copy of another one's packets.

    Raises:
        DataError: the file's format cannot hold them.
    """
    try:
        return target.add_stream_from_template(sound)
    except ValueError as error:
        raise DataError(
            f"{path}: an {target.format.name.upper()} file cannot hold its sound ({sound.codec_context.name})",
            hint=f"Write its sound as AAC first: ffmpeg -i {path.name} -c:v copy -c:a aac new.mp4",
        ) from error


def _encoder(target: Any, video: Any, shape: tuple[int, ...]) -> Any:
    """Add an H.264 stream with the times and colours of another."""
    stream = target.add_stream("libx264", rate=video.average_rate or 25, options=ENCODING)
    stream.height, stream.width = (side + side % 2 for side in shape[:2])  # its colours have half the resolution
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = video.time_base
    for name in ("color_primaries", "color_trc", "colorspace"):
        setattr(stream.codec_context, name, getattr(video.codec_context, name))
    return stream


def _even(pixels: np.ndarray) -> np.ndarray:
    """Repeat the last row and column where their number is odd."""
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge") if height % 2 or width % 2 else pixels
