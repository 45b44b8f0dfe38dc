"""Probing: features are extracted once and kept, bad frames are left out and named, tables hold the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from conftest import picture
from torch import Tensor

from facecycle.engine.features import FeatureRow
from facecycle.engine.probe import ProbeResult, encoder_row, run_probe
from facecycle.engine.report import as_json, table, write_report
from facecycle.registry import build

FACTS = {"checkpoint": "none", "sha256": "0", "data": "here", "image size": "32 px"}


def class_folders(root: Path) -> Path:
    for number in range(20):
        picture(root / ("happy", "sad")[number % 2] / f"S{number // 2:03d}_{number % 2}.png", number)
    return root


def emotion(root: Path, *rows: FeatureRow) -> ProbeResult:
    dataset = build("dataset", "class-folders", {"path": str(root)})
    return run_probe("emotion", dataset, rows, 32, FACTS)


def test_features_are_extracted_once(tmp_path: Path) -> None:
    seen: list[int] = []

    def extract(images: Tensor) -> Tensor:
        seen.append(len(images))
        return images.mean(dim=(2, 3))

    root = class_folders(tmp_path)
    first = emotion(root, FeatureRow("mean", "once", extract))
    again = emotion(root, FeatureRow("mean", "once", extract))
    assert seen == [20]
    assert first.rows[1].scores.metrics == again.rows[1].scores.metrics
    emotion(root, FeatureRow("mean", "other weights", extract))
    assert seen == [20, 20]
    picture(root / "happy" / "S000_0.png", 99)
    emotion(root, FeatureRow("mean", "once", extract))
    assert seen == [20, 20, 20]


def test_features_are_extracted_without_gradients(tmp_path: Path) -> None:
    weight = torch.ones(3, requires_grad=True)

    def extract(images: Tensor) -> Tensor:
        found = images.mean(dim=(2, 3)) * weight
        assert not found.requires_grad
        return found

    emotion(class_folders(tmp_path), FeatureRow("mean", "gradient", extract))


def test_bad_frames_are_left_out_and_named(tmp_path: Path) -> None:
    root = class_folders(tmp_path)
    (root / "sad" / "S003_1.png").write_text("no image")
    result = emotion(root, encoder_row("pixels"))
    assert result.counts["samples"] == 19
    assert list(result.bad_frames) == ["sad/S003_1.png"]
    assert as_json(result)["unreadable"] == result.bad_frames


def test_pairs_with_a_bad_frame_are_left_out(tmp_path: Path) -> None:
    for person in range(20):
        for number in range(2):
            picture(tmp_path / f"s{person}" / f"{number}.png", 2 * person + number)
    (tmp_path / "s4" / "1.png").write_text("no image")
    dataset = build("dataset", "identity-folders", {"path": str(tmp_path)})
    whole = dataset.labelled("verify")
    frame = dataset.files.paths.index(tmp_path / "s4" / "1.png")
    lost = int(((whole.first == frame) | (whole.second == frame)).sum())
    result = run_probe("verify", dataset, [encoder_row("pixels")], 32, FACTS)
    assert lost > 0
    assert result.counts["pairs"] == len(whole.first) - lost


def test_the_table_shows_what_was_scored() -> None:
    dataset = build("dataset", "synthetic", {"identities": 30, "test_identities": 20})
    result = run_probe("pose", dataset, [encoder_row("hog")], 64, FACTS, limit=200)
    assert result.counts == {"samples": 440, "tested": 240, "training only": 200}
    titles, rows = table(result)
    assert titles[2:] == ["pitch MAE (deg)", "yaw MAE (deg)", "roll MAE (deg)", "mean (deg)"]
    constant, hog = rows
    assert constant[0] == "mean pose"
    assert float(hog[-1]) < 0.7 * float(constant[-1])
    tested = result.rows[1].scores
    errors = np.abs(tested.predictions - result.targets[tested.tested]).mean(axis=0)
    assert hog[2:5] == [f"{error:.2f}" for error in errors]


def test_the_report_holds_the_numbers_and_their_protocol(tmp_path: Path) -> None:
    result = emotion(class_folders(tmp_path / "data"), encoder_row("pixels"))
    page = write_report(result, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    for row, stored in zip(result.rows, written["rows"], strict=True):
        assert stored["metrics"] == row.scores.metrics
        assert stored["chosen"] == {str(fold): value for fold, value in row.scores.chosen.items()}
    text = page.read_text()
    for fact in (result.protocol, result.selection, result.note, *FACTS.values(), *table(result)[1][1]):
        assert fact in text
    assert (tmp_path / "out" / "emotion.png").read_bytes().startswith(b"\x89PNG")
