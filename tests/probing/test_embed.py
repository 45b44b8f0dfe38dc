"""Tables of features: the same numbers in every form, and null where an image has none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers.common import picture
from helpers.training import tiny

from facecycle.checkpoints import model_file
from facecycle.data.images import from_uint8, read_square
from facecycle.errors import ConfigError
from facecycle.networks import Loaded, build_method, load
from facecycle.probing.embed import embed_files
from facecycle.runtimes.by_torch import TorchRuntime

NAMES = ("expression", "conv")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    path = tmp_path_factory.mktemp("m") / "m.safetensors"
    config = tiny()
    header = {"config": config.model_dump_json(), "trained": '["expression"]'}
    model_file.save_model(path, build_method(config), header)
    return load(path)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """70 images, more than a batch, of which one cannot be read; a name has commas and quotes."""
    paths = [picture(tmp_path / "faces" / f"{number}.png", number) for number in range(70)]
    paths[3].write_text("no image")
    return [*paths[:-1], paths[-1].rename(tmp_path / "faces" / 'an, "odd"\nname.png')]


def expected(loaded: Loaded, paths: list[Path], name: str) -> np.ndarray:
    """The features, NaN in the row of the bad image."""
    found = [from_uint8(torch.zeros(3, 32, 32, dtype=torch.uint8)) for _ in paths]
    for place in set(range(len(paths))) - {3}:
        found[place] = from_uint8(read_square(paths[place], 32))
    with torch.inference_mode():
        values = loaded.method.features(torch.stack(found), frozenset({name}))[name].flatten(1).numpy()
    values[3] = np.nan
    return values


def test_parquet_holds_a_list_of_numbers_for_each_feature(loaded: Loaded, images: list[Path], tmp_path: Path) -> None:
    assert list(embed_files(TorchRuntime(loaded), images, tmp_path / "t.parquet", names=NAMES)) == [str(images[3])]
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.column_names == ["path", "status", *NAMES]
    assert json.loads(table.schema.metadata[b"facecycle"])["sha256"] == loaded.checkpoint.sha256()
    assert table["path"].to_pylist() == [str(path) for path in images]
    assert [place for place, status in enumerate(table["status"].to_pylist()) if status != "ok"] == [3]
    for name in NAMES:
        found = np.array([row or [np.nan] * len(table[name][0]) for row in table[name].to_pylist()])
        assert np.allclose(found, expected(loaded, images, name), atol=1e-5, equal_nan=True)


def test_csv_and_npy_hold_the_same_numbers(loaded: Loaded, images: list[Path], tmp_path: Path) -> None:
    for form in ("parquet", "csv", "npy", "CSV"):
        embed_files(TorchRuntime(loaded), images, tmp_path / f"t.{form}", names=NAMES)
    table = pq.read_table(tmp_path / "t.parquet")
    widths = {name: len(table[name][0]) for name in NAMES}
    array = np.load(tmp_path / "t.npy")
    assert array.dtype == np.float32
    assert array.shape == (len(images), sum(widths.values()))
    assert np.isnan(array[3]).all()
    kept = [place for place in range(len(images)) if place != 3]
    start = 0
    for name in NAMES:
        values = np.array([table[name][place].as_py() for place in kept], np.float32)
        assert np.array_equal(array[kept, start : start + widths[name]], values)
        start += widths[name]
    with (tmp_path / "t.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    numbers = [f"{name}_{number}" for name in NAMES for number in range(widths[name])]
    assert header == ["path", "status", *numbers]
    assert [row[0] for row in rows] == table["path"].to_pylist()
    assert set(rows[3][2:]) == {""}
    assert np.array_equal(np.array([rows[place][2:] for place in kept], np.float32), array[kept])
    assert (tmp_path / "t.CSV").read_bytes() == (tmp_path / "t.csv").read_bytes()
    with (tmp_path / "t.names.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [row[:2] for row in [header, *rows]]


def test_the_codes_that_were_trained_are_written_without_names(
    loaded: Loaded, images: list[Path], tmp_path: Path
) -> None:
    embed_files(TorchRuntime(loaded), images[:2], tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet").column_names == ["path", "status", "expression"]


def test_an_image_whose_features_are_not_finite_has_none(loaded: Loaded, images: list[Path], tmp_path: Path) -> None:
    weight = loaded.method.expression.head[2].weight
    kept = weight[0, 0].item()
    weight[0, 0] = float("nan")  # the code of every face; its conv feature stays what it is
    try:
        bad = embed_files(TorchRuntime(loaded), images[:4], tmp_path / "t.parquet", names=["conv", "expression"])
    finally:
        weight[0, 0] = kept
    assert list(bad) == [str(path) for path in images[:4]]
    assert [bad[str(path)] for path in images[:3]] == ["its features are not finite"] * 3
    table = pq.read_table(tmp_path / "t.parquet")
    assert table["expression"].null_count == table["conv"].null_count == 4
    assert table["status"].to_pylist() == list(bad.values())


@pytest.mark.parametrize(
    ("out", "names", "message"),
    [
        ("t.txt", [], "the suffix says no format"),
        ("t", [], "the suffix says no format"),
        ("faces", [], "is a folder"),
        ("t.parquet", ["expresion"], "Did you mean expression"),
        ("t.parquet", ["identity"], "has no such feature"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(
    loaded: Loaded, images: list[Path], tmp_path: Path, out: str, names: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        embed_files(TorchRuntime(loaded), images, tmp_path / out, names=names)
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]
