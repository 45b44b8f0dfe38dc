"""Files of tensors: one content is one file to the last byte, open to whom the umask admits, written through links."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from facecycle.checkpoints.tensor_file import save_tensors, write_tensors

TENSORS = {
    "b.weight": torch.arange(6.0).view(2, 3),
    "a.count": torch.tensor(7),
    "a.half": torch.ones(3, dtype=torch.float16),
    "ä \u200b": torch.ones(1, dtype=torch.bool),
}
HEADER = {name: f'{name}: "quoted", \\ \n\t\x01 \x7f é \U0001f600' for name in ("z", "format", "a", "m", "é")}


@pytest.fixture
def umask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_one_content_is_one_file(tmp_path: Path) -> None:
    # The library's own order changes from file to file: of ten, the headers of two in a thousand agree.
    for number in range(10):
        write_tensors(TENSORS, tmp_path / f"{number}.safetensors", dict(HEADER))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_the_library_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(TENSORS, path, dict(HEADER))
    found = load_file(path)
    assert found.keys() == TENSORS.keys()
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in TENSORS.items()
    )
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == HEADER
    length = int.from_bytes(path.read_bytes()[:8], "little")
    assert length % 8 == 0


def test_a_file_without_header_entries_is_read_too(tmp_path: Path) -> None:
    save_tensors(tmp_path / "x.safetensors", TENSORS)
    assert load_file(tmp_path / "x.safetensors").keys() == TENSORS.keys()


def test_the_umask_says_who_may_read(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, TENSORS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "x.safetensors", tmp_path / "link.safetensors"
    link.symlink_to(target)
    for tensors in ({"a": torch.zeros(1)}, {"a": torch.ones(1)}):  # first it names nothing, then a file
        save_tensors(link, tensors)
        assert link.is_symlink()
        assert torch.equal(load_file(target)["a"], tensors["a"])
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["x.safetensors"]
