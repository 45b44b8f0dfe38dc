"""The layouts of the head pose sets 300W-LP, AFLW2000 and BIWI, and what is said of malformed ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import picture
from facecycle_plugins.datasets import landmark_pose_files
from PIL import Image
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from facecycle.api import Labelled
from facecycle.errors import ConfigError, DataError, MalformedError
from facecycle.registry import build

CORNERS = ((20.0, 20.0), (40.0, 40.0))
"""Two landmarks: their box, enlarged by 0.6 of its 20 pixels, is 8, 8, 52, 52."""


def pair(image: Path, degrees: tuple[float, ...] = (10, 20, 30), points: Any = CORNERS, **content: Any) -> Path:
    """Write X.jpg and X.mat as 300W-LP and AFLW2000 hold them; `degrees` are pitch, yaw, roll."""
    picture(image, seed=len(image.name), size=(64, 64))
    pose = np.array([[*np.radians(degrees), 0, 0, 0, 1]], dtype=np.float32)
    savemat(image.with_suffix(".mat"), {"Pose_Para": pose, "pt2d": np.array(points).T, **content})
    return image


def archive(path: Path, degrees: Any = ((20, 10, 30), (-20, -10, -30)), **arrays: Any) -> Path:
    """Write an FSA-Net file; `degrees` are yaw, pitch, roll."""
    image = np.random.default_rng(0).integers(0, 256, (len(degrees), 64, 64, 3), dtype=np.uint8)
    np.savez(path, **{"image": image, "pose": np.array(degrees, dtype=float), "img_size": 64, **arrays})
    return path


def pose(kind: str, path: Path, **options: object) -> Labelled:
    labels = build("dataset", kind, {"path": str(path), **options}).labelled("pose")
    assert isinstance(labels, Labelled)
    return labels


def problems(kind: str, path: Path, **options: object) -> list[str]:
    with pytest.raises(MalformedError) as caught:
        build("dataset", kind, {"path": str(path), **options})
    return caught.value.problems


# --- pairs of X.jpg and X.mat -------------------------------------------------------------------


def test_poses_are_pitch_yaw_roll_in_degrees(tmp_path: Path) -> None:
    pair(tmp_path / "image00002.jpg", (10, 20, 30))
    labels = pose("aflw2000", tmp_path)
    assert labels.targets == pytest.approx(np.array([[10, 20, 30]]), abs=1e-4)
    assert labels.folds.tolist() == [0]
    assert labels.published == {"images": 2000}
    assert "negates yaw and roll" in labels.note


def test_300w_lp_is_read_from_its_sub_folders_alone(tmp_path: Path) -> None:
    for folder in ("AFW", "AFW_Flip", "LFPW"):
        pair(tmp_path / folder / "x_1_0.jpg")
    (tmp_path / "AFW" / "readme.txt").write_text("")
    for folder in ("landmarks/AFW", "Code"):
        pair(tmp_path / folder / "y_1_0.jpg")
    dataset = build("dataset", "300w-lp", {"path": str(tmp_path)})
    assert [t.name for t in dataset.tracks()] == ["AFW/x_1_0.jpg", "AFW_Flip/x_1_0.jpg", "LFPW/x_1_0.jpg"]
    labels = dataset.labelled("pose")
    assert set(labels.folds.tolist()) == {-1}
    assert labels.counts == {"images": 3}
    assert labels.published == {"images": 122_450}


def test_views_of_a_source_image_and_its_mirror_are_one_group(tmp_path: Path) -> None:
    for name in ("HELEN/a_1_0", "HELEN/a_1_17", "HELEN_Flip/a_1_0", "HELEN/a_2_0", "LFPW/a_1_0"):
        pair(tmp_path / f"{name}.jpg")
    groups = dict(zip(("HELEN/a_1_0", "HELEN/a_1_17", "HELEN/a_2_0"), pose("300w-lp", tmp_path).groups, strict=False))
    assert groups == {"HELEN/a_1_0": "HELEN/a_1", "HELEN/a_1_17": "HELEN/a_1", "HELEN/a_2_0": "HELEN/a_2"}
    assert len(set(pose("300w-lp", tmp_path).groups.tolist())) == 3
    # A sub-folder alone is taken too.
    assert pose("300w-lp", tmp_path / "HELEN_Flip").groups.tolist() == ["HELEN/a_1"]


def test_the_crop_is_the_landmarks_box_enlarged(tmp_path: Path) -> None:
    image = pair(tmp_path / "a.jpg")
    dataset = build("dataset", "aflw2000", {"path": str(tmp_path)})
    pixels, bad = dataset.images([0], 44)
    assert bad == [None]
    with Image.open(image) as full:
        wanted = np.asarray(full.convert("RGB"))[8:52, 8:52]
    assert np.array_equal(pixels[0].permute(1, 2, 0).numpy(), wanted)


def test_the_crop_is_clamped_to_the_image(tmp_path: Path) -> None:
    image = pair(tmp_path / "a.jpg", points=((1, 1), (63, 63)))
    pixels, bad = build("dataset", "aflw2000", {"path": str(tmp_path)}).images([0], 64)
    assert bad == [None]
    with Image.open(image) as full:
        assert np.array_equal(pixels[0].permute(1, 2, 0).numpy(), np.asarray(full.convert("RGB")))


def test_invisible_landmarks_do_not_widen_the_crop(tmp_path: Path) -> None:
    pair(tmp_path / "a.jpg", points=(*CORNERS, (-1, -1), (-1, 60), (60, 0)))
    dataset = build("dataset", "aflw2000", {"path": str(tmp_path)})
    assert dataset.files.boxes == [pytest.approx((8, 8, 52, 52))]


def test_angles_beyond_99_degrees_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    pair(tmp_path / "a.jpg", (0, 98.9, 0))
    pair(tmp_path / "b.jpg", (-99.1, 0, 0))
    filtered, whole = pose("aflw2000", tmp_path), pose("aflw2000", tmp_path, filtered=False)
    assert filtered.frames.tolist() == [0]
    assert whole.frames.tolist() == [0, 1]
    assert filtered.counts == whole.counts == {"images": 2}
    assert "1 images with an angle beyond 99 degrees left out" in filtered.note
    assert "1 images with an angle beyond 99 degrees kept" in whole.note
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "a.mat").unlink()
    with pytest.raises(DataError, match="each of the 1 images has an angle beyond 99"):
        pose("aflw2000", tmp_path)


def test_a_file_without_its_partner_is_refused_or_left_out(tmp_path: Path) -> None:
    for name in "abc":
        pair(tmp_path / f"{name}.jpg")
    (tmp_path / "a.mat").unlink()
    (tmp_path / "b.jpg").unlink()
    assert problems("aflw2000", tmp_path) == [
        f"{tmp_path}/a.jpg: expected a.mat beside it, got none",
        f"{tmp_path}/b.mat: expected b.jpg beside it, got none",
    ]
    labels = pose("aflw2000", tmp_path, allow_missing=True)
    assert labels.groups.tolist() == ["c"]
    assert "2 files without their partner left out" in labels.note


def test_every_malformed_mat_file_is_named_with_its_fault(tmp_path: Path) -> None:
    for name in ("cut", "empty", "text", "degrees", "nan", "shape", "none", "hidden", "line", "good"):
        pair(tmp_path / f"{name}.jpg")
    for name, left in (("cut", 300), ("empty", 0)):
        os.truncate(tmp_path / f"{name}.mat", left)
    (tmp_path / "text.mat").write_text("pitch yaw roll\n" * 30)
    pair(tmp_path / "degrees.jpg", Pose_Para=np.array([[10.0, 20, 30, 0, 0, 0, 1]]))
    pair(tmp_path / "nan.jpg", (float("nan"), 0, 0))
    pair(tmp_path / "shape.jpg", Pose_Para=np.array([[0.1, 0.2]]))
    savemat(tmp_path / "none.mat", {"pt2d": np.array(CORNERS).T})
    pair(tmp_path / "hidden.jpg", points=((-1, -1), (30, 30)))
    pair(tmp_path / "line.jpg", points=((10, 30), (20, 30)))
    found = {Path(p.partition(": ")[0]).stem: p for p in problems("aflw2000", tmp_path)}
    assert sorted(found) == ["cut", "degrees", "empty", "hidden", "line", "nan", "none", "shape", "text"]
    assert "expected a whole MATLAB file" in found["cut"]
    assert "expected Pose_Para in radians, got 10, 20, 30" in found["degrees"]
    assert "expected Pose_Para of shape (1, 7), got none" in found["none"]
    assert "got shape (1, 2)" in found["shape"]
    assert "expected visible landmarks that span a box" in found["line"]


@pytest.mark.parametrize("left", [0, 100, 130, 200, 290])
def test_a_mat_file_cut_short_anywhere_is_a_problem(tmp_path: Path, left: int) -> None:
    pair(tmp_path / "a.jpg")
    os.truncate(tmp_path / "a.mat", left)
    assert len(problems("aflw2000", tmp_path)) == 1


# --- the index of parsed files ------------------------------------------------------------------


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the .mat files that were parsed, in order."""
    names: list[str] = []
    read = landmark_pose_files._read_mat

    def spy(path: Path) -> list[float]:
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(landmark_pose_files, "_read_mat", spy)
    return names


