"""The three commands on small data, with every part swapped, stopped and resumed; as processes, or inside this one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from facecycle_cli.pretrain import _below, _new_folder
from helpers.common import ROOT, Command, picture, refused
from helpers.forked import do, facecycle
from helpers.sites import install_source
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from facecycle.checkpoints import header, places
from facecycle.config.layers import file_layer, preset_layers, resolve
from facecycle.errors import ConfigError, RunError

SMALL = [
    "--set=method.options={width=4, motion_width=16, generator_blocks=1, renormalizer_blocks=1}",
    "--set=pairs=2",
    "--steps=2",
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in tracks of two, in folders as every task wants them."""
    root = tmp_path_factory.mktemp("faces")
    for number in range(8):
        picture(root / "tracks" / f"p{number // 2}" / f"{number}.jpg", number, (80, 60))
    for number in range(20):
        picture(root / "classes" / ("happy", "sad")[number % 2] / f"S{number // 2:03d}_{number % 2}.png", number)
        picture(root / "people" / f"s{number}" / "1.png", number)
        picture(root / "people" / f"s{number}" / "2.png", number)
    # Four people make no five folds, so the file says which fold a row is in.
    rows = (f"p{n // 2}/{n}.jpg,{n},{-n},1,{n // 4}" for n in range(8))
    lines = ["file,pitch_deg,yaw_deg,roll_deg,fold", *rows]
    (root / "tracks" / "pose.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run: `runs/one` in a working folder."""
    work = tmp_path_factory.mktemp("work")
    small = ["--encoder", "timm:mobilenetv3_small_050", *SMALL]
    do(work, facecycle, "pretrain", "--data", faces / "tracks", "--out", "runs/one", *small)
    return work / "runs" / "one"


def test_translate_writes_panels_and_a_sheet(
    command: Command, inside: Command, run: Path, faces: Path, tmp_path: Path
) -> None:
    image, other = faces / "tracks/p0/0.jpg", faces / "tracks/p1/2.jpg"
    centre = ("--detector", "centre", "--checkpoint", run, "--out")
    result = inside("translate", image, *centre, "alone")
    assert result.returncode == 0, result.stderr
    names = {p.name for p in (tmp_path / "alone").iterdir()}
    assert names == {
        "contact_sheet.png",
        *(f"0-{p}.png" for p in ("pasted", "frontal", "neutral", "mean_face", "flow")),
    }
    for translate, seed, folder in ((inside, 0, "a"), (command, 0, "b"), (inside, 1, "c")):
        result = translate("translate", image, "--driver", other, *centre, folder, "--seed", seed)
        assert result.returncode == 0, result.stderr
    names = {p.name for p in (tmp_path / "a").iterdir()}
    panels = ("pasted", "frontal", "reexpressed", "neutral", "mean_face", "flow", "expression_swap", "identity_swap")
    assert names == {"contact_sheet.png", *(f"{pair}-{p}.png" for pair in ("0+2", "2+0") for p in panels)}
    read = [(tmp_path / f / "0+2-neutral.png").read_bytes() for f in "abc"]
    assert read[0] == read[1] != read[2]


def test_translate_takes_folders_crops_and_odd_images(inside: Command, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    picture(folder / "rgb.png", 1, (100, 70))
    Image.open(folder / "rgb.png").convert("L").save(folder / "grey.png")
    Image.open(folder / "rgb.png").convert("RGBA").save(folder / "alpha.png")
    (folder / "text.jpg").write_text("no image")
    result = inside("translate", folder, "--checkpoint", run, "--out", tmp_path / "out", "--crop", "5,5,40,40")
    assert result.returncode == 0, result.stderr
    assert f"skipped {folder / 'text.jpg'}: not an image" in result.stdout
    assert len(list((tmp_path / "out").glob("*-neutral.png"))) == 3


def test_images_of_one_name_do_not_overwrite_each_other(inside: Command, run: Path, tmp_path: Path) -> None:
    one, two = picture(tmp_path / "a" / "x.png", 1), picture(tmp_path / "b" / "x.png", 2)
    centre = ("--detector", "centre")
    inside("translate", one, two, *centre, "--checkpoint", run, "--out", tmp_path / "out")
    assert {"x-neutral.png", "x-2-neutral.png"} <= {p.name for p in (tmp_path / "out").iterdir()}
    inside("translate", one, "--driver", two, *centre, "--checkpoint", run, "--out", tmp_path / "driven")
    assert {"x+x-2-neutral.png", "x-2+x-neutral.png"} <= {p.name for p in (tmp_path / "driven").iterdir()}


@pytest.mark.parametrize(
    ("task", "data", "metric"),
    [
        ("pose", "tracks/pose.csv", "pitch MAE"),
        ("emotion", "classes", "accuracy"),
        ("verify", "people", "AUC"),
    ],
)
def test_probe_reports_features_twins_and_baselines(
    inside: Command, run: Path, faces: Path, tmp_path: Path, task: str, data: str, metric: str
) -> None:
    folds = ("--option", "folds=2") if task == "emotion" else ()  # of five, which take longest
    result = inside("probe", "--task", task, "--data", faces / data, *folds, "--checkpoint", run, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    for text in (metric, "random twin", "hog", "lbp", "pixels"):
        assert text in result.stdout
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["facts"]["sha256"] == header.read(run).sha256()
    labels = [row["feature"] for row in report["rows"]]
    assert any(label.endswith("random twin") for label in labels)
    page = (tmp_path / "report.md").read_text()
    assert report["protocol"] in page
    assert Image.open(tmp_path / f"{task}.png").width > 300


def test_resume_refuses_another_configuration_and_continues_its_own(
    command: Command, inside: Command, faces: Path, tmp_path: Path
) -> None:
    arguments = [
        "pretrain",
        "--data",
        faces / "tracks",
        "--out",
        "r",
        "--encoder",
        "timm:mobilenetv3_small_050",
        *SMALL,
    ]
    assert inside(*arguments).returncode == 0
    refused(inside(*arguments), "already holds a run", "--resume")
    assert command(*arguments, "--resume").returncode == 0
    refused(inside(*arguments, "--resume", "--seed", 5), "seed: 0 in the run, 5 asked for")
    refused(inside(*arguments, "--resume", "--from", "r"), "exclude each other")
    again = inside("pretrain", "--resume", "--out", "r")
    assert again.returncode == 0
    assert again.stdout.startswith("Continuing the run r\n")


def test_the_same_command_runs_with_every_part_swapped(
    command: Command, inside: Command, faces: Path, tmp_path: Path
) -> None:
    base = ["pretrain", "--data", faces / "tracks", *SMALL, "--steps", 1]
    variants: dict[str, list[str]] = {
        "conv": ["--encoder", "timm:mobilenetv3_small_050"],
        "vit": ["--encoder", "timm:vit_tiny_patch16_224"],
        "paper": ["--encoder", "facecycle"],
        "removed": ["--set=stages.expression.losses.ssim=none"],
    }
    for name, flags in variants.items():
        result = inside(*base, "--out", name, *flags)
        assert result.returncode == 0, f"{name}: {result.stderr}"
    site = tmp_path / "site"
    site.mkdir()
    install_source(site, ROOT / "plugins" / "facecycle-plugin-example")
    charbonnier = "--set=stages.expression.losses.photometric.name=charbonnier"
    parts = ["--encoder", "example-conv", "--warper", "example-bicubic", charbonnier]
    result = command(*base, "--out", "plugin", *parts, env={"PYTHONPATH": str(site)})
    assert result.returncode == 0, result.stderr
    # Without the package, its checkpoint says what is missing and where it came from.
    result = inside("translate", faces / "tracks/p0/0.jpg", "--checkpoint", "plugin")
    refused(result, "there is no warper 'example-bicubic'", "facecycle-plugin-example 1.0")


@pytest.mark.parametrize("network", ["mobilenetv3_small_050", "none"])
def test_flags_reach_the_stages_and_losses_that_set_adds(
    inside: Command, faces: Path, tmp_path: Path, network: str
) -> None:
    added = "{name='perceptual', views={direct=1}, options={pretrained=false}}"
    settings = [
        f"--set=stages.direct.losses.perceptual={added}",
        "--set=stages.later={cycle='identity', steps=1, losses={near={name='l1', views={mean_face=1}}}}",
    ]
    flags = ["--cycle", "expression", "--perceptual", network, "--set=pairs=1", "--steps=1", *SMALL[:1]]
    result = inside("pretrain", "--data", faces / "tracks", *flags, *settings, "--out", "r")
    assert result.returncode == 0, result.stderr
    config = resolve([file_layer(tmp_path / "r" / "config.json")])
    assert (config.cycle, config.steps, config.perceptual) == ("expression", 1, network)
    assert list(config.trained_stages) == ["direct", "expression"]
    perceptual = config.trained_stages["direct"].losses.get("perceptual")
    if network == "none":
        assert perceptual is None
    else:
        assert perceptual is not None
        assert perceptual.options == {"network": network, "pretrained": False}
    records = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert [record["stage"] for record in records] == ["direct", "expression"]


def test_runs_begun_together_have_folders_of_their_own_and_one_that_fails_leaves_none(
    inside: Command, tmp_path: Path
) -> None:
    refused(inside("pretrain", "--set=data=[{name='tracks', options={path='gone'}}]"), "gone")
    assert not (tmp_path / "runs").exists()
    config = resolve(preset_layers("small"))
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(RunError, match="link"):
        _new_folder(tmp_path / "link", config)
    names = [_new_folder(tmp_path / "runs", config).name for _ in range(2)]
    assert names == ["small-resnet18-001", "small-resnet18-002"]


def test_a_file_selects_the_preset_it_names(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('preset = "paper"\npairs = 3')
    file = [file_layer(tmp_path / "recipe.toml")]
    config = resolve([*_below(None, None, file), *file])
    assert config == resolve(preset_layers("paper")).model_copy(update={"pairs": 3})
    with pytest.raises(ConfigError, match=r"--preset base, but .* starts from the preset 'paper'"):
        _below("base", None, file)
    for wrong in ('"papr"', "3"):
        (tmp_path / "recipe.toml").write_text(f"preset = {wrong}")
        with pytest.raises(ConfigError, match="there is no preset"):
            _below(None, None, [file_layer(tmp_path / "recipe.toml")])
    (tmp_path / "config.json").write_text('{"preset": "paper"}')
    assert _below(None, None, [file_layer(tmp_path / "config.json")]) == []
    with pytest.raises(ConfigError, match="laid over no preset"):
        _below("paper", None, [file_layer(tmp_path / "config.json")])


def test_bad_images_are_skipped_and_named_at_the_end(inside: Command, tmp_path: Path) -> None:
    for number in range(6):
        picture(tmp_path / "t" / f"p{number // 2}" / f"{number}.jpg", number)
    cut = tmp_path / "t" / "p0" / "0.jpg"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "t" / "p1" / "2.jpg").write_text("text")
    result = inside("pretrain", "--data", "t", *SMALL, "--steps", 8, "--cycle", "expression", "--out", "r")
    assert result.returncode == 0, result.stderr
    assert "p0/0.jpg" in result.stdout
    assert "p1/2.jpg" in result.stdout
    assert "2 images could not be read" in result.stdout


def test_checkpoints_of_other_shape_or_format_are_refused(
    inside: Command, run: Path, faces: Path, tmp_path: Path
) -> None:
    model = places.find(run)
    with safe_open(model, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(model)
    save_file(tensors, tmp_path / "later.safetensors", {**metadata, "format": "facecycle/9"})
    name = next(name for name, tensor in tensors.items() if tensor.dim() == 4)
    save_file({**tensors, name: tensors[name][..., :1].contiguous()}, tmp_path / "shape.safetensors", metadata)
    image = faces / "tracks/p0/0.jpg"
    refused(inside("translate", image, "--checkpoint", "later.safetensors"), "facecycle/9", "facecycle/1")
    refused(inside("translate", image, "--checkpoint", "shape.safetensors"), name, "does not fit")


def test_every_command_has_help_with_an_example(command: Command, inside: Command) -> None:
    groups = ("list", "show", "check", "new")
    for run, *name in (
        (command, "pretrain"),
        (inside, "translate"),
        (inside, "probe"),
        *((inside, "plugins", each) for each in groups),
    ):
        result = run(*name, "--help")
        assert result.returncode == 0
        assert re.search(r"Example: facecycle", result.stdout), name
