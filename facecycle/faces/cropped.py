"""What came of a folder of photographs and videos that was cropped, and how it is said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from facecycle.data.video import is_video
from facecycle.errors import DataError


@dataclass
class Cropped:
    """What was done.

    Attributes:
        images: photographs, and frames that were taken of videos.
        files: photographs and videos that there are.
        before: how many of them an earlier call had done.
        crops: how many images have a crop now.
        no_face: photographs and videos in which no face was found, and in how many images of each.
        unreadable: photographs and videos that cannot be read to their end, and why.
        doubts: how many crops each kind of warning stands at.
        table: the file of what was found.
        passed_over: what else lies there, in words.
    """

    files: int
    before: int
    images: int = 0
    crops: int = 0
    no_face: Counter[str] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)
    doubts: Counter[str] = field(default_factory=Counter)
    table: Path = Path()
    passed_over: str = ""

    def lines(self, folder: Path, out: Path) -> list[str]:
        """Say what was passed over, cannot be read, shows no face or is doubtful, and how many crops there are."""
        said = [f"{folder}: {self.passed_over}"] if self.passed_over else []
        said += [f"unreadable  {name}: {reason}" for name, reason in self.unreadable.items()]
        for name, count in self.no_face.items():
            said.append(f"no face  {name}" + (f" in {count:,} frames" if is_video(Path(name)) else ""))
        said += [f"{count:,} crops: {doubt}" for doubt, count in self.doubts.most_common()]
        before = f" ({self.before:,} of {self.files:,} files had been done before)" if self.before else ""
        left_out = f"{self.no_face.total():,} without a face, {len(self.unreadable):,} unreadable"
        said.append(f"{out}: crops of {self.crops:,} of {self.images:,} images{before}; {left_out}")
        return [*said, f"what was found: {self.table}"]

    def check(self, folder: Path) -> None:
        """Refuse a folder of which no crop was made.

        Raises:
            DataError: there is none, because nothing can be read, or nothing shows a face.
        """
        if not (self.crops or self.no_face):
            raise DataError(f"nothing of {folder} can be read", hint=f"{self.table} says why.")
        if not self.crops:
            raise DataError(
                f"no face was found in any image of {folder}",
                hint=f"{self.table} says why. `facecycle data crop --detector centre` takes the middle square of each.",
            )
