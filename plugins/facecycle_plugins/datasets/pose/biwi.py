"""The data set `biwi`: Kinect sequences of turning heads, with measured rotations, or FSA-Net's files of them."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field
from sklearn.model_selection import GroupKFold

from facecycle.api import Labelled, Track
from facecycle.api import Options as BaseOptions
from facecycle.data.folders import natural_key
from facecycle.data.frames import FileDataset, FrameArrays, FrameFiles
from facecycle.data.labels.folds import folds_by_group
from facecycle.errors import ConfigError, DataError, MalformedError
from facecycle_plugins.datasets.pose import ORDERS, PARAMETERS, Order
from facecycle_plugins.datasets.pose.landmark_pose_files import read_archives

PERSON = {"15": "03", "18": "05", "21": "02", "22": "07"}
"""Sequences that show the person of an earlier one."""
HEAD_MM = 250.0
"""Side of the crop around the head's centre, in millimetres at its distance."""
TOLERANCE = 1e-2
"""How far a rotation may be from orthonormal."""
PUBLISHED = 15_678
LAYOUT = (
    "Expected hpdb/01 to hpdb/24 with frame_00003_rgb.png, frame_00003_pose.txt and rgb.cal, "
    "or FSA-Net's BIWI_noTrack.npz, BIWI_train.npz or BIWI_test.npz."
)


Box = tuple[float, float, float, float]
Frame = tuple[Path, np.ndarray, Box | None]
"""An image, the head's rotation (3, 3), and the crop, where the camera is known."""


class BiwiOptions(BaseOptions):
    """Options of the data set `biwi`."""

    path: Path
    """The folder hpdb, the one that holds it, or an FSA-Net .npz file."""
    folds: int = Field(5, ge=2)
    """Folds by person."""
    euler: Order = "xyz"
    """How a rotation is taken apart: Rx(-pitch) Ry(yaw) Rz(roll) as in 300W-LP, or Rz(roll) Ry(yaw) Rx(-pitch). The
    two agree on a turn about one axis, and differ by 4.9 degrees on average and by up to 30."""


class Biwi(FileDataset):
    """24 sequences of 20 people, some of whom were recorded twice. Source: Fanelli et al. 2013.

    An FSA-Net file tells neither people nor rotations. So one with `train` in its name is for training only, any other
    is for testing only, and its angles are in the order that FSA-Net wrote.
    """

    facecycle_api = (1, 0)
    Options = BiwiOptions
    kind = "biwi"
    task = "pose"
    files: FrameFiles | FrameArrays
    licence = "non-commercial use such as university research and education"

    def __init__(self, options: BiwiOptions) -> None:
        self.options = options
        self._sequences: dict[str, list[Frame]] = {}
        if options.path.is_file():
            if options.euler != PARAMETERS:
                raise ConfigError(
                    f"option 'euler' = {options.euler!r} is for rotations, and {options.path} holds angles, "
                    f"{PARAMETERS}",
                    hint="Leave the option out, or name the folder hpdb.",
                )
            self.files, self._poses = read_archives([options.path])
            return
        if not options.path.is_dir():
            raise DataError(f"there is no file or folder {options.path}", hint=LAYOUT)
        root = options.path / "hpdb" if (options.path / "hpdb").is_dir() else options.path
        folders = sorted(p for p in root.iterdir() if p.is_dir() and re.fullmatch(r"[0-9]{2}", p.name))
        if not folders:
            raise DataError(f"{root} holds no sequences 01 to 24", hint=LAYOUT)
        problems: list[str] = []
        calibrated = any((folder / "rgb.cal").exists() for folder in folders)
        self._sequences = {folder.name: _read_sequence(folder, calibrated, problems) for folder in folders}
        if problems:
            raise MalformedError(f"{root}: {len(problems):,} files cannot be used", problems)
        frames = [frame for sequence in self._sequences.values() for frame in sequence]
        boxes = [box for _, _, box in frames if box is not None]
        self.files = FrameFiles([image for image, _, _ in frames], root, boxes if calibrated else None)
        self._poses = np.array([_angles(rotation, options.euler) for _, rotation, _ in frames])

    def tracks(self) -> list[Track]:
        """Every sequence is a track, and every image of an FSA-Net file."""
        if isinstance(self.files, FrameArrays):
            return [Track(name, name, (frame,)) for frame, name in enumerate(self.files.names)]
        tracks, start = [], 0
        for name, sequence in self._sequences.items():
            tracks.append(Track(name, PERSON.get(name, name), tuple(range(start, start + len(sequence)))))
            start += len(sequence)
        return tracks

    def own_labels(self) -> Labelled:
        """Return all frames with pitch, yaw and roll in degrees, in folds by person."""
        if isinstance(self.files, FrameArrays):
            return self._archive_labels(self.files.names)
        groups = np.array([track.identity for track in self.tracks() for _ in track.frames])
        people = len(set(groups.tolist()))
        folds = folds_by_group(GroupKFold(self.options.folds), self._poses, groups, self.options.path)
        return Labelled(
            np.arange(len(groups)),
            self._poses,
            folds,
            groups,
            note=self._note(people),
            counts={"images": len(groups)},
            published={"images": PUBLISHED},
            convention=self.options.euler,
        )

    def _archive_labels(self, names: Sequence[str]) -> Labelled:
        trains = "train" in self.options.path.stem.lower()
        return Labelled(
            np.arange(len(names)),
            self._poses,
            np.full(len(names), -1 if trains else 0),
            np.array(names),
            note=f"{'training' if trains else 'test'} only; angles {PARAMETERS}: {ORDERS[PARAMETERS]}; crop as in "
            "the .npz file, which does not tell its people; colours RGB",
            counts={"images": len(names)},
            convention=PARAMETERS,
        )

    def fingerprint(self) -> str:
        """Return a digest that changes with the images, their crop and their poses."""
        return hashlib.sha256(self.files.fingerprint().encode() + self._poses.tobytes()).hexdigest()

    def _note(self, people: int) -> str:
        crop = f"{HEAD_MM:.0f} mm around the head's centre, projected by rgb.cal"
        if isinstance(self.files, FrameFiles) and self.files.boxes is None:
            crop = "the centred square of the image, for there is no rgb.cal"
        return (
            f"{self.options.folds} folds by person: {people} people in {len(self._sequences)} sequences; "
            f"angles {self.options.euler}: {ORDERS[self.options.euler]}, of the depth camera's frame; crop: {crop}"
        )


