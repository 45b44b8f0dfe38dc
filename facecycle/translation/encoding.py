"""Frames to H.264 in parts that know nothing of each other, and parts to a video with the sound of another one."""

from __future__ import annotations

import heapq
import io
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facecycle.data.video import Frame, library, opened, packets
from facecycle.errors import DataError
from facecycle.machine import has_avx512
from facecycle.translation.unfinished import read

ENCODING = {"crf": "18", "preset": "veryfast"}
PART = 240
"""Frames of a part. The encoder begins anew after 250 anyway, so parts take no more room."""
SHOWN, DECODED, LASTS, KEY, SIZE = range(5)
"""Columns of what is known of a packet: times in units of the video's time base, whether it begins anew, its bytes."""
MATRICES, UNKNOWN = (1, 4, 5, 6, 7, 9, 10), 2
"""Between RGB and YUV, as H.264 numbers them: those that FFmpeg computes, and what says nothing of it."""


def encode(shown: Iterator[Frame], video: Any, shape: Sequence[int] | None) -> dict[str, np.ndarray]:
    """Compress the frames of a part.

    Args:
        shown: the frames.
        video: the stream that they come from, whose times and colours they keep.
        shape: height and width of the first part's frames; None for the first part.

    Returns:
        `packets`, int64 (n, 5), see `SHOWN`; `data`, uint8, their bytes; and `shape`, (2,).

    Raises:
        DataError: there is no frame.
    """
    av, encoder, found = library(), None, []
    for frame in shown:
        if encoder is None:
            shape = shape or frame.pixels.shape[:2]
            encoder = _prepared(av.CodecContext.create("libx264", "w"), video, shape)
        picture = av.VideoFrame.from_ndarray(_even(frame.pixels), format="rgb24").reformat(
            encoder.width,
            encoder.height,
            encoder.pix_fmt,
            dst_colorspace=encoder.colorspace,
            dst_color_range=encoder.color_range,
        )
        picture.pts, picture.time_base = frame.pts, video.time_base
        found += encoder.encode(picture)
    if encoder is None:
        raise DataError("the video has fewer frames than were counted", hint="Was it changed while it was read?")
    found += encoder.encode(None)
    table = [(each.pts, each.dts, each.duration or 0, each.is_keyframe, each.size) for each in found]
    data = np.frombuffer(b"".join(map(bytes, found)), np.uint8)
    return {"packets": np.array(table, np.int64), "data": data, "shape": np.array(shape)}


def join(parts: Sequence[Path], path: Path, out: Path, kind: str) -> None:
    """Write the pictures of parts with the sound of the video that they were made of, without compressing them again.

    Args:
        parts: files of what `encode` returned, in order.
        path: the video.
        out: the file to write.
        kind: FFmpeg's name of its format.

    Raises:
        DataError: the format cannot hold the sound, or a part is damaged; see also `opened`.
    """
    options = {"movflags": "+faststart"} if kind == "mp4" else {}
    with opened(path) as source, library().open(f"file:{out}", "w", format=kind, options=options) as target:
        video = source.streams.video[0]
        stream = target.add_stream("libx264")
        _prepared(stream.codec_context, video, read(parts[0])["shape"].tolist())
        stream.time_base = video.time_base
        copies = {sound: _copied(path, target, sound) for sound in source.streams.audio}
        pictures = ((stream, packet) for packet in _pictures(parts, video.time_base))
        heard = packets(source, *copies) if copies else iter(())
        sound = ((copies[packet.stream], packet) for packet in heard if packet.dts is not None)
        for place, packet in heapq.merge(pictures, sound, key=lambda each: float(each[1].dts * each[1].time_base)):
            packet.stream = place
            target.mux(packet)


def check_sound(path: Path, kind: str) -> None:
    """Refuse a video whose sound a format cannot hold.

    Raises:
        DataError: it cannot; see also `opened`.
    """
    with opened(path) as source, library().open(io.BytesIO(), "w", format=kind) as target:
        for sound in source.streams.audio:
            _copied(path, target, sound)


def _pictures(parts: Sequence[Path], time_base: Any) -> Iterator[Any]:
    """Yield the packets of parts, each to be decoded when the frame is shown that stands so many frames before it.

    That is what the encoder says of one part. At the seam of two its times could run back, where frames are uneven.
    """
    av, times = library(), deque[int]()
    for path in parts:
        part = read(path)
        table, ends = part["packets"], np.cumsum(part["packets"][:, SIZE])
        shown = np.sort(table[:, SHOWN])
        if path == parts[0]:
            times.extend(each for each in table[:, DECODED].tolist() if each < shown[0])
        times.extend(shown.tolist())
        for row, end in zip(table.tolist(), ends.tolist(), strict=True):
            packet = av.Packet(part["data"][end - row[SIZE] : end].tobytes())
            packet.pts, packet.dts, packet.duration = row[SHOWN], times.popleft(), row[LASTS]
            packet.is_keyframe, packet.time_base = bool(row[KEY]), time_base
            yield packet


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


def _prepared(encoder: Any, video: Any, shape: Sequence[int]) -> Any:
    """Give an H.264 encoder the times, the colours and the shape of pixels of a video, and a size."""
    # With AVX-512, what x264 makes of the same frames depends on what lay in the memory that it was given.
    encoder.options = ENCODING | ({"x264-params": "asm=AVX2"} if has_avx512() else {})
    encoder.framerate = video.average_rate or 25
    encoder.flags |= library().codec.context.Flags.global_header  # every part has the same, and the file has it once
    encoder.height, encoder.width = (side + side % 2 for side in shape)  # its colours have half the resolution
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = video.time_base
    for name in ("color_primaries", "color_trc", "colorspace", "color_range"):
        setattr(encoder, name, getattr(video.codec_context, name))
    if encoder.colorspace not in MATRICES:  # such as RGB, which these frames no longer are
        encoder.colorspace = UNKNOWN
    if ratio := video.sample_aspect_ratio:
        turned = tuple(shape) == (video.width, video.height) != (video.height, video.width)
        encoder.sample_aspect_ratio = 1 / ratio if turned else ratio
    return encoder


def _even(pixels: np.ndarray) -> np.ndarray:
    """Repeat the last row and column where their number is odd."""
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge") if height % 2 or width % 2 else pixels
