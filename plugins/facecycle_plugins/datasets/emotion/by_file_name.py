"""The data sets `jaffe` and `kdef`: posed faces whose file names tell the person and the emotion."""

import re
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from facecycle.data.folders import list_images
from facecycle.data.frames import FrameFiles
from facecycle.errors import DataError
from facecycle_plugins.datasets.emotion import GroupedEmotions, GroupedOptions

BOTH = {"AN": "anger", "DI": "disgust", "HA": "happiness", "NE": "neutral", "SA": "sadness", "SU": "surprise"}
JAFFE, KDEF = {**BOTH, "FE": "fear"}, {**BOTH, "AF": "fear"}


class _NamedEmotions(GroupedEmotions):
    """What both sets share: a pattern of names with the groups `person` and `emotion`."""

    codes: ClassVar[dict[str, str]]
    layout: ClassVar[str]

    def _read(self, pattern: str) -> None:
        root = self.options.path
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", hint=self.layout)
        every = list_images(root)
        found = [(path, match) for path in every if (match := re.fullmatch(pattern, path.stem.upper()))]
        if 2 * len(found) < len(every) or not found:
            raise DataError(
                f"{root}: {len(found):,} of {len(every):,} images have names of {self.kind.upper()}", hint=self.layout
            )
        self._keep(found, len(every) - len(found))

    def _keep(self, found: list[tuple[Path, re.Match[str]]], others: int) -> None:
        """Take images, by what their names tell; `others` have other names."""
        self.classes = tuple(self.codes.values())
        self.files = FrameFiles([path for path, _ in found], self.options.path)
        numbers = {code: number for number, code in enumerate(self.codes)}
        self.targets = np.array([numbers[match["emotion"]] for _, match in found])
        self.groups = np.array([match["person"] for _, match in found])
        self.counts = {"images": len(found)}
        self.note = f"{others:,} images with other names left out"


class JaffeOptions(GroupedOptions):
    """Options of the data set `jaffe`."""

    path: Path
    """Folder of KA.AN1.39.tiff and so on."""


class Jaffe(_NamedEmotions):
    """Ten Japanese women. Source: Lyons et al. 1998."""

    Options = JaffeOptions
    kind = "jaffe"
    codes = JAFFE
    layout = "Expected images with names such as KA.AN1.39.tiff: person, emotion and take, number."
    published = {"images": 213}
    licence = "JAFFE: non-commercial research"

    def __init__(self, options: JaffeOptions) -> None:
        self.options = options
        self._read(rf"(?P<person>[A-Z]{{2}})\.(?P<emotion>{'|'.join(JAFFE)})[0-9]\.[0-9]{{1,3}}")


class KdefOptions(GroupedOptions):
    """Options of the data set `kdef`."""

    path: Path
    """Folder of AF01AFS.JPG and so on, or of one such folder a person and session."""
    angles: Literal["frontal", "all"] = "frontal"
    """Frontal views alone, or all five of each face."""


class Kdef(_NamedEmotions):
    """70 amateur actors in two sessions, from five angles. Source: Lundqvist et al. 1998."""

    Options = KdefOptions
    options: KdefOptions
    kind = "kdef"
    codes = KDEF
    layout = "Expected images with names such as AF01AFS.JPG: session, sex and person, emotion, angle."
    licence = "KDEF: non-commercial research"

    def __init__(self, options: KdefOptions) -> None:
        self.options = options
        self.published = {"images": 980 if options.angles == "frontal" else 4900}
        self._read(rf"[AB](?P<person>[FM][0-9]{{2}})(?P<emotion>{'|'.join(KDEF)})(?P<angle>S|HL|HR|FL|FR)")

    def _keep(self, found: list[tuple[Path, re.Match[str]]], others: int) -> None:
        kept = [each for each in found if self.options.angles == "all" or each[1]["angle"] == "S"]
        if not kept:
            raise DataError(
                f"{self.options.path}: none of the {len(found):,} images is frontal",
                hint="Add --option angles=all.",
            )
        super()._keep(kept, others)
        other_views = f"{len(found) - len(kept):,} images from other angles left out"
        self.note += "; all angles" if self.options.angles == "all" else f"; {other_views}"