def test_a_mat_file_is_parsed_again_only_when_it_changed(tmp_path: Path, parsed: list[str]) -> None:
    for name in "ab":
        pair(tmp_path / f"{name}.jpg")
    first = pose("aflw2000", tmp_path)
    again = pose("aflw2000", tmp_path)
    assert parsed == ["a.mat", "b.mat"]
    assert np.array_equal(first.targets, again.targets)
    pair(tmp_path / "b.jpg", (1, 2, 3))
    os.utime(tmp_path / "b.mat", ns=(1, 1))
    assert pose("aflw2000", tmp_path).targets[1] == pytest.approx([1, 2, 3], abs=1e-4)
    assert parsed == ["a.mat", "b.mat", "b.mat"]


def test_an_unusable_index_is_made_anew(tmp_path: Path, parsed: list[str]) -> None:
    pair(tmp_path / "a.jpg")
    wanted = pose("aflw2000", tmp_path).targets
    for text in ("", "[]", '{"files": [1]}', '{"files": {"a.mat": [1, 2]}}', '{"files": {"a.mat": "123456789"}}'):
        landmark_pose_files._cache_file(tmp_path).write_text(text)
        assert np.array_equal(pose("aflw2000", tmp_path).targets, wanted)
    assert parsed == ["a.mat"] * 6


