"""The data sets `300w-lp` and `aflw2000`: head pose fitted to landmarks, in image and .mat pairs or FSA-Net files."""

import hashlib
import re
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from facecycle.api import Labelled, Track
from facecycle.api import Options as BaseOptions
from facecycle.data.folders import natural_key
from facecycle.data.frames import FileDataset, FrameFiles
from facecycle.errors import ConfigError, DataError, MalformedError
from facecycle_plugins.datasets.pose import ORDERS, PARAMETERS
from facecycle_plugins.datasets.pose.landmark_pose_files import read_archives, read_mats

MARGIN = 0.6
"""How far the crop exceeds the box of the landmarks on each side, in sizes of that box."""
LIMIT = 99.0
"""Samples with an angle beyond so many degrees are left out unless asked for."""


class LandmarkPoseOptions(BaseOptions):
    """Options of the data sets `300w-lp` and `aflw2000`."""

    path: Path
    """Folder of X.jpg and X.mat, or an FSA-Net .npz file. For 300W-LP also the folder that holds AFW, HELEN,
    IBUG, LFPW and their _Flip twins, as sub-folders or as .npz files."""
    allow_missing: bool = False
    """Leave out images without a .mat file, and .mat files without an image, instead of refusing them."""
    filtered: bool = True
    """Leave out samples with an angle beyond 99 degrees."""
    channels: Literal["rgb", "as-stored"] = "rgb"
    """Colour order of a .npz file, which holds BGR: turned to RGB, or as stored, as the public reference
    loader fed it. Image files are always RGB."""


class _LandmarkPose(FileDataset):
    """What both sets share: pitch, yaw and roll per image, and a loose crop around the landmarks."""

    facecycle_api = (1, 0)
    Options = LandmarkPoseOptions
    task = "pose"
    parts: ClassVar[tuple[str, ...]] = ()  # sub-folders, or .npz files, that a folder is searched for
    layouts: ClassVar[str]
    published: ClassVar[int]
    fold: ClassVar[int]  # of every sample: -1 is training only
    grouping: ClassVar[str]  # of image files, in words

    def __init__(self, options: LandmarkPoseOptions) -> None:
        self.options = options
        if not options.path.exists():
            raise DataError(f"there is no file or folder {options.path}", hint=self.layouts)
        folders, archives = self._sources()
        self._unpaired = 0
        if archives:
            self._read_archives(archives)
        else:
            self._read_folders(folders)

    def tracks(self) -> list[Track]:
        """Every image is a track of one frame."""
        return [Track(self.files.name(f), group, (f,)) for f, group in enumerate(self._groups.tolist())]

    def own_labels(self) -> Labelled:
        """Return the images with pitch, yaw and roll in degrees."""
        found = len(self._poses)
        within = (np.abs(self._poses) <= LIMIT).all(axis=1)
        kept = np.flatnonzero(within) if self.options.filtered else np.arange(found)
        if not len(kept):
            raise DataError(
                f"{self.options.path}: each of the {found} images has an angle beyond {LIMIT:.0f} degrees",
                hint="--option filtered=false uses them.",
            )
        return Labelled(
            kept,
            self._poses[kept],
            np.full(len(kept), self.fold),
            self._groups[kept],
            note=self._note(found - int(within.sum())),
            counts={"images": found},
            published={"images": self.published},
            convention=PARAMETERS,
        )

    def fingerprint(self) -> str:
        """Return a digest that changes with the images, their crop and their poses."""
        return hashlib.sha256(self.files.fingerprint().encode() + self._poses.tobytes()).hexdigest()

    def group(self, image: Path) -> str:
        """Return what an image shows; inner cross-validation never splits a group."""
        return image.stem

    def _sources(self) -> tuple[list[Path], list[Path]]:
        """Return the folders of pairs, or the .npz files, that the path stands for."""
        path = self.options.path
        if path.is_file():
            return [], [path]
        folders = [path / part for part in self.parts if (path / part).is_dir()]
        archives = [path / f"{part}.npz" for part in self.parts if (path / f"{part}.npz").is_file()]
        if folders and archives:
            raise DataError(
                f"{path} holds folders of images ({folders[0].name}) beside .npz files ({archives[0].name})",
                hint="Move one kind elsewhere, so that it is plain which is meant.",
            )
        return folders or [path], archives

    def _read_archives(self, archives: list[Path]) -> None:
        self.files, self._poses = read_archives(archives, as_stored=self.options.channels == "as-stored")
        self._groups = np.array(self.files.names)

    def _read_folders(self, folders: list[Path]) -> None:
        path = self.options.path
        if self.options.channels != "rgb":
            raise ConfigError(
                f"option 'channels' = {self.options.channels!r} is for .npz files, and {path} holds images",
                hint="Leave the option out, or name the FSA-Net .npz files.",
            )
        images, unpaired = _pairs(folders)
        self._unpaired = len(unpaired)
        problems = [] if self.options.allow_missing else unpaired
        hint = "The option allow_missing leaves out what has no partner." if problems else None
        values, malformed = read_mats(path, [image.with_suffix(".mat") for image in images])
        problems += malformed
        if problems:
            raise MalformedError(f"{path}: {len(problems):,} files cannot be used", problems, hint=hint)
        if not images:
            raise DataError(f"{path} holds no pair X.jpg and X.mat", hint=self.layouts)
        low, high = values[:, 3:5], values[:, 5:]
        margin = MARGIN * (high - low)
        crops = np.hstack([low - margin, high + margin])  # clamped to the image where that is read
        self.files = FrameFiles(images, path, [tuple(crop) for crop in crops.tolist()])
        self._poses = values[:, :3]
        self._groups = np.array([self.group(image) for image in images])

    def _note(self, beyond: int) -> str:
        if isinstance(self.files, FrameFiles):
            crop = f"crop: box of the visible landmarks enlarged by {MARGIN} of its size on each side; colours RGB"
            grouping = self.grouping
        else:
            order = "RGB" if self.options.channels == "rgb" else "as stored, BGR"
            crop = f"crop as in the .npz files; colours {order}"
            grouping = "each row its own group, for it does not tell its source image"
        done = "left out" if self.options.filtered else "kept"
        use = "training only" if self.fold < 0 else "test only"
        angles = f"angles {PARAMETERS}: {ORDERS[PARAMETERS]}"
        parts = [use, angles, crop, f"{beyond:,} images with an angle beyond {LIMIT:.0f} degrees {done}"]
        if self._unpaired:
            parts.append(f"{self._unpaired:,} files without their partner left out")
        return "; ".join([*parts, "a mirror image negates yaw and roll", grouping])


