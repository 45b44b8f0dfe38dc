"""Reports: measured rows stand beside the published ones, and a run's losses are drawn."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from helpers.common import ROOT, picture

from facecycle.config.layers import preset_layers, resolve
from facecycle.errors import DataError
from facecycle.probing.protocols import PROTOCOLS
from facecycle.probing.result import Result, Row, write_result
from facecycle.reporting.report import loss_curves, write_report
from facecycle.reporting.tables import paper_tables


def result(data: str, sha256: str, accuracy: float) -> Result:
    row = Row(feature="conv", dimensions=8, metrics={"accuracy": accuracy}, intervals={"accuracy": (0.4, 0.6)})
    row.true = row.predicted = [0, 1]
    return Result(
        task="emotion",
        protocol="linear",
        selection="C",
        interval="bootstrap",
        split="halves",
        counts={"samples": 2000},
        classes={"happy": 1200, "sad": 800},
        coverage=["warning: 1 of 2 images"],
        facts={"data set": data, "sha256": sha256},
        unreadable={"a.png": "cut short"},
        rows=[row],
    )


def test_a_features_numbers_on_two_data_sets_share_a_row_below_the_published_ones(tmp_path: Path) -> None:
    for place, found in {"a": result("fer2013", "ab", 0.5), "b": result("raf-db", "ab", 0.6)}.items():
        write_result(found, tmp_path / place)
    html, markdown = write_report([tmp_path], tmp_path / "out")
    text = markdown.read_text()
    assert "| FaceCycle | 48.76 | 71.01 |" in text
    assert "**ours** conv (ab, linear) | 50.0 \\[40.0, 60.0\\] (c) | 60.0 \\[40.0, 60.0\\] (d) |" in text
    for fact in ("1,200 happy, 800 sad", "2,000 samples", "warning: 1 of 2 images", "1 images could not be read"):
        assert fact in text
        assert fact in html.read_text()
    assert html.read_text().count('class="ours"') == 3


def of_methods() -> Result:
    """Return a probe of a rival that began with ImageNet's weights, and of SimCLR, which no table of the paper has."""
    names = ("tempo: conv", "tempo: conv, random twin", "sim: conv", "hog")
    rows = [Row(feature=name, dimensions=8, metrics={"yaw": 9.0}) for name in names]
    rows[0].checkpoint, rows[2].checkpoint = "tempo", "sim"
    given = result("aflw2000", "", 0).model_dump()
    given |= {"task": "pose", "protocol": "linear-pose", "rows": [], "facts": {"data set": "aflw2000"}}
    methods = {
        "tempo": {"method": "temporal", "sha256": "cd", "begun with": "pretrained weights"},
        "sim": {"method": "simclr", "sha256": "ef"},
    }
    return Result(**given).model_copy(update={"rows": rows, "checkpoints": methods})


def test_a_rivals_rows_stand_below_its_published_one_with_marks_of_what_compares() -> None:
    published = tomllib.loads((ROOT / "facecycle" / "reporting" / "published.toml").read_text())
    pose = list(paper_tables(published, [of_methods()]))[1]
    rows = [(row["cells"][0], row["cells"][1], row["ours"]) for row in pose["rows"]]
    assert rows == [
        ("FaceCycle", "11.70", False),
        ("FAb-Net (a)", "13.92", False),
        ("TCAE", "21.75", False),
        ("BMVC'20 (b)", "22.06", False),
        ("tempo: conv (temporal, cd, linear-pose) (b)", "9.00 (c) (d)", True),
        ("tempo: conv, random twin (temporal, cd, linear-pose)", "9.00 (c) (d)", True),
        ("sim: conv (simclr, ef, linear-pose)", "9.00 (c) (d)", True),
        ("hog (linear-pose)", "9.00 (c) (d)", True),
    ]
    first, second, third = pose["notes"][1:4]
    assert first.startswith("(b) begins with ImageNet's weights")
    assert second.startswith("(c) another protocol")
    assert third.startswith("(d) the probe was trained on other data")


def test_the_papers_own_procedure_has_no_mark() -> None:
    published = tomllib.loads((ROOT / "facecycle" / "reporting" / "published.toml").read_text())
    facts = {"data set": "aflw2000", "trained on": "300w-lp", "sha256": "cd"}
    same = of_methods().model_copy(update={"protocol": "facecycle-pose", "facts": facts, "checkpoints": {}})
    pose = list(paper_tables(published, [same]))[1]
    assert {row["cells"][1] for row in pose["rows"] if row["ours"]} == {"9.00"}


def test_every_mark_of_the_published_numbers_is_explained() -> None:
    published = tomllib.loads((ROOT / "facecycle" / "reporting" / "published.toml").read_text())
    used = {mark for given in published["tables"] for row in given["rows"] for mark in row.get("marks", [])}
    assert used | {"protocol", "unknown", "trained_on"} == published["marks"].keys()
    columns = [column for given in published["tables"] for column in given["columns"]]
    assert {column["protocol"] for column in columns if "protocol" in column} <= PROTOCOLS.keys()


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to report"):
        write_report([tmp_path], tmp_path / "out")


def test_a_translation_is_shown(tmp_path: Path) -> None:
    picture(tmp_path / "faces" / "contact_sheet.png")
    html, _ = write_report([tmp_path], tmp_path / "out")
    assert "faces/contact_sheet.png" in html.read_text()


def test_losses_are_drawn_per_stage() -> None:
    lines = [{"stage": stage, "step": n, "total": 1 / (n + 1)} for stage in ("direct", "$x_") for n in range(3)]
    config = resolve(preset_layers("small"))
    assert loss_curves(lines, config).startswith(b"\x89PNG")
