"""`data check`, `probe` and `report` over every data set's real layout; test_cli.py runs the commands as processes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from helpers.common import Command, picture, refused
from helpers.layouts import LAYOUTS
from PIL import Image

from facecycle.data.images import from_uint8, read_square
from facecycle.networks import SHIPPED, load
from facecycle.probing.subject import load_all


@pytest.fixture
def command(inside: Command) -> Command:
    """Run `facecycle` in this process."""
    return inside


LABELLED = {
    "class-folders": "emotion",
    "raf-db": "emotion",
    "fer2013": "emotion",
    "ferplus": "emotion",
    "affectnet": "emotion",
    "ck-plus": "emotion",
    "expw": "emotion",
    "jaffe": "emotion",
    "kdef": "emotion",
    "pose-csv": "pose",
    "biwi": "pose",
    "identity-folders": "verify",
    "lfw": "verify",
    "cplfw": "verify",
    "calfw": "verify",
    "celeba": "verify",
    "insightface-bin": "verify",
}
ENCODER = ("--encoder", "hog")
TWO_FOLDS = ("--option", "folds=2")
"""Each fold is fitted for every feature, which takes longest of all, and what is asked of two is true of more."""
CROSS_VALIDATED = {"class-folders", "ck-plus", "expw", "jaffe", "kdef"}
"""Of the sets of emotions; the others say what is tested."""
SMALL_ENCODER = "--encoder", "fab-net", "--set=encoder.options={layers=5}"
TINY = "--set=method.options={width=4, motion_width=16, generator_blocks=1, renormalizer_blocks=1}"
FEW_FACES = "--set=data=[{name='synthetic', options={identities=8, test_identities=20, takes=2, frames=4}}]"


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_data_set_is_counted_and_shown(command: Command, tmp_path: Path, kind: str) -> None:
    path = LAYOUTS[kind](tmp_path / "data")
    result = command("data", "check", kind, path)
    assert result.returncode == 0, result.stderr
    published = {"raf-db": "12,271", "fer2013": "28,709", "300w-lp": "122,450", "aflw2000": "2,000", "biwi": "15,678"}
    if kind in published:
        assert published[kind] in result.stdout
        assert "warning: " in result.stdout
    assert Image.open(tmp_path / "data-check" / f"{kind}.png").height > 100


@pytest.mark.parametrize("kind", LABELLED)
def test_every_labelled_set_is_probed(command: Command, tmp_path: Path, kind: str) -> None:
    path = LAYOUTS[kind](tmp_path / "data")
    folds = TWO_FOLDS if kind in CROSS_VALIDATED else ()
    result = command("probe", "--task", LABELLED[kind], "--data", f"{kind}:{path}", *folds, *ENCODER, "--out", "out")
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert written["facts"]["data set"] == kind
    assert {row["feature"] for row in written["rows"]} >= {"hog", "lbp uniform", "lbp nri_uniform", "pixels"}
    assert any(row["intervals"] for row in written["rows"])
    if LABELLED[kind] == "emotion":
        assert sum(written["classes"].values()) == written["counts"]["samples"]
        assert f"classes: {next(iter(written['classes']))} " in result.stdout


def test_pose_is_trained_on_one_set_and_tested_on_another(command: Command, tmp_path: Path) -> None:
    train, test = LAYOUTS["300w-lp"](tmp_path / "train"), LAYOUTS["aflw2000"](tmp_path / "test")
    arguments = ["probe", "--task", "pose", "--data", f"300w-lp:{train}", *ENCODER]
    refused(command(*arguments), "no fold is tested", "--test")
    result = command(*arguments, "--test", f"aflw2000:{test}", "--out", "out")
    assert result.returncode == 0, result.stderr
    assert "6 of 2,000 images of the tested data" in result.stdout
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert written["counts"] == {"samples": 12, "tested": 6, "training only": 6}
    assert written["split"].count("angles xyz: R = Rx(-pitch) Ry(yaw) Rz(roll), as in 300W-LP") == 2
    refused(
        command("probe", "--task", "pose", "--data", "synthetic", *ENCODER, "--test", f"aflw2000:{test}"), "order zyx"
    )
    result = command("report", "out")
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "report" / "report.html").read_text()
    assert "hog (hog, not trained by facecycle, linear-pose, 64 px, trained on 300w-lp)" in page
    assert "11.70" in page


def test_the_papers_protocol_runs_on_its_own_data_and_its_rows_stay_apart_in_the_report(
    command: Command, tmp_path: Path
) -> None:
    path = LAYOUTS["raf-db"](tmp_path / "data")
    for protocol in ("linear", "facecycle-raf"):
        arguments = ["--protocol", protocol, "--data", f"raf-db:{path}", *ENCODER, "--out", f"out/{protocol}"]
        result = command("probe", *arguments)
        assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "out" / "facecycle-raf" / "result.json").read_text())
    assert written["facts"]["image size"] == "100 px"
    assert [row["feature"] for row in written["rows"]] == ["majority class", "hog"]
    assert command("report", "out").returncode == 0
    page = (tmp_path / "report" / "report.md").read_text()
    for protocol, size in (("linear", 64), ("facecycle-raf", 100)):
        assert f"hog (hog, not trained by facecycle, {protocol}, {size} px)" in page


def test_results_on_one_data_set_stand_below_each_other_in_the_report(command: Command, tmp_path: Path) -> None:
    path = LAYOUTS["raf-db"](tmp_path / "data")
    for out in ("one", "two"):
        result = command("probe", "--task", "emotion", "--data", f"raf-db:{path}", *ENCODER, "--out", f"out/{out}")
        assert result.returncode == 0, result.stderr
    shutil.copy(tmp_path / "out" / "one" / "emotion.png", tmp_path / "out" / "one" / "pose.png")  # an earlier probe's
    assert command("report", "out").returncode == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("hog (hog, not trained by facecycle, linear, 64 px)") == 2  # once for each result
    assert "one/emotion.png" in page
    assert "one/pose.png" not in page


def test_missing_images_are_refused_or_counted(command: Command, tmp_path: Path) -> None:
    path = LAYOUTS["cplfw"](tmp_path / "data")
    (path / "3_2.jpg").unlink()
    arguments = ["probe", "--task", "verify", "--data", f"cplfw:{path}", *ENCODER]
    refused(command(*arguments), "3_2.jpg", "--allow-missing")
    result = command(*arguments, "--allow-missing")
    assert result.returncode == 0, result.stderr
    assert "39 of 6,000 pairs" in result.stdout
    written = json.loads((tmp_path / "probes" / "verify" / "result.json").read_text())
    assert written["facts"]["options"] == "allow_missing=True"
    refused(command("probe", "--task", "pose", "--data", "synthetic", *ENCODER, "--allow-missing"), "no option")


def test_a_pose_file_that_names_missing_images_is_refused(command: Command, tmp_path: Path) -> None:
    path = LAYOUTS["pose-csv"](tmp_path / "data")
    (tmp_path / "data" / "p3" / "0.jpg").unlink()
    arguments = ["probe", "--task", "pose", "--data", path, *ENCODER]
    refused(command(*arguments), "line 5", "--allow-missing")
    result = command(*arguments, "--allow-missing")
    assert result.returncode == 0, result.stderr
    assert "1 of the file's rows left out" in (tmp_path / "probes" / "pose" / "report.md").read_text()


def test_names_that_are_no_text_are_shown_and_escaped(command: Command, tmp_path: Path) -> None:
    root = LAYOUTS["class-folders"](tmp_path / "data")
    (root / "happy" / "S099_0|<b>\n#.png").write_text("no image")
    (Path(os.fsdecode(os.fsencode(root / "happy") + b"/S098_caf\xe9.png"))).write_text("no image")
    result = command("probe", "--task", "emotion", "--data", root, *TWO_FOLDS, *ENCODER, "--out", "out")
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "out" / "report.md").read_text()
    assert "<b>" not in page.replace("\\<b\\>", "")
    assert "caf\\\\xe9.png" in page


def test_every_malformed_row_is_named(command: Command, tmp_path: Path) -> None:
    path = LAYOUTS["raf-db"](tmp_path / "data")
    listing = path / "EmoLabel" / "list_patition_label.txt"
    wrong = {3: "train_00002.jpg 9", 5: "what", 9: "valid_1.jpg 1"} | dict.fromkeys(range(11, 15), "x")
    lines = listing.read_text().splitlines()
    listing.write_text("\n".join(wrong.get(n, line) for n, line in enumerate(lines, 1)))
    result = command("data", "check", "raf-db", path)
    refused(result, "7 rows are malformed")
    assert all(f"line {number}" in result.stdout for number in wrong)


def test_neutral_faces_are_measured_where_the_truth_is_known(command: Command, tmp_path: Path) -> None:
    few = [*SMALL_ENCODER, TINY, FEW_FACES, "--steps", 1, "--set=pairs=2"]
    trained = command("pretrain", "--cycle", "expression", *few, "--out", "run")
    assert trained.returncode == 0, trained.stderr
    options = [f"--option={option}" for option in ("identities=20", "test_identities=20", "takes=2", "frames=2")]
    result = command("probe", "--task", "neutral", "--checkpoint", "run", "--out", "out", *options)
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    inputs, frontal, neutral = written["rows"]
    assert set(neutral["metrics"]) == {"l1", "ssim", "emotion", "verification", "yaw"}
    # A single step has hardly moved the flow: the warped face is the input still.
    assert frontal["metrics"]["l1"] == pytest.approx(inputs["metrics"]["l1"], rel=0.1)
    assert neutral["metrics"]["ssim"] < inputs["metrics"]["ssim"]
    assert Image.open(tmp_path / "out" / "neutral.png").width > 300
    for number in range(8):
        picture(tmp_path / "people" / f"s{number // 2}" / f"{number}.png", number)
    (tmp_path / "people" / "s3" / "7.png").write_text("no image")
    arguments = ["--task", "neutral", "--checkpoint", "run", "--data", "identity-folders:people", *TWO_FOLDS]
    result = command("probe", *arguments)
    assert result.returncode == 0, result.stderr
    assert "skipped s3/7.png: not an image" in result.stdout


def two_runs(command: Command) -> None:
    """Train FaceCycle and a rival for a step each, with the same small encoder."""
    few = [*SMALL_ENCODER, FEW_FACES, "--steps", 1, "--set=pairs=4"]
    for arguments in (["--cycle", "expression", TINY, "--out", "ours"], ["--preset", "simclr", "--out", "rival"]):
        result = command("pretrain", *few, *arguments)
        assert result.returncode == 0, result.stderr


def test_several_checkpoints_share_a_table_and_their_differences_have_intervals(
    command: Command, tmp_path: Path
) -> None:
    two_runs(command)
    for number in range(24):
        picture(tmp_path / "faces" / ("happy", "sad")[number % 2] / f"S{number // 2:03d}_{number % 2}.png", number)
    probe = ["probe", "--task", "emotion", "--data", "class-folders:faces", *TWO_FOLDS]
    result = command(*probe, "--checkpoint", "ours", "--checkpoint", "rival", "--out", "both")
    assert result.returncode == 0, result.stderr
    both = json.loads((tmp_path / "both" / "result.json").read_text())
    names = [row["feature"] for row in both["rows"]]
    ours = [f"ours: {name}{twin}" for name in ("expression", "conv") for twin in ("", ", random twin")]
    rival = [f"rival: {name}{twin}" for name in ("code", "conv") for twin in ("", ", random twin")]
    assert names == ["majority class", *ours, *rival, "hog", "lbp uniform", "lbp nri_uniform", "pixels"]
    assert {label: facts["method"] for label, facts in both["checkpoints"].items()} == {
        "ours": "facecycle",
        "rival": "simclr",
    }
    best, *others = both["differences"]
    assert best["best"]
    assert [(each["one"], each["other"]) for each in others] in ([("ours: conv", "rival: conv")], [])
    scores = {row["feature"]: row["metrics"]["accuracy"] for row in both["rows"]}
    for each in both["differences"]:
        low, high = each["intervals"]["accuracy"]
        assert low <= each["metrics"]["accuracy"] <= high
        assert each["metrics"]["accuracy"] == pytest.approx(scores[each["one"]] - scores[each["other"]])
    assert "differences over the same test items" in result.stdout
    assert "A less B" in (tmp_path / "both" / "report.md").read_text()

    assert command("report", "both").returncode == 0
    report = (tmp_path / "report" / "report.md").read_text()
    assert "## emotion: linear on class-folders:faces: differences" in report
    assert "checkpoint rival: " in (tmp_path / "both" / "report.md").read_text()

    # Each gives the features that it has, of those that are named.
    several = [*probe, "--checkpoint", "ours", "--checkpoint", "rival"]
    assert command(*several, "--feature", "expression", "--feature", "code", "--out", "named").returncode == 0
    named = json.loads((tmp_path / "named" / "result.json").read_text())
    assert [row["feature"] for row in named["rows"] if row["checkpoint"]] == ["ours: expression", "rival: code"]
    refused(command(*several, "--feature", "code"), "ours has none of the features code", "expression")
    refused(command(*several, "--feature", "cnov"), "no feature 'cnov'", "Did you mean conv")
    refused(command(*several, "--checkpoint", "ours/."), "given twice")

    # One checkpoint gives what it gave without the other, and nothing that belongs to several.
    assert command(*probe, "--checkpoint", "ours", "--out", "one").returncode == 0
    one = json.loads((tmp_path / "one" / "result.json").read_text())
    assert not {"checkpoints", "differences"} & one.keys()
    assert "less B" not in (tmp_path / "one" / "report.md").read_text()
    shared = {row["feature"].removeprefix("ours: "): row for row in both["rows"]}
    for row in one["rows"]:
        assert "checkpoint" not in row
        assert row == {k: v for k, v in shared[row["feature"]].items() if k != "checkpoint"} | {
            "feature": row["feature"]
        }


def test_neutral_faces_of_several_checkpoints_are_compared_at_one_size(command: Command, tmp_path: Path) -> None:
    for name, more in (("one", "seed=1"), ("two", "seed=2"), ("large", "size=96")):
        begun = command(
            *("pretrain", "--cycle", "expression", *SMALL_ENCODER, FEW_FACES, "--steps", 1, "--set=pairs=2", TINY),
            *("--set", more, "--out", name),
        )
        assert begun.returncode == 0, begun.stderr
    for number in range(8):
        picture(tmp_path / "people" / f"s{number // 2}" / f"{number}.png", number)
    people = ["--data", "identity-folders:people", *TWO_FOLDS]
    probe = ["probe", "--task", "neutral", *people, "--checkpoint", "one", "--checkpoint"]
    result = command(*probe, "two", "--out", "out")
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    panels = [f"{run}: {panel}" for run in ("one", "two") for panel in ("frontal", "neutral")]
    assert [row["feature"] for row in written["rows"]] == ["input", *panels]
    pairs = [("one: frontal", "two: frontal"), ("one: neutral", "two: neutral")]
    assert [(each["one"], each["other"]) for each in written["differences"]] == pairs
    assert set(written["differences"][0]["intervals"]) == {"verification"}
    refused(command(*probe, "large"), "one 64 px, large 96 px", "one by one")
    # Features of images of different sizes are compared: each network reads its own.
    pose = LAYOUTS["pose-csv"](tmp_path / "data")
    result = command("probe", "--task", "pose", "--data", pose, "--checkpoint", "one", "--checkpoint", "large")
    assert result.returncode == 0, result.stderr


def test_labels_tell_checkpoints_apart(tmp_path: Path) -> None:
    for place in ("a/run", "b/run", "c"):
        (tmp_path / place).mkdir(parents=True)
        shutil.copy(SHIPPED, tmp_path / place / "default.safetensors")
    paths = [tmp_path / place / "default.safetensors" for place in ("a/run", "b/run")]
    assert list(load_all(paths)) == [str(path) for path in paths]
    shutil.copy(SHIPPED, tmp_path / "c" / "other.safetensors")
    assert list(load_all([paths[0], tmp_path / "c" / "other.safetensors"])) == ["default", "other"]


def test_codes_are_written_as_parquet(command: Command, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    tiny = "--set=method.options={width=4, motion_width=16, generator_blocks=1, renormalizer_blocks=1}"
    command("pretrain", "--cycle", "expression", "--steps", 1, "--set=pairs=2", tiny, "--out", "run")
    for number in range(70):
        picture(tmp_path / "faces" / f"{number}.png", number)
    (tmp_path / "faces" / "9.png").write_text("no image")
    result = command("embed", "faces", "--checkpoint", "run", "-o", "codes.parquet")
    assert result.returncode == 0, result.stderr
    assert "69 of 70 images" in result.stdout
    table = pq.read_table(tmp_path / "codes.parquet")
    assert table.column_names == ["path", "status", "expression"]
    rows = table.to_pylist()
    assert [Path(row["path"]).stem for row in rows] == [str(number) for number in range(70)]
    assert rows[9]["expression"] is None
    assert "not an image" in rows[9]["status"]
    method = load(tmp_path / "run").method
    image = from_uint8(read_square(tmp_path / "faces" / "33.png", 64)[None])
    with torch.inference_mode():
        code = method.features(image, frozenset({"expression"}))["expression"]
    assert rows[33]["expression"] == pytest.approx(code[0].tolist(), abs=1e-5)
    assert json.loads(table.schema.metadata[b"facecycle"])["sha256"]
    refused(command("embed", "gone", "--checkpoint", "run"), "no file or folder gone")
    refused(command("embed", "faces/9.png", "-o", "one.parquet"), "one.parquet holds no features", "Its rows say why")
    assert pq.read_table(tmp_path / "one.parquet")["status"].to_pylist() == [rows[9]["status"]]


def test_a_folder_is_shown_as_a_gallery_that_escapes_names(command: Command, tmp_path: Path) -> None:
    tiny = "--set=method.options={width=4, motion_width=16, generator_blocks=1, renormalizer_blocks=1}"
    command("pretrain", "--cycle", "expression", "--steps", 1, "--set=pairs=2", tiny, "--out", "run")
    for name in ("a&b", "<i>", "c d#1", 'q"'):
        picture(tmp_path / "faces" / f"{name}.png")
    result = command("translate", "faces", "--detector", "centre", "--checkpoint", "run", "--out", "out")
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count('loading="lazy"') == 4 * len(list((tmp_path / "out").glob("a&b-*.png")))
    assert "<i>" not in page
    assert "c%20d%231-neutral.png" in page
    result = command("report", "run", "out")
    assert result.returncode == 0, result.stderr
    assert "data:image/png;base64" in (tmp_path / "report" / "report.html").read_text()


MISTAKES = {
    "no task": (["probe"], ["name a task or a protocol"]),
    "unknown protocol": (["probe", "--protocol", "liner"], ["Did you mean linear"]),
    "wrong task": (["probe", "--task", "pose", "--protocol", "linear"], ["is for --task emotion"]),
    "two sources": (["probe", "--task", "pose", *ENCODER, "--feature", "expression"], ["--encoder has no checkpoint"]),
    "weights of nothing": (["probe", "--task", "pose", "--pretrained"], ["--pretrained goes with --encoder"]),
    "handcrafted weights": (["probe", "--task", "pose", *ENCODER, "--pretrained"], ["option 'pretrained'"]),
    "neutral has no feature": (["probe", "--task", "neutral", "--feature", "expression"], ["has no encoder, feature"]),
    "size of no encoder": (
        ["probe", "--task", "pose", "--encoder", "timm:vit_tiny_patch16_224", "--size", "50"],
        ["does not read images of 50 x 50"],
    ),
    "options of the protocol": (
        ["probe", "--protocol", "facecycle-pose", *ENCODER, "--option", "channels=rgb"],
        ["facecycle-pose sets it itself"],
    ),
    "data of another protocol": (
        ["probe", "--protocol", "facecycle-pose", "--data", "synthetic", *ENCODER],
        ["facecycle-pose sets the option 'channels', which synthetic does not have", "--task pose"],
    ),
    "size of the protocol": (["probe", "--protocol", "facecycle-raf", *ENCODER, "--size", "64"], ["of 100 px"]),
    "pairs are not trained": (
        ["probe", "--task", "verify", "--data", "synthetic", "--test", "synthetic", *ENCODER],
        ["nothing to train"],
    ),
    "unknown data": (["data", "check", "raf-bd", "."], ["Did you mean raf-db"]),
    "no path": (["data", "check", "raf-db"], ["'path'", "required"]),
    "nothing to report": (["report", "."], ["nothing to report"]),
    "no folder": (["report", "gone"], ["no folder gone"]),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_one_clear_message(command: Command, case: str) -> None:
    arguments, expected = MISTAKES[case]
    refused(command(*arguments), *expected)


def test_stills_of_many_people_are_trained_on_one_by_one(command: Command, tmp_path: Path) -> None:
    for number in range(301):
        (tmp_path / "celeba" / "all").mkdir(parents=True, exist_ok=True)
        (tmp_path / "celeba" / "all" / f"{number:06d}.jpg").touch()
    command_line = ["pretrain", "--data", "celeba", "--steps", 1, "--out", "run"]
    refused(command(*command_line), "would show one person", "celeba/all", "add --option stills=false")
    refused(command(*command_line, "--option", "still=true"), "tracks has no option 'still'")
    result = command(*command_line, "--option", "stills=true")
    assert "data: 301 tracks of 301 people, 301 images" in result.stdout


def test_a_probe_refuses_what_it_cannot_write_before_it_computes(command: Command, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    path = LAYOUTS["identity-folders"](tmp_path / "data")
    result = command("probe", "--task", "verify", "--data", path, *ENCODER, "--out", "taken")
    refused(result, "cannot write to taken, because taken is a file", "Name a folder")
    assert not result.stdout


def test_embed_refuses_what_it_cannot_write_before_it_computes(command: Command, tmp_path: Path) -> None:
    picture(tmp_path / "faces" / "1.png")
    refused(command("embed", "faces", "-o", "codes.txt"), "the suffix says no format", ".parquet, .csv, .npy")
    refused(command("embed", "faces", "-o", "faces"), "is a folder", "faces/codes.parquet")
    refused(command("embed", "faces", "--feature", "cnov"), "no such feature", "Did you mean conv")
