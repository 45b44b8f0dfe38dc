"""Videos: the face of every frame moved within it; sound, times, size and length stay as they are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from facecycle.api import FLOW, Detector
from facecycle.atomic import check_out, move, write_atomically
from facecycle.data.folders import digest_of
from facecycle.data.video import Frame, ahead, frames, is_video, library, missing, opened
from facecycle.errors import ConfigError, DataError
from facecycle.faces.crop import crop
from facecycle.faces.following import Track, track
from facecycle.faces.motion import check_motion, inverse, paste
from facecycle.runtimes.base import Runtime
from facecycle.translation.encoding import PART, check_sound, encode, join
from facecycle.translation.files import Wanted
from facecycle.translation.photographs import FoundFace, find_driver, finder
from facecycle.translation.unfinished import kept, read, save, unfinished

BATCH = 8
"""Frames whose faces are computed at a time; a part has a multiple of it, so that a stop changes no batch."""
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mp4"}
"""What a video of some suffix becomes; every other one becomes Matroska, which takes any sound."""

Tell = Callable[[str], None]


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


def written_as(path: Path) -> str:
    """Return the file name of what a video becomes."""
    return f"{path.stem}-pasted.{CONTAINERS.get(path.suffix.lower(), 'mkv')}"


def translate_video(
    runtime: Runtime,
    path: Path,
    out: Path,
    wanted: Wanted = Wanted(),
    driver: Path | None = None,
    tell: Tell = lambda text: None,
    say: Tell = lambda text: None,
) -> Filmed:
    """Move the largest face of a video, frame by frame, to the front, or as a driver moves.

    The video is read twice: once to see where the face is, so that its place can be smoothed over time, and once to
    move it. So memory does not grow with its length. A driver's photograph gives the face its expression. A driver's
    video moves it as that face moves, relative to its own most neutral frame.

    Where the face is, and every part of the new video, is kept in a hidden folder beside it until it is finished. So a
    call that was stopped goes on when it is repeated, and ends in the same video.

    Args:
        runtime: the weights, ready to compute, with the panel `flow`.
        path: the video.
        out: folder to write to; created when missing.
        wanted: the detector, the crop and the strength.
        driver: a photograph or a video.
        tell: told how far the work is.
        say: told what becomes of work that was stopped.

    Raises:
        ConfigError: PyAV is not installed, the weights know no flow, what is wanted is for photographs, or `out` is a
            file.
        DataError: a file is no video, holds no frame, or no face is found in it.
        RunError: the video cannot be written, or another process writes it.
    """
    check_motion((), wanted.strength)
    if FLOW not in runtime.panels:
        raise ConfigError(f"{runtime.weights} knows no flow, which moves the faces of videos")
    if wanted.face != 1 or wanted.strengths:
        raise ConfigError(
            f"{path}: of a video the largest face is moved, by one strength",
            hint="--face and several --strength are for photographs.",
        )
    check_out(out, folder=True)
    made = Filmed(out / written_as(path))
    kind = "mp4" if made.path.suffix == ".mp4" else "matroska"
    check_sound(path, kind)
    # A detector or a driver that cannot be used is refused before what an earlier call kept is thrown away for it.
    detector, face = finder(wanted.detector, wanted.crop), _driving_face(driver, wanted, runtime.size)
    # A link stays, and what it leads to is replaced.
    place = Path(os.path.realpath(made.path)) if made.path.is_symlink() else made.path
    with unfinished(place, _plan(runtime, path, wanted, driver), say) as folder:
        begun = time.monotonic()
        follow = _following(runtime, driver, face, wanted, folder, tell)
        smooth = _face(path, detector, folder, made, tell)
        made.seconds["finding"] = time.monotonic() - begun
        parts = _parts(runtime, path, folder, smooth, follow, wanted.strength, tell, say)
        whole = folder / f"whole{made.path.suffix}"
        write_atomically(whole, lambda temporary: join(parts, path, temporary, kind))
        move(whole, place)
        made.seconds["moving"] = time.monotonic() - begun - made.seconds["finding"]
    return made


def _driving_face(driver: Path | None, wanted: Wanted, size: int) -> FoundFace | None:
    """Return the face of a driver's photograph; of a driver's video nothing but that it can be read."""
    if driver is None or not is_video(driver):
        return None if driver is None else find_driver(driver, wanted.detector, size)
    with opened(driver):
        return None


def _plan(runtime: Runtime, path: Path, wanted: Wanted, driver: Path | None) -> dict[str, str]:
    """Return everything that a new video depends on, as digests and in words."""
    return {
        "the program": f"facecycle {version('facecycle')}, PyAV {library().__version__}, {type(runtime).__name__}",
        "the weights": runtime.sha256(),
        "the video": digest_of([(path.name, path)]),
        "--driver": "" if driver is None else digest_of([(driver.name, driver)]),
        "--detector": wanted.detector,
        "--crop": repr(wanted.crop),
        "--strength": repr(wanted.strength),
    }


def _face(path: Path, detector: Detector, folder: Path, made: Filmed, tell: Tell) -> Track:
    """Find the face of a video, and note what is known of its frames.

    Raises:
        DataError: there is no frame, no face, or no order in the frames' times.
    """
    found = Track(**kept(folder / "face.npz", lambda: vars(track(path, detector, tell))))
    if not np.isfinite(found.places).any():
        raise DataError(
            f"{path}: no face was found in any of {len(found.seconds):,} frames",
            hint="Say where it stays: --crop X,Y,W,H in pixels of a frame, or --detector centre.",
        )
    if (np.diff(found.seconds) <= 0).any():  # as of H.264 in AVI, which has no times
        what = f"{path}: its frames are in another order than the times they are shown at"
        raise DataError(what, hint=f"Write it anew first: ffmpeg -i {path.name} new.mp4")
    smooth = found.smooth()
    made.frames, made.moved = len(found.seconds), int(np.isfinite(smooth.places[:, 0]).sum())
    made.shake = found.shake(), smooth.shake()
    made.cut_short = missing(path, made.frames, float(found.seconds[-1]))
    return smooth


def _flows(runtime: Runtime, pixels: np.ndarray) -> np.ndarray:
    return runtime.translate(pixels, None, 0, [FLOW])[FLOW]


Follow = Callable[[np.ndarray, float], list[np.ndarray]]
"""Maps a face's own flow, and the seconds since the first frame, to the flows that it moves by."""