@dataclass(frozen=True)
class _Camera:
    """The colour camera: intrinsics (3, 3), and rotation (3, 3) and translation (3,) in mm from the depth camera."""

    intrinsics: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray

    def box(self, centre: np.ndarray) -> Box | None:
        """Return the square around a point (3,) in mm of the depth camera; None for a point behind the camera."""
        x, y, z = self.rotation @ centre + self.translation
        if z <= 0:
            return None
        focal = float(self.intrinsics[0, 0])
        across = float(focal * x / z + self.intrinsics[0, 2])
        down = float(self.intrinsics[1, 1] * y / z + self.intrinsics[1, 2])
        half = float(HEAD_MM / 2 * focal / z)
        return across - half, down - half, across + half, down + half


def _angles(rotation: np.ndarray, euler: str) -> list[float]:
    """Return pitch, yaw and roll in degrees of a rotation (3, 3), in one of `ORDERS`.

    The xyz angles are the zyx angles of the inverse rotation, negated: yaw = atan2(R02, hypot(R12, R22)),
    pitch = atan2(R12, R22), roll = -atan2(R01, R00). Source: FSA-Net, data/TYY_create_db_biwi.py.
    """
    r, sign = (rotation, 1.0) if euler == "zyx" else (rotation.T, -1.0)
    pitch = -np.arctan2(r[2, 1], r[2, 2])
    yaw = np.arctan2(-r[2, 0], np.hypot(r[2, 1], r[2, 2]))
    roll = np.arctan2(r[1, 0], r[0, 0])
    return [float(sign * np.degrees(angle)) for angle in (pitch, yaw, roll)]


def _read_sequence(folder: Path, calibrated: bool, problems: list[str]) -> list[Frame]:
    """Return a sequence's frames in order, and add what is wrong with its files to `problems`."""
    camera = None
    if calibrated:
        try:
            camera = _read_camera(folder / "rgb.cal")
        except DataError as error:
            problems.append(error.message)
    names = {path.name for path in folder.iterdir()}
    images = {name for name in names if re.fullmatch(r"frame_[0-9]+_rgb\.png", name)}
    poses = {name for name in names if re.fullmatch(r"frame_[0-9]+_pose\.txt", name)}
    if not images and not poses:
        problems.append(f"{folder}: expected frame_NNNNN_rgb.png and frame_NNNNN_pose.txt, got none")
    frames = []
    for stem in sorted({name.rpartition("_")[0] for name in images | poses}, key=natural_key):
        image, pose = f"{stem}_rgb.png", f"{stem}_pose.txt"
        if image not in images or pose not in poses:
            there, missing = (pose, image) if image not in images else (image, pose)
            problems.append(f"{folder / there}: expected {missing} beside it, got none")
            continue
        try:
            rotation, centre = _read_pose(folder / pose)
        except DataError as error:
            problems.append(error.message)
            continue
        box = camera.box(centre) if camera else None
        if camera and box is None:
            problems.append(f"{folder / pose}: expected a centre before the camera, got {centre.tolist()}")
        frames.append((folder / image, rotation, box))
    return frames


def _read_pose(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotation (3, 3) and the head's centre (3,) in mm, both of the depth camera's frame."""
    rows = _rows(path)
    if [len(row) for row in rows] != [3, 3, 3, 3]:
        raise DataError(f"{path}: expected three rows of a rotation and one of a centre, got {_shown(rows)}")
    rotation, centre = np.array(rows[:3]), np.array(rows[3])
    if not np.isfinite(rows).all():
        raise DataError(f"{path}: expected finite numbers, got {rows}")
    # A reflection has orthonormal rows too, and no angles.
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > TOLERANCE or np.linalg.det(rotation) < 0:
        raise DataError(f"{path}: expected a rotation, orthonormal within {TOLERANCE:g}, got {rows[:3]}")
    return rotation, centre


def _read_camera(path: Path) -> _Camera:
    """Read rgb.cal: intrinsics, distortion (all zero), rotation and translation from the depth camera."""
    if not path.exists():
        raise DataError(f"{path}: expected a calibration, as the other sequences have, got none")
    rows = _rows(path)
    lengths = [len(row) for row in rows]
    if lengths[:3] + lengths[4:8] != [3] * 7:
        raise DataError(f"{path}: expected intrinsics, distortion, rotation and translation, got {_shown(rows)}")
    camera = _Camera(np.array(rows[:3]), np.array(rows[4:7]), np.array(rows[7]))
    if not np.isfinite([*rows[:3], *rows[4:8]]).all() or camera.intrinsics[0, 0] <= 0:
        raise DataError(f"{path}: expected finite numbers and a positive focal length, got {rows}")
    return camera


def _rows(path: Path) -> list[list[float]]:
    """Return the numbers of a text file, one list a line that is not blank."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [[float(number) for number in line.split()] for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected rows of numbers, got a file that cannot be read ({error})") from error


def _shown(rows: list[list[float]]) -> str:
    return f"rows of {', '.join(str(len(row)) for row in rows)} numbers" if rows else "an empty file"