def test_the_fingerprint_follows_the_poses(tmp_path: Path) -> None:
    pair(tmp_path / "a.jpg", (1, 2, 3))
    before = build("dataset", "aflw2000", {"path": str(tmp_path)}).fingerprint()
    content = {"Pose_Para": np.radians([[1.0, 2, 4, 0, 0, 0, 1]]), "pt2d": np.array(CORNERS).T}
    savemat(tmp_path / "a.mat", content)
    assert build("dataset", "aflw2000", {"path": str(tmp_path)}).fingerprint() != before


# --- FSA-Net files ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["300w-lp", "aflw2000"])
def test_an_fsa_net_file_stores_yaw_first(tmp_path: Path, kind: str) -> None:
    labels = pose(kind, archive(tmp_path / "AFW.npz", ((20, 10, 30), (-20, -10, 120))), filtered=False)
    assert labels.targets.tolist() == [[10, 20, 30], [-10, -20, 120]]
    assert labels.groups.tolist() == ["AFW.npz[0]", "AFW.npz[1]"]
    assert "each row its own group" in labels.note
    assert len(pose(kind, tmp_path / "AFW.npz").frames) == 1


def test_red_comes_out_red_unless_asked_for_as_stored(tmp_path: Path) -> None:
    image = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    image[:, 16:48, 16:48, 2] = 255  # red in BGR
    file = archive(tmp_path / "AFLW2000.npz", ((20, 10, 30),), image=image)
    right, _ = build("dataset", "aflw2000", {"path": str(file)}).images([0], 64)
    assert right[0, :, 32, 32].tolist() == [255, 0, 0]
    stored, _ = build("dataset", "aflw2000", {"path": str(file), "channels": "as-stored"}).images([0], 64)
    assert stored[0, :, 32, 32].tolist() == [0, 0, 255]
    assert "colours RGB" in pose("aflw2000", file).note
    assert "as stored, BGR" in pose("aflw2000", file, channels="as-stored").note