def _following(
    runtime: Runtime, driver: Path | None, face: FoundFace | None, wanted: Wanted, folder: Path, tell: Tell
) -> Follow:
    """Return how faces move: to the front, or as the face of a photograph, or as a video shows."""
    if driver is None:
        return lambda own, seconds: [own]
    if face is None:
        return _driving(runtime, driver, wanted, folder, tell)
    back = inverse(_flows(runtime, face.pixels[None])[0], runtime.size)
    return lambda own, seconds: [own, back]


def _driving(runtime: Runtime, path: Path, wanted: Wanted, folder: Path, tell: Tell) -> Follow:
    """Return how faces move as that of a video, relative to its most neutral frame.

    Each frame of it holds until the next one that shows a face, and the last one for good.

    Raises:
        DataError: no frame of it shows a face.
    """
    found = kept(folder / "driver.npz", lambda: _driven(runtime, path, wanted, tell))
    moves, times = found["moves"], found["times"]
    neutral = moves[np.square(moves).mean((1, 2, 3)).argmin()]

    def follow(own: np.ndarray, now: float) -> list[np.ndarray]:
        number = max(0, int(np.searchsorted(times, now + 1e-6, side="right")) - 1)
        return [inverse(moves[number] - neutral, runtime.size)]  # nothing at the most neutral frame

    return follow


