"""Scores of a card: the headline of each feature that the weights learned, and of no other weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from helpers.common import Command, refused

from facecycle.checkpoints import header
from facecycle.checkpoints.places import SHIPPED
from facecycle.checkpoints.shared_folder import write_folder
from facecycle.errors import DataError
from facecycle.probing.features import TWIN
from facecycle.probing.result import Result, Row
from facecycle.probing.scores import scores_of


def result(tmp_path: Path, **changed: Any) -> Path:
    rows = [
        Row(feature="conv", dimensions=9, metrics={"accuracy": 0.85049}, intervals={"accuracy": (0.8, 0.9)}),
        Row(feature=f"conv{TWIN}", dimensions=9, metrics={"accuracy": 0.7}),
        Row(feature="HoG", dimensions=9, metrics={"accuracy": 0.99}),
    ]
    words = {"task": "emotion", "protocol": "linear", "selection": "s", "interval": "i", "split": "by subject"}
    facts = {"sha256": header.read(SHIPPED).sha256(), "data": "ck-plus:/home/ann/ck", "data set": "ck-plus"}
    made = Result.model_validate(
        {**words, "counts": {}, "coverage": [], "unreadable": {}, "facts": facts, "rows": rows} | changed
    )
    (tmp_path / "result.json").write_text(made.model_dump_json())
    return tmp_path / "result.json"


def test_a_card_shows_what_the_weights_learned_as_the_report_does(tmp_path: Path) -> None:
    scores = scores_of(SHIPPED, [result(tmp_path)])
    assert [(score.feature, score.value, score.cell) for score in scores] == [("conv", 85.0, "85.0 [80.0, 90.0]")]
    write_folder(SHIPPED, tmp_path / "folder", scores, "hf-hub:ann/faces")
    card = huggingface_hub.ModelCard.load(tmp_path / "folder" / "README.md")
    (found,) = card.data.eval_results or ()
    assert (found.task_type, found.dataset_name, found.metric_type, found.metric_value) == (
        "face-emotion",
        "ck-plus",
        "accuracy",
        85.0,
    )
    assert card.data.model_name == "ann/faces"
    assert "| emotion | linear | ck-plus | conv |" in card.text
    assert "/home/ann" not in str(card)


def test_results_of_other_weights_are_refused(tmp_path: Path, inside: Command) -> None:
    with pytest.raises(DataError, match="has no score of a feature of the weights"):
        scores_of(SHIPPED, [result(tmp_path, rows=[Row(feature="HoG", dimensions=9, metrics={"accuracy": 0.9})])])
    other = result(tmp_path, facts={"sha256": "0" * 64, "data set": "ck-plus"})
    refused(
        inside("checkpoint", "push", SHIPPED, "ann/faces", "--results", other),
        "result.json is the result of other weights",
        "measures these",
    )
