"""The layouts of 300W-LP and AFLW2000, as pairs of files and as FSA-Net archives; what is said of malformed ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facecycle_plugins.datasets.pose import landmark_pose_files
from helpers.common import picture
from helpers.pose_labels import pose, problems
from PIL import Image
from scipy.io import savemat

from facecycle.errors import ConfigError, DataError
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
        landmark_pose_files.index_file("landmark-pose", tmp_path).write_text(text)
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


# --- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "layout"), [("300w-lp", "HELEN_Flip"), ("aflw2000", "X.jpg and X.mat")])
def test_missing_and_empty_paths_name_the_expected_layout(tmp_path: Path, kind: str, layout: str) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(DataError, match=path.name) as caught:
            build("dataset", kind, {"path": str(path)})
        assert caught.value.hint is not None
        assert layout in caught.value.hint


@pytest.mark.parametrize("kind", ["300w-lp", "aflw2000"])
def test_they_hold_no_other_labels(tmp_path: Path, kind: str) -> None:
    pair(tmp_path / "a_1_0.jpg")
    with pytest.raises(DataError, match=f"the data set '{kind}' has no labels for emotion"):
        build("dataset", kind, {"path": str(tmp_path)}).labelled("emotion")