def _driven(runtime: Runtime, path: Path, wanted: Wanted, tell: Tell) -> dict[str, np.ndarray]:
    """Return the flows of a driver's frames, (n, 2, h, w), and when each is shown, in seconds after the first frame."""
    found = track(path, finder(wanted.detector), tell).smooth()
    seconds, flows = [], []
    for part in _chunks(enumerate(ahead(frames(path)))):
        seen = [(frame, place) for number, frame in part if (place := found.similarity(number)) is not None]
        if seen:
            pixels = np.stack([crop(frame.pixels, place, runtime.size).transpose(2, 0, 1) for frame, place in seen])
            flows += list(_flows(runtime, pixels))
            seconds += [frame.seconds - found.seconds[0] for frame, _ in seen]
    if not flows:
        raise DataError(f"{path}: no face was found", hint="Faces are to follow it. Name another driver.")
    return {"moves": np.stack(flows), "times": np.array(seconds)}


def _chunks(items: Iterator[Any]) -> Iterator[list[Any]]:
    while part := list(islice(items, BATCH)):
        yield part


def _moved(runtime: Runtime, path: Path, first: int, places: Track, follow: Follow, strength: float) -> Iterator[Frame]:
    """Yield the frames of a video from a number on, which begins a batch, with their faces moved."""
    with closing(ahead(frames(path))) as shown:
        for part in _chunks(islice(enumerate(shown), first, None)):
            seen = [(i, at) for i, (number, _) in enumerate(part) if (at := places.similarity(number)) is not None]
            result = [frame for _, frame in part]
            if seen:
                crops = [crop(result[i].pixels, at, runtime.size).transpose(2, 0, 1) for i, at in seen]
                for (i, at), own in zip(seen, _flows(runtime, np.stack(crops)), strict=True):
                    frame = result[i]
                    flows = follow(own, frame.seconds - float(places.seconds[0]))
                    pixels = paste(
                        frame.pixels, at, flows, strength=strength, network_size=runtime.size, sharp=False
                    )  # for speed
                    result[i] = replace(frame, pixels=pixels)
            yield from result


def _parts(
    runtime: Runtime,
    path: Path,
    folder: Path,
    places: Track,
    follow: Follow,
    strength: float,
    tell: Tell,
    say: Tell,
) -> list[Path]:
    """Move the face in all frames, and write each part of them as soon as it is whole; return their files."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    total = len(places.seconds)
    parts = [folder / f"frames-{first:09d}.npz" for first in range(0, total, PART)]
    done = next((number for number, part in enumerate(parts) if not part.exists()), len(parts))
    if done == len(parts):
        return parts
    if done:
        say(f"{path}: goes on after {done * PART:,} of {total:,} frames")
    shape = read(parts[0])["shape"].tolist() if done else None
    with (
        opened(path) as source,
        # The matrices are small, and whoever waits for a second thread keeps it from the encoder.
        threadpool_limits(1, user_api="blas"),
        closing(ahead(_moved(runtime, path, done * PART, places, follow, strength))) as moved,
    ):
        shown = _counted(moved, path.name, done * PART, total, tell)
        for part in parts[done:]:
            made = encode(islice(shown, PART), source.streams.video[0], shape)
            shape = made["shape"].tolist()
            save(part, made)
    return parts


def _counted(moved: Iterator[Frame], name: str, before: int, total: int, tell: Tell) -> Iterator[Frame]:
    """Yield frames, and tell how far the work is, and from the second batch on how many seconds are left.

    Frames come in batches. Before the first one, those that an earlier call moved are read and left.
    """
    begun, pace = 0.0, -1.0
    for done, frame in enumerate(moved, 1):
        yield frame
        if done == BATCH:
            begun = time.monotonic()
        elif done % BATCH == 0:
            pace = (time.monotonic() - begun) / (done - BATCH)
        left = f", {pace * max(0, total - before - done):.0f} s left" if pace >= 0 else ""
        tell(f"{name}: {before + done:,} of {total:,} frames{left}")
