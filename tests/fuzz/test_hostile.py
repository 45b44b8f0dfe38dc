"""Files made to do harm, each the smallest that once did: what they ask for is refused, in a sentence."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facecycle_cli.console import visible
from facecycle_plugins.datasets.pose.mat_file import read_matrices
from fuzz.targets import images as image_files
from fuzz.targets import labels, matlab, pages, released
from helpers.common import picture
from PIL import Image
from safetensors.torch import save
from scipy.io import loadmat

from facecycle import registry
from facecycle.checkpoints import folders, model_file
from facecycle.checkpoints.header import FORMAT, read
from facecycle.checkpoints.import_released import import_released
from facecycle.config.layers import file_layer, preset_layers, resolve, set_layer
from facecycle.data.images import read_box, read_square
from facecycle.errors import CheckpointError, ConfigError, DataError, MalformedError
from facecycle.pages import fill
from facecycle.pretraining.run_folder import METRICS, RunFolder
from facecycle.reporting.report import loss_curves, write_report
from facecycle.translation.files import _unique_names

DIGITS, LONG = "9" * 5000, "x" * 300

# --- configuration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed=0x" + "f" * 6000, "too large to be shown"),
        ("seed=" + DIGITS, "Unable to parse"),
        ("encoder.options.a=" + "[" * 300 + "]" * 300, "nested 32 deep"),
        (".".join("a" * 2000) + "=1", "nested 32 deep"),
        ("seed=" + "[" * 100_000, "valid integer"),
        ("method.options.stem=\udcff", "half a character"),
        ("size=1099511627776", "4096"),
        ("seed=18446744073709551616", "less than or equal"),
    ],
)
def test_values_beyond_reason_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve([*preset_layers("small"), set_layer([assignment])])


def test_a_deep_or_unwritable_file_is_refused(tmp_path: Path) -> None:
    for text in ('{"a":' * 400 + "1" + "}" * 400, '{"encoder": {"options": {"a": "\\ud800"}}}'):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(ConfigError, match=r"nested|half a character"):
            resolve([file_layer(tmp_path / "run.json")])


# --- checkpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize("pointer", [b"..", b"../../other", b"/etc", b"\xff", LONG.encode(), b""])
def test_latest_never_points_out_of_its_run(tmp_path: Path, pointer: bytes) -> None:
    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    for folder in (tmp_path / "run", tmp_path / "other", checkpoints):
        folder.mkdir(exist_ok=True)
        (folder / folders.MODEL).touch()
    (checkpoints / folders.LATEST).write_bytes(pointer)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        folders.latest_folder(tmp_path / "run")


@pytest.mark.parametrize("state", ["[" * 100_000, "[]", "5"])
def test_a_state_that_is_no_table_cannot_be_resumed(tmp_path: Path, state: str) -> None:
    (tmp_path / folders.STATE).write_text(state)
    (tmp_path / folders.OPTIMIZER).write_bytes(save({}))
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        model_file.read_resume(tmp_path)


@pytest.mark.parametrize("trained", ["[" * 100_000, "[1, null]", '"expression"'])
def test_trained_cycles_that_are_no_names_are_refused(tmp_path: Path, trained: str) -> None:
    config = resolve(preset_layers("small")).model_dump_json()
    header = {"format": FORMAT, "config": config, "trained": trained}
    (tmp_path / "a.safetensors").write_bytes(save({}, header))
    with pytest.raises(CheckpointError, match="damaged"):
        read(tmp_path / "a.safetensors")


@pytest.mark.parametrize("model", ["hf-hub:someone/something", "local-dir:/tmp", "https://example.org/x"])
def test_no_encoder_is_fetched_from_a_place_that_a_file_names(model: str) -> None:
    with pytest.raises(ConfigError, match="pattern"):
        registry.build("encoder", "timm", {"model": model})


def test_networks_without_end_are_refused() -> None:
    with pytest.raises(ConfigError, match="256"):
        registry.build("method", "facecycle", {"generator_blocks": 2**62})


# --- the authors' file ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",  # two gigabytes
        released.doubling(60, key=True),  # a key that takes 2**60 steps to hash
        released.doubling(60, key=False),
        b"\x80\x02cos\nsystem\nX\x05\x00\x00\x00touch\x85R.",
    ],
)
def test_a_pickle_that_asks_for_more_than_tensors_is_not_built(tmp_path: Path, stream: bytes) -> None:
    members = {**released._members(), "archive/data.pkl": stream}
    (tmp_path / "a.tar").write_bytes(released._zip(members))
    with pytest.raises(CheckpointError, match="refused"):
        import_released(tmp_path / "a.tar", tmp_path / "a.safetensors")


def test_packed_records_are_refused(tmp_path: Path) -> None:
    import zipfile

    members = {**released._members(), "archive/data/0": bytes(10**6)}
    (tmp_path / "a.tar").write_bytes(released._zip(members, zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointError, match="refused"):
        import_released(tmp_path / "a.tar", tmp_path / "a.safetensors")


# --- images -------------------------------------------------------------------------------------


def test_a_box_that_is_no_numbers_lies_outside(tmp_path: Path) -> None:
    for box in ((float("nan"), 0.0, 9.0, 9.0), (0.0, 0.0, float("nan"), 9.0)):
        with pytest.raises(DataError, match="lies outside"):
            read_box(picture(tmp_path / "a.png"), 8, box)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="a pipe"):
        read_square(tmp_path / "a.jpg", 8)


def test_a_large_jpeg_counts_at_the_scale_it_is_decoded_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facecycle.data.images.MAX_PIXELS", 1000)
    path = picture(tmp_path / "a.jpg", size=(64, 64))
    assert read_square(path, 8).shape == (3, 8, 8)
    with pytest.raises(DataError, match="64 x 64 pixels are more than 1,000"):
        read_box(path, 8, (0, 0, 9, 9))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_no_pixel_takes_more_than_16_bytes(tmp_path: Path, mode: str) -> None:
    from fuzz.harness import _peak, _restart_peak

    (tmp_path / "a.png").write_bytes(image_files._large(4000, mode))
    read_square(picture(tmp_path / "b.png"), 8)
    before = _restart_peak()
    assert read_square(tmp_path / "a.png", 8).shape == (3, 8, 8)
    assert _peak() - before < 16 * 4000 * 4000


# --- labels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (labels._raf_db, f"train_{LONG}.jpg 1\n"),
        (labels._cplfw, f"0_1.jpg {DIGITS}\n0_2.jpg {DIGITS}\n"),
        (labels._lfw, f"{DIGITS}\t{DIGITS}\nAnn\t1\t2\n"),
        (labels._pose_csv, f"file,pitch_deg,yaw_deg,roll_deg\n{LONG}.jpg,1,2,3\n"),
        (labels._pose_csv, f"file,pitch_deg,yaw_deg,roll_deg\n{'x' * 140_000},1,2,3\n"),
        (labels._pose_csv, f"{'x' * 140_000}\n"),
        (labels._pose_csv, f"file,pitch_deg,yaw_deg,roll_deg,fold\np0/0.jpg,1,2,3,{10**30}\n"),
        (labels._list_file, f"{LONG}\n"),
    ],
)
def test_lines_beyond_any_name_or_number_are_malformed(tmp_path: Path, read: Any, text: str) -> None:
    with pytest.raises((DataError, MalformedError)):
        read(text.encode(), tmp_path)


@pytest.mark.parametrize("name", ["..", "../../x", "/etc", "a\0b", "\ud800", DIGITS, ""])
def test_a_cached_index_never_leads_out_of_its_tree(tmp_path: Path, name: str) -> None:
    index = {"directories": {**labels.INDEX["directories"], "id0": [1000000001, [name], [name]]}}
    (tmp_path / "cache").mkdir()
    old, os.environ["XDG_CACHE_HOME"] = os.environ["XDG_CACHE_HOME"], str(tmp_path / "cache")
    try:
        (tmp_path / "input").mkdir()
        labels._index(json.dumps(index).encode(), tmp_path / "input")
        dataset = registry.build("dataset", "tracks", {"path": str(tmp_path / "input" / "tree")})
    finally:
        os.environ["XDG_CACHE_HOME"] = old
    assert {Path(track.name).parts[0] for track in dataset.tracks()} == {"id0", "id1"}


# --- head pose ----------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u2", "i4", "i8"])
def test_matrices_are_those_that_scipy_reads(tmp_path: Path, dtype: str, packed: bool) -> None:
    values = (100 * np.random.default_rng(0).random((2, 68))).astype(dtype)
    path = tmp_path / "a.mat"
    path.write_bytes(matlab._mat(packed, {"other": {"a": 1}, "pt2d": values, "text": "x"}))
    ours, theirs = read_matrices(path, ["pt2d"])["pt2d"], loadmat(path)["pt2d"]
    assert ours.dtype == theirs.dtype
    assert np.array_equal(ours, theirs)


def test_a_file_of_a_big_endian_machine_is_read(tmp_path: Path) -> None:
    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    parts = [
        (6, struct.pack(">II", 6, 0)),
        (5, struct.pack(">ii", 1, 3)),
        (1, b"pt2d"),
        (9, struct.pack(">3d", 1, 2, 3)),
    ]
    matrix = element(14, b"".join(element(*part) for part in parts))
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + matrix)
    assert read_matrices(tmp_path / "a.mat", ["pt2d"])["pt2d"].tolist() == [[1, 2, 3]]


def test_an_element_that_unpacks_beyond_bounds_is_refused(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(64 * 1024**2))
    (tmp_path / "a.mat").write_bytes(matlab.PLAIN[:128] + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(ValueError, match="more than 16,777,216 bytes"):
        read_matrices(tmp_path / "a.mat", ["pt2d"])


@pytest.mark.parametrize(
    "image", [b"", b"text", matlab._npy("{'descr': '|u1', 'fortran_order': False, 'shape': ((((1,)")]
)
def test_arrays_that_are_none_are_refused(tmp_path: Path, image: bytes) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("image.npy", image)
        archive.writestr(
            "pose.npy", matlab._npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3)}", bytes(24))
        )
    with pytest.raises(DataError, match=r"expected the arrays"):
        registry.build("dataset", "aflw2000", {"path": str(tmp_path / "a.npz")})


# --- pages, pictures and the terminal -------------------------------------------------------------


def test_metrics_of_any_kind_make_a_plot_and_a_page(tmp_path: Path) -> None:
    odd = ["[]", "5", '{"stage": "a"}', '{"stage": "a", "step": []}', "[" * 100_000, '{"stage": "a", "step": 1e400}']
    lines = [
        *odd,
        '{"stage": "$\\\\frac", "step": 1, "$x": 0.5, "\\ud800": 0.5}',
        f'{{"stage": "a", "step": {10**20}}}',
    ]
    pages._report((pages._SOUND[0], "\n".join(lines).encode() + b"\n\xff", pages._SOUND[2]), tmp_path)
    odd_loss = {"name": "l1", "views": {"direct": 1.0}}
    config = resolve([*preset_layers("small"), ("file", {"stages": {"direct": {"losses": {"$\\frac": odd_loss}}}})])
    many = [{"stage": f"s{n}", "step": 1, "total": 0.5, "$\\frac": 0.5} for n in range(200)]
    assert loss_curves(many, config)[:4] == b"\x89PNG"


def test_a_folder_of_any_name_is_reported(tmp_path: Path) -> None:
    run = Path(os.fsdecode(os.fsencode(tmp_path) + b"/<script>\xff"))
    run.mkdir()
    (run / METRICS).write_bytes(pages._SOUND[1])
    (run / "config.json").write_bytes(pages._SOUND[2])
    os.mkfifo(tmp_path / "result.json")  # opening it would wait for ever
    page, _ = write_report([tmp_path], tmp_path / "out")
    assert "<script>\\udcff" in pages.check_page(page.read_text())


def test_a_page_shows_names_as_text() -> None:
    name = '"><script>alert(1)</script>{{ 7 * 7 }}'
    values = {"title": name, "checkpoint": name, "seed": 0, "size": 64, "faces": [], "skipped": [(name, name)]}
    assert pages.check_page(fill("gallery.html.jinja", **values)).count(name) == 5


def test_a_line_of_metrics_without_a_step_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_bytes(b'{"step": 1}\n{"step": Infinity}\n\xff\n' + b"[" * 100_000)
    folder = RunFolder(tmp_path)
    folder.open_logs(5)
    folder.close()
    assert (tmp_path / METRICS).read_text() == '{"step": 1}\n'


def test_pictures_are_named_within_what_a_file_system_takes() -> None:
    names = _unique_names([Path(f"{'é' * 120}.png"), Path(f"{'é' * 120}.jpg"), Path("a\nb\\..png")])
    assert names == ["é" * 45, "é" * 45 + "-2", "a_b_."]
    for first in names:
        for second in names:
            assert len(os.fsencode(f".{first}+{second}-expression_swap.png.4194304.tmp")) <= 255


def test_no_name_steers_the_terminal() -> None:
    assert visible("a\x1b]0;b\x07\r\udcff\n") == "a\\x1b]0;b\\x07\\x0d\\udcff\n"
    assert Image.MAX_IMAGE_PIXELS is not None  # Pillow's own limit stands behind ours
