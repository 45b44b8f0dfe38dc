"""Parts of a video are joined as if they had been one: no frame, time or key is lost at a seam."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.clips import FACE, read, shifted, write_video
from PIL import Image

from facecycle.data.video import frames, opened
from facecycle.errors import DataError
from facecycle.translation.encoding import encode, join
from facecycle.translation.unfinished import save


def parts_of(path: Path, *ends: int) -> list[Path]:
    """Write the frames of a video as parts that end before some numbers."""
    shown, parts, shape = list(frames(path)), [], None
    with opened(path) as source:
        for begin, end in zip((0, *ends), (*ends, len(shown)), strict=True):
            made = encode(iter(shown[begin:end]), source.streams.video[0], shape)
            shape = made["shape"].tolist()
            parts.append(path.with_name(f"{path.stem}-{begin}.npz"))
            save(parts[-1], made)
    return parts


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_seams_are_not_seen(tmp_path: Path, suffix: str) -> None:
    """The frames around a seam come at uneven times, which an encoder that begins there cannot know."""
    times = [0, 900, 940, 1000, 1001, 1010, 1500, 2600, 2610, 2620, 4000, 4010, 4020, 4021, 4022, 6000]
    path = write_video(tmp_path / f"a{suffix}", [shifted(3 * n) for n in range(16)], times, sound=2)
    kind = {".mp4": "mp4", ".mkv": "matroska"}[suffix]
    out = tmp_path / f"out{suffix}"
    join(parts_of(path, 6, 7, 12), path, out, kind)
    (before, pictures, sound), (after, others, other_sound) = read(path), read(out)
    assert after == pytest.approx(before, abs=1e-3)
    assert sound == other_sound
    for picture, other in zip(pictures, others, strict=True):
        assert abs(picture.astype(int) - other).mean() < 3
    with av.open(str(out)) as made:
        found = [packet for packet in made.demux(video=0) if packet.pts is not None]
    decoded = [packet.dts for packet in found if packet.dts is not None]  # Matroska does not say the first ones
    assert len(decoded) >= 14
    assert (np.diff(decoded) > 0).all()
    assert all(packet.dts <= packet.pts for packet in found if packet.dts is not None)
    assert [number for number, packet in enumerate(found) if packet.is_keyframe] == [0, 6, 7, 12]


def test_the_same_frames_give_the_same_bytes_whatever_lay_in_memory(tmp_path: Path) -> None:
    """Ten blocks of 16 pixels do not fill the widest instructions, which read what lies behind them."""
    pictures = [np.asarray(Image.fromarray(shifted(n)).resize((160, 144))) for n in range(8)]
    path = write_video(tmp_path / "a.mkv", pictures, [0, 30, 110, 120, 190, 210, 300, 330])
    code = (
        "import sys, hashlib; from pathlib import Path; from facecycle.data.video import frames, opened; "
        "from facecycle.translation.encoding import encode\n"
        "with opened(Path(sys.argv[1])) as source:\n"
        "    made = encode(frames(Path(sys.argv[1])), source.streams.video[0], None)\n"
        "print(hashlib.sha256(made['data'].tobytes()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "MALLOC_PERTURB_": filling},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for filling in ("1", "90")
    }
    assert len(found) == 1


def test_a_part_says_itself_when_it_is_decoded(tmp_path: Path) -> None:
    """The times of one part alone are those of its encoder."""
    path = write_video(tmp_path / "a.mp4", [shifted(n) for n in range(20)], [30 * n + n * n for n in range(20)])
    (part,) = parts_of(path)
    join([part], path, tmp_path / "out.mp4", "mp4")
    table = np.load(part)["packets"]
    with av.open(str(tmp_path / "out.mp4")) as made:
        found = [(packet.pts, packet.dts) for packet in made.demux(video=0) if packet.dts is not None]
    assert found == [tuple(row) for row in table[:, :2].tolist()]


@pytest.mark.parametrize("matrix", [1, 9])
@pytest.mark.parametrize("span", [1, 2])
def test_colours_stay_as_the_video_means_them(tmp_path: Path, matrix: int, span: int) -> None:
    """Of BT.709, as nearly all videos have it, and BT.2020, within the usual range and the full one."""
    paint = np.array([(200, 60, 40), (60, 180, 80), (70, 80, 190)], np.uint8)
    path = write_video(tmp_path / "a.mp4", [np.tile(paint.repeat(32, 0), (64, 1, 1))], colours=(matrix, span))
    out = tmp_path / "out.mp4"
    join(parts_of(path), path, out, "mp4")
    (picture,), (other,) = (read(each)[1] for each in (path, out))
    assert abs(picture.astype(int) - other)[:, 16::32].max() <= 4
    with av.open(str(out)) as made:
        codec = made.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_range) == (matrix, span)


def test_a_video_of_rgb_becomes_one_that_says_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264rgb", rate=25)
        stream.height, stream.width, stream.pix_fmt = *FACE.shape[:2], "rgb24"
        target.mux(stream.encode(av.VideoFrame.from_ndarray(FACE, format="rgb24")))
        target.mux(stream.encode(None))
    join(parts_of(path), path, tmp_path / "out.mkv", "matroska")
    with av.open(str(tmp_path / "out.mkv")) as made:
        assert made.streams.video[0].codec_context.colorspace == 2
    assert abs(read(tmp_path / "out.mkv")[1][0].astype(int) - FACE).mean() < 5  # compressed twice


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_no_squares_stay_as_wide_as_they_are(tmp_path: Path, suffix: str, turned: bool) -> None:
    ratio = Fraction(16, 15)
    path = write_video(tmp_path / f"a{suffix}", [FACE], ratio=ratio, rotation=90 if turned else 0)
    join(parts_of(path), path, tmp_path / f"out{suffix}", {".mp4": "mp4", ".mkv": "matroska"}[suffix])
    with av.open(str(tmp_path / f"out{suffix}")) as made:
        assert made.streams.video[0].sample_aspect_ratio == (1 / ratio if turned else ratio)


def test_a_video_that_lost_frames_is_refused() -> None:
    with pytest.raises(DataError, match="fewer frames than were counted"):
        encode(iter(()), None, None)
