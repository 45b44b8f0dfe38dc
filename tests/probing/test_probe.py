"""Probing: features are extracted once and kept, bad frames are left out and named, tables hold the numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.common import picture
from torch import Tensor

from facecycle.api import Labelled
from facecycle.data.labels.train_and_test import TrainAndTest
from facecycle.errors import ConfigError, DataError
from facecycle.networks import load
from facecycle.pages import plain
from facecycle.probing.extraction import Feature, dimensions
from facecycle.probing.features import BASELINES, baseline_features, baseline_names, encoder_features, with_baselines
from facecycle.probing.probe import Samples, run_probe
from facecycle.probing.protocols import PROTOCOLS
from facecycle.probing.protocols.facecycle_raf import sgd_classifier
from facecycle.probing.result import Result, Row, read_result, write_result
from facecycle.probing.subject import Subject, features_of
from facecycle.registry import build

FACTS = {"checkpoint": "none", "sha256": "0", "data": "here", "image size": "32 px"}


def class_folders(root: Path) -> Path:
    for number in range(20):
        picture(root / ("happy", "sad")[number % 2] / f"S{number // 2:03d}_{number % 2}.png", number)
    return root


def probed(protocol: str, dataset: object, *features: Feature, limit: int | None = None) -> Result:
    return run_probe(PROTOCOLS[protocol], Subject(features[0].size, features), dataset, FACTS, limit)


def emotion(root: Path, *features: Feature) -> Result:
    return probed("linear", build("dataset", "class-folders", {"path": str(root), "folds": 2}), *features)


def alone(key: str, extract: Callable[[Tensor], Tensor], size: int) -> Feature:
    return Feature("mean", key, lambda images, names: {"map": extract(images)}, size)


def test_features_are_extracted_once(tmp_path: Path) -> None:
    seen: list[int] = []

    def extract(images: Tensor) -> Tensor:
        seen.append(len(images))
        return images.mean(dim=(2, 3))

    root = class_folders(tmp_path)
    first = emotion(root, alone("once", extract, 32))
    again = emotion(root, alone("once", extract, 32))
    assert seen == [20]
    assert first.rows[1].metrics == again.rows[1].metrics
    emotion(root, alone("other weights", extract, 32))
    assert seen == [20, 20]
    picture(root / "happy" / "S000_0.png", 99)
    emotion(root, alone("once", extract, 32))
    assert seen == [20, 20, 20]


def test_features_of_one_network_are_extracted_in_one_pass(tmp_path: Path) -> None:
    seen: list[frozenset[str]] = []

    def read(images: Tensor, names: frozenset[str]) -> dict[str, Tensor]:
        seen.append(names)
        return {name: images.mean(dim=(2, 3)) + len(name) for name in names}

    root = class_folders(tmp_path)
    both = [Feature(name, name, read, 32, name) for name in ("one", "three")]
    other = alone("between", lambda images: images.mean(dim=(2, 3)), 32)
    result = emotion(root, both[0], other, both[1])
    assert seen == [{"one", "three"}]
    assert [row.feature for row in result.rows[1:]] == ["one", "mean", "three"]
    # What is kept already is not asked for again.
    emotion(root, both[0], Feature("new", "new", read, 32, "new"))
    assert seen[1:] == [{"new"}]


def test_features_that_are_not_finite_are_named_and_never_scored(tmp_path: Path) -> None:
    def extract(images: Tensor) -> Tensor:
        found = images.mean(dim=(2, 3))
        found[3, 1] = float("nan")
        return found

    with pytest.raises(DataError, match=r"the feature mean is not finite for 1 of 20 images, first for happy/S003_0"):
        emotion(class_folders(tmp_path), alone("broken", extract, 32))


def test_features_are_extracted_without_gradients(tmp_path: Path) -> None:
    weight = torch.ones(3, requires_grad=True)

    def extract(images: Tensor) -> Tensor:
        found = images.mean(dim=(2, 3)) * weight
        assert not found.requires_grad
        return found

    emotion(class_folders(tmp_path), alone("gradient", extract, 32))


def test_bad_frames_are_left_out_and_named(tmp_path: Path) -> None:
    root = class_folders(tmp_path)
    (root / "sad" / "S003_1.png").write_text("no image")
    result = emotion(root, *encoder_features("pixels", False, 32))
    assert result.counts["samples"] == 19
    assert list(result.unreadable) == ["sad/S003_1.png"]


def test_pairs_with_a_bad_frame_are_left_out(tmp_path: Path) -> None:
    for person in range(20):
        for number in range(2):
            picture(tmp_path / f"s{person}" / f"{number}.png", 2 * person + number)
    (tmp_path / "s4" / "1.png").write_text("no image")
    dataset = build("dataset", "identity-folders", {"path": str(tmp_path)})
    whole = dataset.labelled("verify")
    frame = dataset.files.paths.index(tmp_path / "s4" / "1.png")
    lost = int(((whole.first == frame) | (whole.second == frame)).sum())
    result = probed("cosine-10fold", dataset, *encoder_features("pixels", False, 32))
    assert lost > 0
    assert result.counts["pairs"] == len(whole.first) - lost


def test_features_of_an_image_that_could_not_be_read_are_not_used_when_it_can(tmp_path: Path) -> None:
    for person in range(20):
        for number in range(2):
            picture(tmp_path / "data" / f"s{person}" / f"{number}.png", 2 * person + number)
    path = tmp_path / "data" / "s4" / "1.png"
    whole, status = path.read_bytes(), path.stat()

    def similarities(bytes_: bytes, label: str) -> np.ndarray:
        path.write_bytes(bytes_)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        dataset = build("dataset", "identity-folders", {"path": str(tmp_path / "data")})
        (feature,) = encoder_features("pixels", False, 32)
        return probed("cosine-10fold", dataset, replace(feature, key=label)).rows[0].predicted

    damaged = similarities(bytes(len(whole)), "one")
    mended = similarities(whole, "one")
    assert len(damaged) < len(mended)
    assert np.array_equal(mended, similarities(whole, "another"))


def test_the_table_shows_what_was_scored() -> None:
    dataset = build("dataset", "synthetic", {"identities": 30, "test_identities": 20})
    result = probed("linear-pose", dataset, *encoder_features("hog", False, 64), limit=200)
    assert result.counts == {"samples": 440, "tested": 240, "training only": 200}
    titles, rows = result.table()
    assert titles[2:] == ["pitch MAE (deg)", "yaw MAE (deg)", "roll MAE (deg)", "mean (deg)"]
    constant, hog = rows
    assert constant[0] == "mean pose"
    assert float(hog[-1].split()[0]) < 0.7 * float(constant[-1].split()[0])
    errors = np.abs(result.rows[1].predicted - result.rows[1].true).mean(axis=0)
    assert [cell.split()[0] for cell in hog[2:5]] == [f"{error:.2f}" for error in errors]


def test_folds_of_a_file_that_share_people_are_told(tmp_path: Path) -> None:
    lines = ["file,pitch_deg,yaw_deg,roll_deg,fold"]
    for number in range(24):
        picture(tmp_path / f"p{number // 2}" / f"{number}.png", number)
        lines.append(f"p{number // 2}/{number}.png,0,{number},0,{number // 8}")
    (tmp_path / "pose.csv").write_text("\n".join(lines))
    dataset = build("dataset", "pose-csv", {"path": str(tmp_path / "pose.csv")})
    assert Samples(dataset, "pose", 16).coverage() == []
    lines[3] = lines[3].removesuffix("0") + "1"
    (tmp_path / "pose.csv").write_text("\n".join(lines))
    dataset = build("dataset", "pose-csv", {"path": str(tmp_path / "pose.csv")})
    result = probed("linear-pose", dataset, *encoder_features("pixels", False, 16))
    assert result.coverage == ["warning: 1 of 12 people are both tested and trained on"]


def test_the_report_holds_the_numbers_and_their_protocol(tmp_path: Path) -> None:
    result = emotion(class_folders(tmp_path / "data"), *encoder_features("pixels", False, 32))
    page = write_result(result, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert read_result(tmp_path / "out" / "result.json").model_dump() == result.model_dump()
    assert written["classes"] == {"happy": 10, "sad": 10}
    assert not {"true", "predicted", "tested", "pictures"} & set(written["rows"][1])
    for row, stored in zip(result.rows, written["rows"], strict=True):
        assert stored["metrics"] == row.metrics
        assert stored["chosen"] == {str(fold): value for fold, value in row.chosen.items()}
    text = page.read_text()
    for fact in (result.selection, result.split, *FACTS.values(), *result.table()[1][1]):
        assert plain(fact) in text
    assert (tmp_path / "out" / "emotion.png").read_bytes().startswith(b"\x89PNG")


def test_the_baselines_are_the_papers_and_the_better_ones() -> None:
    sizes = {feature.label: dimensions([feature])[0] for feature in baseline_features()}
    assert sizes == {"hog": 2304, "lbp uniform": 928, "lbp nri_uniform": 944, "pixels": 3072}
    assert len(BASELINES) == len(sizes)


def test_a_handcrafted_encoder_is_scored_beside_its_like_of_another_size() -> None:
    shown = with_baselines(encoder_features("pixels", False, 64))
    assert [feature.label for feature in shown] == ["pixels, 64 px", *baseline_names()]
    assert [feature.label for feature in with_baselines(encoder_features("hog", False, 64))] == baseline_names()
    dataset = build("dataset", "synthetic", {"identities": 30, "test_identities": 20, "frames": 1, "takes": 2})
    same_label = encoder_features("pixels", False, 16)[0], encoder_features("pixels", False, 32)[0]
    rows = probed("linear-pose", dataset, *same_label, limit=50).rows
    assert [row.dimensions for row in rows[1:]] == [3 * 16 * 16, 3 * 32 * 32]


def test_any_encoder_can_be_probed_without_a_checkpoint(tmp_path: Path) -> None:
    (feature,) = encoder_features("timm:mobilenetv3_small_050", False, 32)
    assert "untrained" in feature.label
    (again,) = encoder_features("timm:mobilenetv3_small_050", False, 32)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        names = frozenset({"map"})
        assert torch.equal(feature.read(images, names)["map"], again.read(images, names)["map"])
    assert feature.key == again.key


def test_a_checkpoint_that_trained_nothing_has_no_features() -> None:
    loaded = load(None)
    untrained = replace(loaded.checkpoint, trained=frozenset())
    with pytest.raises(ConfigError, match="trained no feature that exists at 64 px"):
        features_of({"": replace(loaded, checkpoint=untrained)}, PROTOCOLS["linear"], [], 64)


def two_sets(root: Path) -> TrainAndTest:
    for number in range(12):
        picture(root / "a" / ("happy", "sad")[number % 2] / f"{number}.png", number)
        picture(root / "b" / ("Sad", "happy")[number % 2] / f"{number}.png", 50 + number)
    sets = [build("dataset", "class-folders", {"path": str(root / name), "folds": 2}) for name in "ab"]
    return TrainAndTest(*sets)


def test_one_data_set_trains_and_another_is_tested_with_classes_matched_by_name(tmp_path: Path) -> None:
    joined = two_sets(tmp_path)
    labels = joined.labelled("emotion")
    assert labels.folds.tolist() == [-1] * 12 + [0] * 12
    assert labels.classes == ("happy", "sad")
    pixels, bad = joined.images(labels.frames.tolist(), 16)
    assert bad == [None] * 24
    # In the second set Sad comes first, by its capital; the names decide.
    names = [joined.parts[1].files.name(frame) for frame in range(12)]
    assert [labels.classes[t] for t in labels.targets[12:]] == [name.split("/")[0].lower() for name in names]
    assert torch.equal(pixels[12:], joined.parts[1].images(range(12), 16)[0])
    assert "left out" not in labels.note
    (tmp_path / "b" / "happy").rename(tmp_path / "b" / "awe")
    renamed = build("dataset", "class-folders", {"path": str(tmp_path / "b"), "folds": 2})
    with pytest.raises(DataError, match="have 1 classes in common, fewer than two") as caught:
        TrainAndTest(joined.parts[0], renamed).labelled("emotion")
    assert caught.value.hint == "Trained on: happy, sad. Tested on: Sad, awe."


def folders_of_classes(root: Path, **counts: int) -> object:
    seed = 0
    for name, count in counts.items():
        for number in range(count):
            picture(root / name / f"{number}.png", seed := seed + 1)
    return build("dataset", "class-folders", {"path": str(root), "folds": 2})


def test_emotions_of_two_sets_are_matched_by_their_usual_names(tmp_path: Path) -> None:
    one = folders_of_classes(tmp_path / "one", Happiness=4, Anger=3, contempt=2, surprised=2)
    other = folders_of_classes(tmp_path / "other", Surprise=2, angry=2, happy=5, Neutral=6, awe=2)
    joined = TrainAndTest(one, other)  # type: ignore[arg-type]
    labels = joined.labelled("emotion")
    assert labels.classes == ("Anger", "Happiness", "surprised")
    parts = [np.bincount(labels.targets[labels.folds == fold]).tolist() for fold in (-1, 0)]
    assert parts == [[3, 4, 2], [2, 5, 2]]
    assert labels.note.endswith(
        "left out, because the other data set has no such class: of the training samples contempt 2; "
        "of the tested samples Neutral 6, awe 2"
    )
    wanted = {"angry": 0, "happy": 1, "Surprise": 2}
    names = [joined._frames[row] for row in np.flatnonzero(labels.folds == 0)]
    shown = [joined.parts[1].files.name(frame).split("/")[0] for frame in names]
    assert labels.targets[labels.folds == 0].tolist() == [wanted[name] for name in shown]


def test_two_test_splits_do_not_share_features(tmp_path: Path) -> None:
    joined = two_sets(tmp_path)
    joined.labelled("emotion")
    before = joined.fingerprint()
    third = build("dataset", "class-folders", {"path": str(tmp_path / "b"), "folds": 3, "subject": "(.)"})
    other = TrainAndTest(joined.parts[0], third)
    other.labelled("emotion")
    assert before == other.fingerprint(), "the same images are the same features"
    picture(tmp_path / "b" / "Sad" / "99.png", 99)
    more = TrainAndTest(joined.parts[0], build("dataset", "class-folders", {"path": str(tmp_path / "b"), "folds": 2}))
    more.labelled("emotion")
    assert more.fingerprint() != before


def test_test_splits_of_one_folder_do_not_share_features(tmp_path: Path) -> None:
    names = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
    for number, name in enumerate(names):
        for frame in range(2):
            picture(tmp_path / "train" / name / f"{frame}.png", 2 * number + frame)
        for split in ("validation", "test"):
            picture(tmp_path / "fer" / split / name / "0.png", 20 + number)
    train = build("dataset", "class-folders", {"path": str(tmp_path / "train"), "folds": 2})
    marks = []
    for split in ("private", "public"):
        joined = TrainAndTest(train, build("dataset", "fer2013", {"path": str(tmp_path / "fer"), "test": split}))
        assert len(joined.labelled("emotion").frames) == 21
        marks.append(joined.fingerprint())
    assert marks[0] != marks[1]


def test_training_and_tested_data_may_not_be_the_same_images(tmp_path: Path) -> None:
    train = two_sets(tmp_path).parts[0]
    with pytest.raises(DataError, match="share images"):
        TrainAndTest(train, train).labelled("emotion")


def raf(epochs: int, kept: str, extract: Callable[[Tensor], Tensor], turned: bool = False) -> Row:
    """Bright against dark images of 100 px; turned round, dark against bright."""
    levels = torch.tensor([40, 200] * 20, dtype=torch.uint8).view(-1, 1, 1, 1)
    pixels = levels.expand(-1, 3, 100, 100).contiguous()
    targets, folds = np.array([turned, not turned] * 20).astype(int), np.array([-1] * 30 + [0] * 10)
    feature = alone(kept, extract, 100)
    labels = Labelled(np.arange(40), targets, folds, np.arange(40))
    return sgd_classifier(feature, pixels, "mark", labels, epochs=epochs)


def test_the_papers_classifier_learns_without_gradients_in_the_encoder() -> None:
    weight = torch.full((3, 2), 0.1, requires_grad=True)

    def extract(images: Tensor) -> Tensor:
        found = images.mean(dim=(2, 3)) @ weight
        assert not found.requires_grad
        return found

    scores = raf(20, "learns", extract)
    assert scores.metrics["accuracy"] == 1.0
    assert scores.tested.tolist() == list(range(30, 40))
    assert weight.grad is None


def test_a_classifier_that_learned_other_labels_is_not_taken_up() -> None:
    weight = torch.full((3, 2), 0.1)
    extract = lambda images: images.mean(dim=(2, 3)) @ weight  # noqa: E731
    assert raf(20, "labels", extract).metrics["accuracy"] == 1.0
    turned, fresh = (raf(20, key, extract, turned=True) for key in ("labels", "never seen"))
    assert np.array_equal(turned.predicted, fresh.predicted)


def test_the_papers_classifier_goes_on_where_it_was_stopped() -> None:
    class Stopped(Exception):
        pass

    calls = 0

    def extract(images: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Stopped
        return images.mean(dim=(2, 3))

    with pytest.raises(Stopped):
        raf(6, "stopped", extract)
    before = calls
    resumed = raf(6, "stopped", extract)
    # One call for the tested images, one an epoch; the two finished epochs are not repeated.
    assert calls - before == 1 + 4
    whole = raf(6, "whole", lambda images: images.mean(dim=(2, 3)))
    assert np.array_equal(resumed.predicted, whole.predicted)


def test_a_result_that_no_probe_wrote_is_refused(tmp_path: Path) -> None:
    result = emotion(class_folders(tmp_path / "data"), *encoder_features("pixels", False, 32))
    renamed = result.model_copy(update={"task": "pose"}).model_dump_json()
    for text in ("", "[]", '{"format": "facecycle-probe/9"}', "{", renamed):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(DataError, match=r"result\.json is not the result of a probe"):
            read_result(tmp_path / "result.json")
