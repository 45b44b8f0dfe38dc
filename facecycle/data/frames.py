"""The frames of a data set: image files, decoded in parallel, once, with bad files named; or arrays."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from facecycle.api import BadFrame
from facecycle.data.frame_cache import open_cache
from facecycle.data.images import printable, read_box, read_square
from facecycle.errors import DataError, NotOffered

THREADS = 2
"""More of them wait for each other: opening an image holds the interpreter."""


class FrameFiles:
    """Frames stored one a file; several threads may read them at once.

    Args:
        paths: the files; a frame's index is its place here.
        root: names are shown relative to it.
        boxes: per file the rectangle to cut out (see `read_box`); None takes the centred square of each.
    """

    def __init__(
        self, paths: Sequence[Path], root: Path, boxes: Sequence[tuple[float, float, float, float]] | None = None
    ) -> None:
        self.paths = list(paths)
        self.root = root
        self.boxes = boxes
        self._bad: dict[int, str] = {}
        self._decoded: dict[int, tuple[Tensor, Tensor] | None] = {}
        self._opening = threading.Lock()

    def name(self, frame: int) -> str:
        """Return a frame's path below the root."""
        path = self.paths[frame]
        return printable(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames as RGB uint8 (n, 3, size, size); a bad frame's pixels are zero and it is named."""
        with self._opening:
            if size not in self._decoded:
                self._decoded[size] = open_cache(self.fingerprint(), len(self.paths), size)
        kept = self._decoded[size]
        if kept is None:
            pixels = torch.zeros(len(frames), 3, size, size, dtype=torch.uint8)
            self._decode(list(frames), pixels, range(len(frames)), size)
        else:
            store, known = kept
            missing = sorted({frame for frame in frames if not known[frame] and frame not in self._bad})
            if missing:
                # Two threads may decode one frame: they write the same bytes, and mark it after them.
                self._decode(missing, store, missing, size)
                known[[frame for frame in missing if frame not in self._bad]] = True
            pixels = store[list(frames)]
        bad = [BadFrame(self.name(f), self._bad[f]) if f in self._bad else None for f in frames]
        return pixels, bad

    def _decode(self, frames: list[int], into: Tensor, rows: Sequence[int], size: int) -> None:
        jobs = list(zip(frames, rows, strict=True))

        def read(first: int) -> None:
            # A share of the jobs each: handing over single images costs a fifth of their time.
            for frame, row in jobs[first::THREADS]:
                if frame not in self._bad:  # what was bad once stays bad, at every size
                    self._read_into(into[row], frame, size)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(read, range(min(THREADS, len(jobs)))))

    def _read_into(self, pixels: Tensor, frame: int, size: int) -> None:
        path = self.paths[frame]
        try:
            pixels[:] = read_box(path, size, self.boxes[frame]) if self.boxes else read_square(path, size)
        except DataError as error:
            # The path is in the name already.
            self._bad[frame] = error.message.removeprefix(f"{path}: ")

    def fingerprint(self) -> str:
        """Return a digest of the files' names, sizes and times of change."""
        digest = hashlib.sha256()
        for frame, path in enumerate(self.paths):
            try:
                status = path.stat()
                digest.update(f"{self.name(frame)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
            except OSError:
                digest.update(f"{self.name(frame)}\0missing\n".encode())
        digest.update(repr(self.boxes).encode())
        return digest.hexdigest()


class FrameArrays:
    """Frames held in memory.

    Args:
        pixels: RGB uint8 (n, 3, H, W).
        names: one a frame, shown where it is spoken of.
    """

    def __init__(self, pixels: Tensor, names: Sequence[str]) -> None:
        self.pixels = pixels
        self.names = list(names)

    def name(self, frame: int) -> str:
        """Return a frame's name."""
        return self.names[frame]

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Resize frames to RGB uint8 (n, 3, size, size), antialiased; none is ever bad."""
        chosen = self.pixels[list(frames)]
        return resize(chosen, [size, size], antialias=True), [None] * len(frames)

    def fingerprint(self) -> str:
        """Return a digest of the pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels.numpy()).data).hexdigest()


class FileDataset:
    """What data sets on disk share: their frames, and a plain refusal of what they do not hold."""

    kind: str
    files: FrameFiles | FrameArrays

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames as RGB uint8 (n, 3, size, size); see `FrameFiles` and `FrameArrays`."""
        return self.files.images(frames, size)

    def fingerprint(self) -> str:
        """Return a digest that changes with the files."""
        return self.files.fingerprint()

    def refuse(self, what: str) -> NotOffered:
        """Return the error for something this data set does not hold."""
        return NotOffered(
            f"the data set {self.kind!r} has no {what}", hint="Name another kind of data: --data KIND:PATH."
        )
