"""A video of 1280 x 720 with one face, and memory by length at 1920 x 1080: python benchmarks/video.py [FRAMES].

Prints what each part of the work takes per frame, in milliseconds of processor time, frames per second of the whole
command, how much less a crop shakes, and the peak of memory for 150 frames and for FRAMES, 1,350 when left out.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from common import Result
from PIL import Image
from skimage.data import astronaut

from facecycle.checkpoints.places import SHIPPED
from facecycle.data.video import frames
from facecycle.faces.crop import crop
from facecycle.faces.motion import paste
from facecycle.faces.similarity import align
from facecycle.runtimes.by_onnx import OnnxRuntime
from facecycle.translation.photographs import finder
from facecycle.translation.video import translate_video

RATE, WISHED = 25, 25
SHORT, LONG = 150, 1350
MEMORY = """
import resource, sys
from pathlib import Path
from facecycle.checkpoints.places import SHIPPED
from facecycle.runtimes.by_onnx import OnnxRuntime
from facecycle.translation.video import translate_video
translate_video(OnnxRuntime(SHIPPED), Path(sys.argv[1]), Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_clip(path: Path, count: int, width: int, height: int) -> None:
    """Write a face that moves, by a pixel at random too, as H.264."""
    large = np.asarray(Image.fromarray(astronaut()).resize((2 * height, 2 * height), Image.Resampling.BICUBIC))
    jitter = np.random.default_rng(0).integers(-1, 2, (count, 2))
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=RATE, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, (x, y) in enumerate(jitter):
            left = int(0.43 * len(large) - width / 2 + 40 * np.sin(number / 15)) + x
            columns = np.arange(left, left + width).clip(0, len(large) - 1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(large[40 + y : 40 + y + height][:, columns]))
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def per_frame(work: Callable[[], object], count: int) -> float:
    """Return the milliseconds of processor time that work on so many frames takes, for each."""
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start) / count


def stages(clip: Path) -> None:
    """Print what the parts of the work take, one after the other."""
    runtime, detector = OnnxRuntime(SHIPPED), finder()
    shown: list[np.ndarray] = []
    taken = {"decoding": per_frame(lambda: shown.extend(frame.pixels for frame in frames(clip)), SHORT)}
    some = shown[:40]
    (face, *_) = detector.detect(some[0])
    place = align(face)
    follow = detector.follow  # type: ignore[attr-defined]
    taken["following, of every second frame"] = per_frame(lambda: [follow(x, face) for x in some[::2]], len(some))
    crops: list[np.ndarray] = []
    taken["cropping"] = per_frame(lambda: crops.extend(crop(each, place, 64) for each in some), len(some))
    pixels = np.stack(crops).transpose(0, 3, 1, 2)
    runtime.translate(pixels[:8], None, 0, ["flow"])
    flows: list[np.ndarray] = []
    taken["flow"] = per_frame(
        lambda: [
            flows.extend(runtime.translate(pixels[i : i + 8], None, 0, ["flow"])["flow"]) for i in range(0, 40, 8)
        ],
        len(some),
    )
    pairs = list(zip(some, flows, strict=True))
    taken["pasting"] = per_frame(lambda: [paste(x, place, [f], sharp=False) for x, f in pairs], len(some))
    taken["pasting as photographs are"] = per_frame(lambda: [paste(x, place, [f]) for x, f in pairs], len(some))
    said = ", ".join(f"{name} {each:.1f}" for name, each in taken.items())
    print(f"milliseconds per frame, crop of {place.side:.0f} pixels: {said}")


def memory(folder: Path, count: int) -> float:
    """Return the peak of a process that translates a video of 1920 x 1080, in MiB."""
    clip = folder / f"{count}.mp4"
    write_clip(clip, count, 1920, 1080)
    command = [sys.executable, "-c", MEMORY, str(clip), str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024


def measure(longest: int = LONG) -> list[Result]:
    """Check that no frame is lost, and return frames per second and the growth of memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clip(folder / "clip.mp4", SHORT, 1280, 720)
        stages(folder / "clip.mp4")
        start, used = time.perf_counter(), time.process_time()
        made = translate_video(OnnxRuntime(SHIPPED), folder / "clip.mp4", folder)
        rate = SHORT / (time.perf_counter() - start)
        each = 1000 * (time.process_time() - used) / SHORT
        assert (made.frames, made.moved) == (SHORT, SHORT), "a frame was lost, or its face"
        print(f"{rate:.1f} frames per second, {each:.0f} ms of processor time for each")
        print(f"shake {made.shake[0]:.4f} found, {made.shake[1]:.4f} smoothed")
        few, many = memory(folder, SHORT), memory(folder, longest)
        print(f"memory: {few:.0f} MiB for {SHORT} frames, {many:.0f} MiB for {longest}")
    return [
        Result(f"video: frames per second over {WISHED}", rate / WISHED, rate / WISHED, rate / WISHED, 1),
        Result("video: memory, short over long", few / many, few / many, few / many, 0.9),
    ]


if __name__ == "__main__":
    for result in measure(*map(int, sys.argv[1:2])):
        print(result.line())
