"""The layout of BIWI, and what is said of malformed files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.common import picture
from helpers.pose_labels import pose, problems
from PIL import Image
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from facecycle.data.labels.train_and_test import TrainAndTest
from facecycle.errors import ConfigError, DataError
from facecycle.registry import build

PARTS = (("aflw2000", "aflw"), ("biwi", "hpdb"))
CALIBRATION = "500 0 320\n0 500 240\n0 0 1\n\n0 0 0 0\n\n1 0 0\n0 1 0\n0 0 1\n\n-24 6 -100\n\n640 480\n"


def frame(folder: Path, number: int = 3, rotation: Any = np.eye(3), centre: str = "24 -6 1100") -> Path:
    """Write a frame of a BIWI sequence; return its pose file."""
    picture(folder / f"frame_{number:05d}_rgb.png", number, size=(640, 480))
    rows = "".join(" ".join(f"{value:.6g}" for value in row) + " \n" for row in rotation)
    path = folder / f"frame_{number:05d}_pose.txt"
    path.write_text(f"{rows}\n{centre} \n")
    return path


@pytest.mark.parametrize("euler", ["zyx", "xyz"])
@pytest.mark.parametrize(
    ("axis", "turn", "angles"), [("x", -20, (20, 0, 0)), ("y", 20, (0, 20, 0)), ("z", 20, (0, 0, 20))]
)
def test_a_turn_about_one_axis_is_one_angle(
    tmp_path: Path, euler: str, axis: str, turn: float, angles: tuple[float, ...]
) -> None:
    for folder in ("01", "02"):
        frame(tmp_path / folder, rotation=Rotation.from_euler(axis, turn, degrees=True).as_matrix())
    labels = pose("biwi", tmp_path, folds=2, euler=euler)
    assert labels.targets[0] == pytest.approx(angles, abs=1e-3)
    assert labels.convention == euler
    assert f"angles {euler}: R = R{euler[0]}(" in labels.note


@pytest.mark.parametrize("euler", ["zyx", "xyz"])
def test_the_mirrored_head_has_the_same_pitch_and_opposite_yaw_and_roll(tmp_path: Path, euler: str) -> None:
    turned = Rotation.from_euler("ZYX", (15, 50, -25), degrees=True).as_matrix()
    flip = np.diag([-1.0, 1, 1])
    frame(tmp_path / "01", rotation=turned)
    frame(tmp_path / "02", rotation=flip @ turned @ flip)
    one, other = pose("biwi", tmp_path, folds=2, euler=euler).targets
    assert other == pytest.approx(one * [1, -1, -1], abs=1e-3)


def test_the_two_conventions_take_a_rotation_apart_in_opposite_orders(tmp_path: Path) -> None:
    pitch, yaw, roll = 25, 50, 15
    for folder, order in (("01", "ZYX"), ("02", "XYZ")):
        turns = {"X": -pitch, "Y": yaw, "Z": roll}
        turned = Rotation.from_euler(order, [turns[axis] for axis in order], degrees=True)
        frame(tmp_path / folder, rotation=turned.as_matrix())
    assert pose("biwi", tmp_path, folds=2, euler="zyx").targets[0] == pytest.approx((pitch, yaw, roll), abs=1e-3)
    other = pose("biwi", tmp_path, folds=2, euler="xyz").targets
    assert other[1] == pytest.approx((pitch, yaw, roll), abs=1e-3)
    assert np.abs(other[0] - (pitch, yaw, roll)).max() > 10


def angle2matrix_3ddfa(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """The rotation that `Pose_Para` stands for, in a frame of y up and z to the viewer. Source: face3d."""
    x, y, z = np.radians([pitch, yaw, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), np.sin(x)], [0, -np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), np.sin(z), 0], [-np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


@pytest.mark.parametrize("angles", [(-30, 60, 20), (25, -70, -40), (5, 10, 0)])
def test_a_head_has_the_same_angles_as_in_aflw2000(tmp_path: Path, angles: tuple[float, ...]) -> None:
    picture(tmp_path / "aflw" / "a.jpg")
    parameters = np.array([[*np.radians(angles), 0, 0, 0, 1]])
    savemat(tmp_path / "aflw" / "a.mat", {"Pose_Para": parameters, "pt2d": np.array([[4, 20], [4, 20]])})
    to_the_camera = np.diag([1, -1, -1])  # of BIWI, whose y is down and whose z leads away
    for number in range(1, 6):
        frame(tmp_path / "hpdb" / f"{number:02d}", rotation=to_the_camera @ angle2matrix_3ddfa(*angles) @ to_the_camera)
    one, other = pose("biwi", tmp_path / "hpdb"), pose("aflw2000", tmp_path / "aflw")
    assert other.targets[0] == pytest.approx(angles, abs=1e-3)
    assert one.targets[0] == pytest.approx(angles, abs=1e-3)
    assert one.convention == other.convention == "xyz"
    joined = TrainAndTest(*(build("dataset", kind, {"path": str(tmp_path / folder)}) for kind, folder in PARTS))
    assert joined.labelled("pose").convention == "xyz"


def test_angles_of_two_orders_are_not_trained_and_tested_together(tmp_path: Path) -> None:
    for number in range(1, 6):
        frame(tmp_path / f"{number:02d}")
    one, other = (build("dataset", "biwi", {"path": str(tmp_path), "euler": euler}) for euler in ("xyz", "zyx"))
    drawn = build("dataset", "synthetic", {"identities": 2, "test_identities": 20})
    for train, test in ((drawn, one), (one, other)):
        with pytest.raises(DataError, match=r"in the order \w+, the tested data in the order \w+: one head"):
            TrainAndTest(train, test).labelled("pose")
    assert len(TrainAndTest(drawn, other).labelled("pose").folds)


@pytest.mark.parametrize(("name", "fold"), [("BIWI_noTrack", 0), ("BIWI_test", 0), ("BIWI_train", -1)])
def test_files_of_fsa_net_are_for_testing_or_for_training(tmp_path: Path, name: str, fold: int) -> None:
    colours = np.zeros((3, 64, 64, 3), np.uint8)
    colours[..., 0] = 200  # blue
    np.savez(tmp_path / f"{name}.npz", image=colours, pose=np.array([[10.0, 20, 30], [-50, 0, 5], [1, 2, 3]]))
    dataset = build("dataset", "biwi", {"path": str(tmp_path / f"{name}.npz")})
    labels = dataset.labelled("pose")
    assert labels.targets.tolist() == [[20, 10, 30], [0, -50, 5], [2, 1, 3]]  # stored as yaw, pitch, roll
    assert labels.folds.tolist() == [fold] * 3
    assert labels.convention == "xyz"
    assert dataset.images([1], 64)[0][0, :, 0, 0].tolist() == [0, 0, 200]
    assert [track.frames for track in dataset.tracks()] == [(0,), (1,), (2,)]
    with pytest.raises(ConfigError, match="holds angles, xyz"):
        build("dataset", "biwi", {"path": str(tmp_path / f"{name}.npz"), "euler": "zyx"})


def test_a_person_recorded_twice_is_in_one_fold(tmp_path: Path) -> None:
    for number in range(1, 25):
        frame(tmp_path / "hpdb" / f"{number:02d}")
    labels = pose("biwi", tmp_path)
    assert len(set(labels.groups.tolist())) == 20
    assert set(labels.folds.tolist()) == {0, 1, 2, 3, 4}
    for again, person in ((15, 3), (18, 5), (21, 2), (22, 7)):
        assert labels.groups[again - 1] == f"{person:02d}"
        assert labels.folds[again - 1] == labels.folds[person - 1]
    assert labels.counts == {"images": 24}
    assert labels.published == {"images": 15_678}
    tracks = build("dataset", "biwi", {"path": str(tmp_path / "hpdb")}).tracks()
    assert (tracks[14].name, tracks[14].identity, tracks[14].frames) == ("15", "03", (14,))


def test_fewer_people_than_folds_are_refused(tmp_path: Path) -> None:
    for folder in ("03", "15"):
        frame(tmp_path / folder)
    with pytest.raises(DataError, match="shows 1 people, fewer than 2 folds"):
        pose("biwi", tmp_path, folds=2)


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (100_000, 4, 3):
        frame(tmp_path / "01", number)
    dataset = build("dataset", "biwi", {"path": str(tmp_path)})
    names = [dataset.files.name(f) for f in dataset.tracks()[0].frames]
    assert names == [f"01/frame_{n}_rgb.png" for n in ("00003", "00004", "100000")]


def test_with_a_calibration_the_crop_surrounds_the_head(tmp_path: Path) -> None:
    for folder, centre in (("01", "24 -6 1100"), ("02", "124 -6 600")):
        frame(tmp_path / folder, centre=centre)
        (tmp_path / folder / "rgb.cal").write_text(CALIBRATION)
    dataset = build("dataset", "biwi", {"path": str(tmp_path), "folds": 2})
    # 1 m away 250 mm are 125 pixels; 100 mm to the side at half a metre are 100.
    assert dataset.files.boxes == [(257.5, 177.5, 382.5, 302.5), (295.0, 115.0, 545.0, 365.0)]
    assert dataset.images([0, 1], 16)[1] == [None, None]
    assert "projected by rgb.cal" in dataset.labelled("pose").note


def test_without_a_calibration_the_crop_is_the_centred_square(tmp_path: Path) -> None:
    for folder in ("01", "02"):
        frame(tmp_path / folder)
    dataset = build("dataset", "biwi", {"path": str(tmp_path), "folds": 2})
    with Image.open(tmp_path / "01" / "frame_00003_rgb.png") as full:
        wanted = np.asarray(full)[:, 80:560]
    assert np.array_equal(dataset.images([0], 480)[0][0].permute(1, 2, 0).numpy(), wanted)
    assert "the centred square of the image, for there is no rgb.cal" in dataset.labelled("pose").note


def test_every_malformed_biwi_file_is_named_with_its_fault(tmp_path: Path) -> None:
    folder = tmp_path / "01"
    frame(folder, 1).unlink()
    (frame(folder, 2).parent / "frame_00002_rgb.png").unlink()
    frame(folder, 3, rotation=1.02 * np.eye(3))
    frame(folder, 4, rotation=np.diag([-1, 1, 1]))
    frame(folder, 5, centre="1 2")
    frame(folder, 6, centre="1 2 nan")
    frame(folder, 7).write_bytes(b"\xff\xfe\x00")
    frame(folder, 8, rotation=1.001 * np.eye(3))
    (tmp_path / "02").mkdir()
    faults = [p.removeprefix(f"{tmp_path}/") for p in problems("biwi", tmp_path)]
    assert [fault.partition(", got")[0] for fault in faults] == [
        "01/frame_00001_rgb.png: expected frame_00001_pose.txt beside it",
        "01/frame_00002_pose.txt: expected frame_00002_rgb.png beside it",
        "01/frame_00003_pose.txt: expected a rotation, orthonormal within 0.01",
        "01/frame_00004_pose.txt: expected a rotation, orthonormal within 0.01",
        "01/frame_00005_pose.txt: expected three rows of a rotation and one of a centre",
        "01/frame_00006_pose.txt: expected finite numbers",
        "01/frame_00007_pose.txt: expected rows of numbers",
        "02: expected frame_NNNNN_rgb.png and frame_NNNNN_pose.txt",
    ]


def test_a_malformed_or_missing_calibration_is_named(tmp_path: Path) -> None:
    for folder in ("01", "02", "03", "04"):
        frame(tmp_path / folder, centre="0 0 50" if folder == "03" else "0 0 900")
    (tmp_path / "01" / "rgb.cal").write_text(CALIBRATION.replace("500 0 320", "0 0 320"))
    (tmp_path / "02" / "rgb.cal").write_text("500 0 320\n")
    (tmp_path / "03" / "rgb.cal").write_text(CALIBRATION)
    faults = [p.removeprefix(f"{tmp_path}/").partition(", got")[0] for p in problems("biwi", tmp_path)]
    assert faults == [
        "01/rgb.cal: expected finite numbers and a positive focal length",
        "02/rgb.cal: expected intrinsics, distortion, rotation and translation",
        "03/frame_00003_pose.txt: expected a centre before the camera",
        "04/rgb.cal: expected a calibration, as the other sequences have",
    ]


def test_missing_and_empty_paths_name_the_expected_layout(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(DataError, match=path.name) as caught:
            build("dataset", "biwi", {"path": str(path)})
        assert caught.value.hint is not None
        assert "frame_00003_pose.txt" in caught.value.hint


def test_it_holds_no_other_labels(tmp_path: Path) -> None:
    frame(tmp_path / "01")
    with pytest.raises(DataError, match="the data set 'biwi' has no labels for emotion"):
        build("dataset", "biwi", {"path": str(tmp_path)}).labelled("emotion")
