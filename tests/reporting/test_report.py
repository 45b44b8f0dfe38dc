"""Reports: measured rows stand beside the published ones, and a run's losses are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.common import picture

from facecycle.config.layers import preset_layers, resolve
from facecycle.errors import DataError
from facecycle.probing.result import Result, Row, write_result
from facecycle.reporting.report import loss_curves, write_report


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
    assert "**ours** conv (ab, linear) | 50.0 \\[40.0, 60.0\\] | 60.0 \\[40.0, 60.0\\] |" in text
    for fact in ("1,200 happy, 800 sad", "2,000 samples", "warning: 1 of 2 images", "1 images could not be read"):
        assert fact in text
        assert fact in html.read_text()
    assert html.read_text().count('class="ours"') == 3


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