class ThreeHundredWLp(_LandmarkPose):
    """300W-LP, profile views rendered from 300W. Source: Zhu et al. 2016, Face Alignment Across Large Poses (3DDFA)."""

    kind = "300w-lp"
    licence = "non-commercial research, as 300W's own terms say"
    parts = tuple(f"{name}{flip}" for name in ("AFW", "HELEN", "IBUG", "LFPW") for flip in ("", "_Flip"))
    layouts = f"Expected a folder that holds {', '.join(parts)} with X.jpg and X.mat each, or as FSA-Net .npz files."
    published = 122_450  # 61,225 and their mirror images
    fold = -1
    grouping = "views and mirror images of one source image are one group"

    def group(self, image: Path) -> str:
        """Return the source image: HELEN/x_1_0.jpg, HELEN/x_1_17.jpg and HELEN_Flip/x_1_0.jpg show one."""
        return f"{image.parent.name.removesuffix('_Flip')}/{re.sub(r'_[0-9]+$', '', image.stem)}"


class Aflw2000(_LandmarkPose):
    """AFLW2000-3D, the first 2,000 images of AFLW. Source: Zhu et al. 2016, as above."""

    kind = "aflw2000"
    licence = "non-commercial research, as AFLW's own terms say"
    layouts = "Expected a folder of X.jpg and X.mat, or the FSA-Net file AFLW2000.npz."
    published = 2_000
    fold = 0
    grouping = "each image its own group"


def _pairs(folders: list[Path]) -> tuple[list[Path], list[str]]:
    """Return the images that have a .mat file beside them, and a problem for each file without its partner."""
    images, unpaired = [], []
    for folder in folders:
        files = [p for p in folder.iterdir() if p.suffix in {".jpg", ".mat"} and not p.name.startswith(".")]
        names = {p.name for p in files}
        for file in sorted(files, key=lambda p: natural_key(p.name)):
            partner = f"{file.stem}{'.mat' if file.suffix == '.jpg' else '.jpg'}"
            if partner not in names:
                unpaired.append(f"{file}: expected {partner} beside it, got none")
            elif file.suffix == ".jpg":
                images.append(file)
    return images, unpaired
