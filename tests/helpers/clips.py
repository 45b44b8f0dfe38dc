"""Small clips that tests render: scikit-image's astronaut, who moves, and a tone beside her."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from facecycle.data.video import frames

av = pytest.importorskip("av", reason="videos need PyAV")
FACE = np.asarray(Image.fromarray(astronaut()[:220, 110:350]).resize((194, 178)))
"""A face of some 70 pixels."""
MEADOW = np.full_like(FACE, (90, 120, 60))
RATE = 16_000


def shifted(number: int) -> np.ndarray:
    """Return the face of a frame, which sways."""
    return np.roll(FACE, round(3 * np.sin(number / 3)), axis=1)


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    times: Sequence[int] | None = None,
    sound: float = 0,
    sound_codec: str = "aac",
    codec: str = "libx264",
    rotation: int = 0,
    options: dict[str, str] | None = None,
    colours: tuple[int, int] = (2, 0),
    ratio: Fraction | None = None,
) -> Path:
    """Write pictures as a video.

    Args:
        path: the file, whose suffix says the container.
        pictures: RGB (H, W, 3), uint8.
        times: thousandths of a second at which each is shown; 40 apart where left out.
        sound: seconds of a tone.
        sound_codec: how it is compressed.
        codec: of the pictures.
        rotation: degrees by which a player turns it against the clock.
        options: of the container.
        colours: the matrix and the range of its YUV, as H.264 numbers them; nothing is said of them where left out.
        ratio: width of a pixel, in heights of it.
    """
    times = times or [40 * number for number in range(len(pictures))]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as target:
        video = target.add_stream(codec, rate=25)
        video.height, video.width = pictures[0].shape[:2] if pictures else FACE.shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.colorspace, video.codec_context.color_range = colours
        if ratio:
            video.codec_context.sample_aspect_ratio = ratio
        base = Fraction(1, 25) if path.suffix == ".avi" else Fraction(1, 1000)  # AVI has one rate
        video.time_base = video.codec_context.time_base = base
        if not pictures:
            target.start_encoding()  # a header alone
        if rotation:
            video.set_display_rotation(rotation)
        audio = target.add_stream(sound_codec, rate=RATE, layout="mono") if sound else None
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=colours[0], dst_color_range=colours[1])
            frame.pts, frame.time_base = round(time / 1000 / base), base
            target.mux(video.encode(frame))
        if audio is not None:
            tone = (8000 * np.sin(np.arange(round(sound * RATE)) / 10)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
            frame.sample_rate = RATE
            target.mux(audio.encode(frame))
            target.mux(audio.encode(None))
        target.mux(video.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """Write a second of silence, and no pictures."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.int16), format="s16", layout="mono")
        frame.sample_rate = RATE
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def read(path: Path) -> tuple[list[float], list[np.ndarray], list[bytes]]:
    """Return the times and the pictures of a video, and its packets of sound."""
    found = list(frames(path))
    with av.open(str(path)) as source:
        sound = [bytes(packet) for packet in source.demux(audio=0)] if source.streams.audio else []
    return [frame.seconds for frame in found], [frame.pixels for frame in found], sound


def cut(path: Path, share: float, suffix: str = "") -> Path:
    """Write the first part of a file beside it, as a copy that was stopped leaves it."""
    part = path.with_name(f"cut{suffix or path.suffix}")
    part.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
    return part


def with_unknown_codec(path: Path) -> Path:
    """Write a video beside another, whose codec nobody knows."""
    odd = path.with_name(f"odd{path.suffix}")
    odd.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    return odd
