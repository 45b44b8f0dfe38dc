"""Weights that commands are given: what is not finite is used by none, and a probe reads a file of timm's."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from helpers.common import Command, picture, refused
from helpers.layouts import LAYOUTS

from facecycle.checkpoints import header, model_file
from facecycle.checkpoints.tensor_file import write_tensors
from facecycle.networks import SHIPPED
from facecycle.probing.result import read_result

USES = {
    "probe": ["probe", "--task", "pose"],
    "verify": ["probe", "--task", "verify"],
    "emotion": ["probe", "--task", "emotion"],
    "embed": ["embed", "faces"],
    "translate": ["translate", "faces"],
    "export": ["checkpoint", "export", "m.safetensors", "--out", "x.safetensors"],
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(inside: Command, tmp_path: Path, use: str, dtype: torch.dtype) -> None:
    whole = header.read(SHIPPED)
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in model_file.read_tensors(whole).items()}
    tensors["expression.head.0.weight"][1, 2] = float("inf")
    write_tensors(tensors, tmp_path / "m.safetensors", dict(whole.metadata))
    picture(tmp_path / "faces" / "a" / "0.png")
    given = [] if use == "export" else ["--checkpoint", "m.safetensors"]
    result = inside(*USES[use], *given)
    refused(result, "m.safetensors holds numbers that are not finite: expression.head.0.weight")


def test_a_probe_takes_weights_from_a_file(inside: Command, tmp_path: Path) -> None:
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pth")
    LAYOUTS["pose-csv"](tmp_path / "data")
    arguments = ["probe", "--task", "pose", "--data", tmp_path / "data" / "pose.csv", "--out", "r", "--size", 32]
    result = inside(*arguments, "--encoder", "timm:test_resnet", "--weights", "w.pth")
    assert result.returncode == 0, result.stderr
    found = read_result(tmp_path / "r" / "result.json")
    assert [row.feature for row in found.rows[1:3]] == ["timm:test_resnet, w.pth", "timm:test_resnet, random twin"]
    assert found.facts["encoder"] == "timm:test_resnet, weights of w.pth"
    assert found.facts["encoder's input"] == "mean (0.5, 0.5, 0.5), deviation (0.5, 0.5, 0.5)"
    refused(inside(*arguments, "--weights", "w.pth"), "--weights goes with --encoder")


def test_weights_of_other_widths_make_the_same_pictures(inside: Command, tmp_path: Path) -> None:
    whole = header.read(SHIPPED)
    tensors = {k: v.double() if v.is_floating_point() else v for k, v in model_file.read_tensors(whole).items()}
    write_tensors(tensors, tmp_path / "m.safetensors", dict(whole.metadata))
    picture(tmp_path / "face.png", size=(64, 64))
    for out, given in {"a": [], "b": ["--checkpoint", "m.safetensors"]}.items():
        result = inside("translate", "face.png", "--detector", "centre", "--runtime", "torch", "--out", out, *given)
        assert result.returncode == 0, result.stderr
    names = sorted(path.name for path in (tmp_path / "a").glob("*.png"))
    assert names
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