def test_image_files_have_no_stored_order(tmp_path: Path) -> None:
    pair(tmp_path / "a.jpg")
    with pytest.raises(ConfigError, match=r"'as-stored' is for \.npz files"):
        build("dataset", "aflw2000", {"path": str(tmp_path), "channels": "as-stored"})


def test_a_folder_of_fsa_net_files_leaves_out_the_test_set_beside_them(tmp_path: Path) -> None:
    for name in ("HELEN_Flip", "AFW", "AFLW2000", "BIWI"):
        archive(tmp_path / f"{name}.npz")
    names = [t.name for t in build("dataset", "300w-lp", {"path": str(tmp_path)}).tracks()]
    assert names == ["AFW.npz[0]", "AFW.npz[1]", "HELEN_Flip.npz[0]", "HELEN_Flip.npz[1]"]
    pair(tmp_path / "AFW" / "x_1_0.jpg")
    with pytest.raises(DataError, match=r"folders of images \(AFW\) beside \.npz files \(AFW\.npz\)"):
        build("dataset", "300w-lp", {"path": str(tmp_path)})


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"pose": np.radians([[20.0, 10, 30], [-20, -10, -30]])}, "expected poses in degrees"),
        ({"pose": np.zeros((3, 3))}, r"got 2 images and a pose of shape \(3, 3\)"),
        ({"pose": np.full((2, 3), np.nan)}, "got 2 images and a pose"),
        ({"pose": np.array([["a"] * 3] * 2)}, "got 2 images and a pose"),
        ({"pose": np.array([[None] * 3] * 2)}, "cannot be read"),
        ({"image": np.zeros((2, 64, 64), dtype=np.uint8)}, r"got an image of shape \(2, 64, 64\)"),
        ({"image": np.zeros((2, 64, 64, 3))}, "got an image of shape .* of float64"),
        ({"image": np.zeros((0, 64, 64, 3), dtype=np.uint8)}, r"got an image of shape \(0,"),
    ],
)
def test_a_wrong_array_is_refused(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        build("dataset", "aflw2000", {"path": str(archive(tmp_path / "AFLW2000.npz", **arrays))})


def test_what_is_no_fsa_net_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, images=np.zeros(3))
    with pytest.raises(DataError, match=r"a\.npz: expected the arrays image .*, got images"):
        build("dataset", "aflw2000", {"path": str(file)})
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(DataError, match="got a single array"):
        build("dataset", "aflw2000", {"path": str(tmp_path / "single.npy")})
    os.truncate(archive(file), 5000)
    for other in (file, picture(tmp_path / "a.jpg"), pair(tmp_path / "b.jpg").with_suffix(".mat")):
        with pytest.raises(DataError, match="cannot be read"):
            build("dataset", "aflw2000", {"path": str(other)})


# --- BIWI ---------------------------------------------------------------------------------------

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
    assert f"angles {euler}: yaw = atan2" in labels.note


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
    assert pose("biwi", tmp_path, folds=2).targets[0] == pytest.approx((pitch, yaw, roll), abs=1e-3)
    other = pose("biwi", tmp_path, folds=2, euler="xyz").targets
    assert other[1] == pytest.approx((pitch, yaw, roll), abs=1e-3)
    assert np.abs(other[0] - (pitch, yaw, roll)).max() > 10


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


# --- all of them --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "layout"), [("300w-lp", "HELEN_Flip"), ("aflw2000", "X.jpg and X.mat"), ("biwi", "frame_00003_pose.txt")]
)
def test_missing_and_empty_paths_name_the_expected_layout(tmp_path: Path, kind: str, layout: str) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(DataError, match=path.name) as caught:
            build("dataset", kind, {"path": str(path)})
        assert caught.value.hint is not None
        assert layout in caught.value.hint


@pytest.mark.parametrize("kind", ["300w-lp", "aflw2000", "biwi"])
def test_pose_sets_hold_no_other_labels(tmp_path: Path, kind: str) -> None:
    pair(tmp_path / "a_1_0.jpg")
    frame(tmp_path / "01")
    with pytest.raises(DataError, match=f"the data set '{kind}' has no labels for emotion"):
        build("dataset", kind, {"path": str(tmp_path)}).labelled("emotion")
