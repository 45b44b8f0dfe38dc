"""Files of head pose: a .mat beside each image, kept in an index once it was read, and FSA-Net's .npz."""

import contextlib
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from facecycle.atomic import write_text
from facecycle.cache import index_file
from facecycle.data.frames import FrameArrays
from facecycle.errors import DataError, RunError
from facecycle_plugins.datasets.pose.mat_file import read_matrices

# What NumPy raises for files that are cut short, overwritten or of another kind.
NPZ_ERRORS = (
    *(OSError, EOFError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error, struct.error),
    *(TypeError, LookupError, ArithmeticError, AttributeError, SyntaxError, tokenize.TokenError),
)
UNPACKED = 256 * 1024**2
EXPANSION = 20
"""Arrays may have so many bytes, or so many times the bytes of their file: faces do not pack to a twentieth."""
NPZ_LAYOUT = "the arrays image (N, 64, 64, 3) of bytes and pose (N, 3) of yaw, pitch and roll in degrees"


def read_mats(root: Path, mats: Sequence[Path]) -> tuple[np.ndarray, list[str]]:
    """Return pose and box of each .mat file (see `_read_mat`), and the files that are malformed.

    Sixty thousand files take minutes to parse, so an index keeps what was read from a file for as long as
    its size and time of change stay.
    """
    cache = index_file("landmark-pose", root)
    before = _cached(cache)
    after: dict[str, list[float]] = {}
    problems = []
    for mat in mats:
        name = mat.relative_to(root).as_posix()
        try:
            status = mat.stat()
            known = before.get(name)
            if known is None or known[:2] != [status.st_size, status.st_mtime_ns]:
                known = [status.st_size, status.st_mtime_ns, *_read_mat(mat)]
        except OSError as error:
            problems.append(f"{mat}: expected a file that can be read, got: {error.strerror}")
        except DataError as error:
            problems.append(error.message)
        else:
            after[name] = known
    if after != before:
        # Without an index the next start parses the files again; nothing else is lost.
        with contextlib.suppress(RunError):
            write_text(cache, json.dumps({"files": after}))
    return np.array([known[2:] for known in after.values()], dtype=np.float64).reshape(-1, 7), problems


def _cached(cache: Path) -> dict[str, list[float]]:
    """Return the index: file name to size, time of change, pose and box; {} if it is unusable."""
    try:
        files = json.loads(cache.read_text())["files"]
        usable = all(
            len(known) == 9 and all(isinstance(value, int | float) and math.isfinite(value) for value in known)
            for known in files.values()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return {}
    return files if usable else {}


def _read_mat(path: Path) -> list[float]:
    """Return pitch, yaw, roll in degrees and left, top, right, bottom of the visible landmarks in pixels."""
    try:
        content = read_matrices(path, ("Pose_Para", "pt2d"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a whole MATLAB file, got one that cannot be read ({error})") from error
    pose, points = content.get("Pose_Para"), content.get("pt2d")
    if pose is None or pose.ndim != 2 or len(pose) < 1 or pose.shape[1] < 3 or not np.isfinite(pose[0, :3]).all():
        raise DataError(f"{path}: expected Pose_Para of shape (1, 7), got {_shown(pose)}")
    angles = pose[0, :3].astype(np.float64)
    if (np.abs(angles) > 2 * math.pi).any():
        raise DataError(f"{path}: expected Pose_Para in radians, got {', '.join(f'{a:g}' for a in angles)}")
    if points is None or points.ndim != 2 or len(points) != 2:
        raise DataError(f"{path}: expected pt2d of shape (2, N), got {_shown(points)}")
    visible = points[:, ((points > 0) & np.isfinite(points)).all(axis=0)].astype(np.float64)
    if visible.shape[1] < 2 or (np.ptp(visible, axis=1) == 0).any():
        raise DataError(f"{path}: expected visible landmarks that span a box, got {visible.shape[1]} that do not")
    return [*np.degrees(angles).tolist(), *visible.min(axis=1).tolist(), *visible.max(axis=1).tolist()]


def _shown(array: np.ndarray | None) -> str:
    return "none" if array is None else f"shape {array.shape} of {array.dtype}"


def read_archives(archives: Sequence[Path], *, as_stored: bool = False) -> tuple[FrameArrays, np.ndarray]:
    """Return the images of FSA-Net files, RGB unless wanted as stored, and their angles (N, 3) as `_read_archive` does.

    Raises:
        DataError: a file is another one, or the images of two have different sizes.
    """
    images, poses = zip(*map(_read_archive, archives), strict=True)
    sides = {each.shape[1] for each in images}
    if len(sides) > 1:
        raise DataError(f"{archives[0].parent}: expected .npz files with images of one size, got {sorted(sides)}")
    step = 1 if as_stored else -1  # stored as BGR
    pixels = torch.from_numpy(np.concatenate([each[..., ::step] for each in images]))
    names = [f"{a.name}[{row}]" for a, each in zip(archives, images, strict=True) for row in range(len(each))]
    return FrameArrays(pixels.permute(0, 3, 1, 2), names), np.concatenate(poses)


def _read_archive(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return an FSA-Net file's images (N, S, S, 3), BGR, and angles (N, 3), pitch, yaw, roll in degrees.

    Raises:
        DataError: another file, or other arrays in it.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{path}: expected {NPZ_LAYOUT}, got a single array")
        with archive:
            missing = [name for name in ("image", "pose") if name not in archive.files]
            if missing:
                got = ", ".join(archive.files) or "an empty file"
                raise DataError(f"{path}: expected {NPZ_LAYOUT}, got {got}")
            size = sum(i.file_size for i in archive.zip.infolist() if i.filename.partition(".")[0] in ("image", "pose"))
            if size > max(UNPACKED, EXPANSION * path.stat().st_size):
                raise DataError(f"{path}: expected {NPZ_LAYOUT}, got {size:,} bytes packed beyond what images can be")
            images, poses = archive["image"], archive["pose"]
    except NPZ_ERRORS as error:
        raise DataError(f"{path}: expected {NPZ_LAYOUT}, got a file that cannot be read ({error})") from error
    if not (isinstance(images, np.ndarray) and isinstance(poses, np.ndarray)):
        raise DataError(f"{path}: expected {NPZ_LAYOUT}, got something else by these names")
    square = images.ndim == 4 and images.shape[1] == images.shape[2] and images.shape[3] == 3
    if not square or images.dtype != np.uint8 or images.size == 0:
        raise DataError(f"{path}: expected {NPZ_LAYOUT}, got an image of {_shown(images)}")
    if poses.shape != (len(images), 3) or poses.dtype.kind not in "fiu" or not np.isfinite(poses).all():
        raise DataError(f"{path}: expected {NPZ_LAYOUT}, got {len(images)} images and a pose of {_shown(poses)}")
    largest = float(np.abs(poses).max())
    if largest < 3.2:
        raise DataError(f"{path}: expected poses in degrees, got none beyond {largest:.2f}, which looks like radians")
    return images, poses[:, [1, 0, 2]].astype(np.float64)
