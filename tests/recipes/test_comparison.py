"""The comparison of methods: equal time, no held-out people, nothing made twice, and a reading that is kept."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.common import ROOT, picture

from facecycle.api import Labelled
from facecycle.config.settings import Choice
from facecycle.errors import ConfigError
from facecycle.pretraining.run_folder import RunFolder
from facecycle.probing.folds import bootstrap, measured
from facecycle.probing.protocols import PROTOCOLS
from facecycle.probing.protocols.linear import hits
from facecycle.probing.result import Result, Row

sys.path.insert(0, str(ROOT / "recipes" / "comparison"))
import compare
import scores
import training
from make import OF_A_PERSON


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write a few faces in the layout of the recipe."""
    root = tmp_path / "data"
    rows = ["file,pitch_deg,yaw_deg,roll_deg,person_fold"]
    rng = np.random.default_rng(0)
    for person in range(10):
        for frame in range(2):
            name = f"p{person}/0/{frame}.png"
            picture(root / "tracks" / name, 2 * person + frame)
            angles = ",".join(f"{angle:.1f}" for angle in rng.normal(0, 20, 3))
            rows.append(f"{name},{angles},{person % 5}")
    (root / "tracks" / "pose.csv").write_text("\n".join(rows))
    for number in range(30):
        picture(root / "more_tracks" / f"m{number // 15}" / "0" / f"{number:02d}.png", 100 + number)
        picture(root / "stills" / f"{number:02d}.png", 200 + number)
    for number in range(20):
        picture(root / "emotions" / ("happy", "sad")[number % 2] / f"S{number // 2:03d}_{number % 2}.png", 300 + number)
    for number in range(40):
        picture(root / "people" / f"s{number // 2}" / f"{number % 2}.png", 400 + number)
    return root


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a small encoder, and measure few steps."""
    monkeypatch.setattr(training, "ENCODER", Choice(name="fab-net", options={"layers": 5}))
    monkeypatch.setattr(training, "MEASURED", 3)


def test_a_comparison_from_faces_to_a_page(
    data: Path, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, out = tmp_path / "page.md", tmp_path / "out"
    seconds = 0.3
    command = [str(data), str(out), "--seeds", "1", "--page", str(page), "--methods", "simclr", "vicreg"]
    compare.main([*command, "--minutes", str(seconds / 60)])
    text = page.read_text()
    assert "Nobody has read these numbers yet" in text
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    for title in ("## Pose, held-out people", "## Pose, cross-validation", "## Emotion", "## People"):
        assert title in text
    for run in ("simclr-0", "vicreg-0"):
        stages = RunFolder(out / "runs" / run).config().stages.values()
        assert all(stage.steps is not None and stage.steps < 200 for stage in stages)
    read_again = text.replace("Nobody has read these numbers yet.", "They are of seconds, and say nothing.")
    page.write_text(read_again)
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.json")}
    compare.main([*command, "--minutes", str(seconds / 60)])
    assert page.read_text() == read_again
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.json")} == made
    page.write_text(read_again.replace("# Methods compared", "# Other numbers"))
    for _ in range(2):
        compare.main([*command, "--minutes", str(seconds / 60)])
        assert page.read_text().count("numbers have changed since this was written") == 1

    held_out = json.loads((out / "probes" / "pose-held-out-people" / "methods" / "result.json").read_text())
    assert held_out["counts"] == {"samples": 20, "tested": 4, "training only": 16}
    emotion = json.loads((out / "probes" / "emotion" / "methods" / "result.json").read_text())
    pairs = {(each["one"], each["other"]) for each in emotion["differences"]}
    assert ("simclr: conv", "vicreg: conv") in pairs

    with pytest.raises(ConfigError, match="holds a comparison on"):
        compare.main([str(shutil.copytree(data, tmp_path / "other")), *command[1:]])
    monkeypatch.setattr(training, "_measure", lambda base: dict.fromkeys(base.stages, 0.1))
    with pytest.raises(ConfigError, match="another time"):
        compare.main([*command, "--minutes", "0.2"])


def test_a_method_is_the_mean_of_its_seeds_face_by_face() -> None:
    labels = Labelled(np.arange(12), np.zeros(12, int), np.zeros(12, int), np.arange(12) // 2)
    rng = np.random.default_rng(0)
    rows = []
    for run in ("ours-0", "ours-1", "theirs-0", "theirs-1"):
        for twin in ("", ", random twin"):
            row = Row(feature=f"{run}: conv{twin}", checkpoint="" if twin else run, dimensions=1)
            rows.append(measured(row, np.arange(12), rng.integers(0, 2, 12), labels, hits))
    rows.append(measured(Row(feature="hog", dimensions=1), np.arange(12), np.zeros(12, int), labels, hits))
    facts = {"selection": "", "interval": "", "split": "", "counts": {}, "coverage": [], "facts": {}, "unreadable": {}}
    result = Result(task="emotion", protocol="linear", rows=rows, **facts)
    found = scores.of_methods(PROTOCOLS["linear"], result, ["ours-0", "ours-1", "theirs-0", "theirs-1"])
    by_name = {row.feature: row for row in found.result.rows}
    assert list(by_name) == [
        "ours: conv",
        "ours: conv, random twin",
        "theirs: conv",
        "theirs: conv, random twin",
        "hog",
    ]
    one, other = rows[0].items["accuracy"][0], rows[2].items["accuracy"][0]
    assert by_name["ours: conv"].metrics["accuracy"] == pytest.approx((one.mean() + other.mean()) / 2)
    assert by_name["ours: conv"].intervals["accuracy"] == bootstrap((one + other) / 2, labels.groups)
    assert found.seeds["ours: conv"] == [one.mean(), other.mean()]
    assert [(each.one, each.other) for each in found.learned] == [
        (f"{method}: conv", f"{method}: conv, random twin") for method in ("ours", "theirs")
    ]
    (best,) = found.result.differences
    assert (best.one, best.other, best.best) == ("ours: conv", "theirs: conv", True)


def test_nobody_who_is_held_out_is_trained_on(data: Path, tmp_path: Path) -> None:
    for number in range(9):
        picture(data / "more_tracks" / "m0" / str(number + 1) / "0.png")
    for method in training.METHODS:
        sets = training.data_sets(data, tmp_path / "out", method)
        tracks = (tmp_path / "out" / "tracks.txt").read_text().split()
        assert tracks == [str(data / "tracks" / f"p{person}" / "0") for person in range(10) if person % 5]
        kinds = [Path(each.options["path"]).name for each in sets]
        assert kinds == ["tracks.txt", "more_tracks.txt", *["stills"] * (method in training.STILLS)]
    assert len(list((tmp_path / "out" / "stills").iterdir())) == len(tracks)
    more = (tmp_path / "out" / "more_tracks.txt").read_text().split()
    assert [Path(path).parent.name for path in more] == ["m0"] * OF_A_PERSON + ["m1"]


def test_stages_keep_the_proportions_of_the_preset_and_fit_the_time(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = {"direct": 0.2, "expression": 0.5, "identity": 1.0}
    monkeypatch.setattr(training, "_measure", lambda base: cost)
    sets = training.data_sets(data, tmp_path, "facecycle")
    config = training.schedule("facecycle", sets, 30, tmp_path)
    steps = {name: stage.steps or 0 for name, stage in config.stages.items()}
    assert steps["direct"] / steps["expression"] == pytest.approx(1.5, rel=0.01)
    assert steps["expression"] / steps["identity"] == pytest.approx(2, rel=0.01)
    assert sum(steps[name] * cost[name] for name in cost) == pytest.approx(30 * 60, rel=0.01)
    # Measured once: another speed of the machine changes nothing that has begun.
    monkeypatch.setattr(training, "_measure", lambda base: dict.fromkeys(cost, 9.0))
    assert training.schedule("facecycle", sets, 30, tmp_path) == config


@pytest.mark.parametrize("method", training.METHODS)
def test_every_method_takes_the_same_encoder(method: str, data: Path, tmp_path: Path) -> None:
    monkeyed = dict.fromkeys(training.resolve(training.preset_layers(training.METHODS[method])).stages, 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_measure", lambda base: monkeyed)
        config = training.schedule(method, training.data_sets(data, tmp_path, method), 1, tmp_path)
    assert config.encoder == training.ENCODER
    assert all(stage.steps and not stage.epochs for stage in config.stages.values())
    assert all(stage.frames <= 5 for stage in config.stages.values()), "nearly all tracks have five frames"


def test_one_method_is_no_comparison(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compare.main([str(data), "--methods", "simclr"])
    assert "two methods or more" in capsys.readouterr().err
