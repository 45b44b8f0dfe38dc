"""The frames of a data set: image files, decoded once, with bad files named; or arrays."""

from __future__ import annotations

import bisect
import hashlib
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from facecycle.api import BadFrame, Labelled, Task, Verification
from facecycle.data.folders import digest_of
from facecycle.data.frame_cache import open_cache
from facecycle.data.images import printable, read_box, read_square, reason, resize
from facecycle.errors import DataError, NotOffered


class Paths(Sequence[Path]):
    """Paths of many files, kept as the names of folders and files: a million Path objects take four times the room."""

    def __init__(self) -> None:
        self._folders: list[str] = []
        self._starts: list[int] = []
        self._names: list[str] = []

    def add(self, folder: str | Path, names: Sequence[str]) -> None:
        """Append files of a folder. The same names return in every track, and are kept once."""
        self._folders.append(str(folder))
        self._starts.append(len(self._names))
        self._names.extend(map(sys.intern, names))

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, place: int) -> Path: ...
    @overload
    def __getitem__(self, place: slice) -> list[Path]: ...
    def __getitem__(self, place: int | slice) -> Path | list[Path]:
        if isinstance(place, slice):
            return [self[each] for each in range(len(self))[place]]
        place = range(len(self))[place]
        return Path(self._folders[bisect.bisect_right(self._starts, place) - 1], self._names[place])


@dataclass(eq=False)
class FrameFiles:
    """Frames stored one a file; several processes and threads may read them at once."""

    paths: Sequence[Path]
    """A frame's index is its place here."""
    root: Path
    """Names are shown relative to it."""
    boxes: Sequence[tuple[float, float, float, float]] | None = None
    """Per file the rectangle to cut out (see `read_box`); None takes the centred square of each."""
    _bad: dict[int, str] = field(default_factory=dict, init=False)
    _decoded: dict[int, tuple[Tensor, Tensor] | None] = field(default_factory=dict, init=False)

    def name(self, frame: int) -> str:
        """Return a frame's path below the root."""
        return self._shown(self.paths[frame])

    def _shown(self, path: Path) -> str:
        return printable(str(path).removeprefix(os.path.join(self.root, "")))

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames as RGB uint8 (n, 3, size, size); a bad frame's pixels are zero and it is named."""
        if size not in self._decoded:
            self._decoded[size] = open_cache(self.fingerprint(), len(self.paths), size)
        kept = self._decoded[size]
        wanted = np.asarray(frames)
        if kept is None:
            once, rows = np.unique(wanted, return_inverse=True)
            decoded = torch.zeros(len(once), 3, size, size, dtype=torch.uint8)
            self._decode(once.tolist(), decoded, range(len(once)), size)
            pixels = decoded.index_select(0, torch.from_numpy(rows))
        else:
            store, known = kept
            missing = [frame for frame in np.unique(wanted[~known.numpy()[wanted]]).tolist() if frame not in self._bad]
            if missing:
                # Two of them may decode one frame: they write the same bytes, and mark it after them.
                self._decode(missing, store, missing, size)
                known[[frame for frame in missing if frame not in self._bad]] = True
            pixels = store.index_select(0, torch.from_numpy(wanted))  # indexing takes twenty times as long
        bad = [BadFrame(self.name(f), self._bad[f]) if f in self._bad else None for f in frames]
        return pixels, bad

    def _decode(self, frames: list[int], into: Tensor, rows: Sequence[int], size: int) -> None:
        for frame, row in zip(frames, rows, strict=True):
            if frame in self._bad:  # what was bad once stays bad, at every size
                continue
            path = self.paths[frame]
            try:
                into[row] = read_box(path, size, self.boxes[frame]) if self.boxes else read_square(path, size)
            except DataError as error:
                self._bad[frame] = reason(path, error)

    def fingerprint(self) -> str:
        """Return a digest of the files' names, sizes and times of change."""
        files = digest_of((self._shown(path), path) for path in self.paths)
        return hashlib.sha256(f"{files}{self.boxes!r}".encode()).hexdigest()


def passed_over(datasets: Iterable[object]) -> list[str]:
    """Say of data sets on disk what lies among their images and is none."""
    return [text for each in datasets if (text := getattr(each, "passed_over", ""))]


@dataclass(eq=False)
class FrameArrays:
    """Frames held in memory, as RGB uint8 (n, 3, H, W), and the names that they are spoken of by."""

    pixels: Tensor
    names: Sequence[str]

    def name(self, frame: int) -> str:
        """Return a frame's name."""
        return self.names[frame]

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Resize frames to RGB uint8 (n, 3, size, size), antialiased; none is ever bad."""
        return resize(self.pixels[list(frames)], size), [None] * len(frames)

    def fingerprint(self) -> str:
        """Return a digest of the pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels.numpy()).data).hexdigest()


class FileDataset:
    """What data sets on disk share: their frames, and a plain refusal of labels that they do not hold."""

    kind: str
    """The data set's name."""
    task: Task | None = None
    """What `own_labels` are for; None for a data set without labels."""
    files: FrameFiles | FrameArrays
    passed_over: str = ""
    """What lies among the images and is none, in words."""

    def labelled(self, task: Task) -> Labelled | Verification:
        """Return the labels.

        Raises:
            NotOffered: they are for another task, or there are none.
            DataError: they cannot be read, or not be split into folds.
        """
        if task != self.task:
            what = f"the data set {self.kind!r} has no labels for {task}"
            raise NotOffered(what, hint="Name another kind of data: --data KIND:PATH.")
        return self.own_labels()

    def own_labels(self) -> Labelled | Verification:
        """Return the labels for `task`; a data set that has a task defines it."""
        raise NotImplementedError

    def name(self, frame: int) -> str:
        """Return a frame's name, to be shown."""
        return self.files.name(frame)

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        """Read frames as RGB uint8 (n, 3, size, size); see `FrameFiles` and `FrameArrays`."""
        return self.files.images(frames, size)

    def fingerprint(self) -> str:
        """Return a digest that changes with the files."""
        return self.files.fingerprint()
