"""Every example runs as its first lines say, and is short enough to be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.common import ROOT, photograph, picture
from helpers.forked import do, script

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name: str, *arguments: object, cwd: Path) -> str:
    return do(cwd, script, ROOT / "examples" / name, *arguments)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_is_one_short_file(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 70


def test_a_run_is_trained_and_probed(tmp_path: Path) -> None:
    rows = ["file,pitch_deg,yaw_deg,roll_deg,fold"]
    for number in range(24):
        face = picture(tmp_path / "faces" / f"person{number // 2}" / f"{number % 2}.png", number)
        rows.append(f"{face.relative_to(tmp_path)},{number % 5},{number % 7},{number % 3},{number // 2 % 3}")
    (tmp_path / "poses.csv").write_text("\n".join(rows))
    said = run("train_and_probe.py", "run", "faces", "poses.csv", 1, cwd=tmp_path)
    assert [line for line in said.splitlines() if line.startswith("conv")]
    result = json.loads((tmp_path / "run-probe" / "result.json").read_text())
    assert [row["feature"] for row in result["rows"]][1:4:2] == ["expression", "conv"]


def test_photographs_are_translated_and_compared(tmp_path: Path) -> None:
    photos = [photograph(tmp_path / "1.png"), photograph(tmp_path / "2.png", mirrored=True)]
    said = run("translate_and_embed.py", *photos, cwd=tmp_path)
    assert f"{photos[0]}: expression +1.00, identity +1.00 like the first" in said
    assert (tmp_path / "pictures" / "expression_swap.png").is_file()


def test_a_loss_of_ones_own_is_trained_with(tmp_path: Path) -> None:
    run("loss_plugin.py", "run", 1, cwd=tmp_path)
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["edges"] > 0
