"""The authors' released checkpoint comes in whole and exact, or not at all; checkpoints can be shown and verified."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import golden
from helpers.common import Command, picture, refused
from helpers.golden import GOLDEN
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from facecycle.checkpoints import header, inspect, model_file, places
from facecycle.checkpoints.import_released import import_released, released_name
from facecycle.config.layers import preset_layers, resolve
from facecycle.errors import CheckpointError
from facecycle.networks import load

# Of the lines `<network>.<key> <shape>`, sorted, of the file that the authors released.
RELEASED_KEYS = "19812b697026491a1459aa21965bce965c190d2b735de856d0be0501c04462b8"
STAGE_1 = ("codegeneration", "exptoflow", "Swap_Generator")

Released = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module")
def released() -> Released:
    """Filled weights under the released names."""
    networks: Released = {}
    for name, tensor in golden.paper_networks().state_dict().items():
        network, _, key = released_name(name).partition(".")
        networks.setdefault(network, {})[key] = tensor
    return networks


@pytest.fixture(scope="module")
def imported(released: Released, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    torch.save(released, folder / "finalmodel.tar")
    assert import_released(folder / "finalmodel.tar", folder / "model.safetensors") == ["expression", "identity"]
    return folder / "model.safetensors"


def test_the_names_are_the_released_ones(released: Released) -> None:
    lines = sorted(f"{n}.{key} {tuple(t.shape)}" for n, tensors in released.items() for key, t in tensors.items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == RELEASED_KEYS


def test_imported_weights_give_the_published_outputs(imported: Path) -> None:
    method = load(imported).method
    x = golden.images(2, 0.25)
    with torch.inference_mode():
        codes = method.features(x, frozenset({"expression", "identity"}))
        found = {f"{name}_code": code for name, code in codes.items()}
        flow = method.motion(found["expression_code"])
        found["neutral"] = method.generator(x, flow, method.warper, None)
        found["mean_face"] = method.renormalizer(found["neutral"], found["identity_code"], "denorm", method.warper)
    for name, tensor in found.items():
        expected = GOLDEN["modules"][name]
        flat = tensor.flatten().double()
        sampled = flat[torch.linspace(0, len(flat) - 1, len(expected["values"])).long()]
        error = (sampled - torch.tensor(expected["values"], dtype=torch.float64)).abs().max()
        assert error <= 1e-4 * expected["largest"], name


def test_it_says_where_it_came_from(imported: Path) -> None:
    found = header.read(imported)
    assert found.config.preset == "paper"
    assert found.trained == {"expression", "identity"}
    source = json.loads(found.metadata["source"])
    tar = imported.with_name("finalmodel.tar")
    assert source == {"file": tar.name, "sha256": hashlib.sha256(tar.read_bytes()).hexdigest()}
    assert "VoxCeleb" in found.metadata["licence"]


def test_a_file_of_stage_1_is_imported_as_that(released: Released, tmp_path: Path) -> None:
    torch.save({network: released[network] for network in STAGE_1}, tmp_path / "one.tar")
    assert import_released(tmp_path / "one.tar", tmp_path / "one.safetensors") == ["expression"]
    loaded = load(tmp_path / "one.safetensors")
    assert loaded.checkpoint.trained == {"expression"}
    # The identity cycle can be trained on top: its frozen stem is the one that came with the file.
    ours, theirs = loaded.method.renormalizer.stem.state_dict(), loaded.method.generator.stem.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_identity_cycle_is_trained_on_top_of_a_file_of_stage_1(
    inside: Command, released: Released, tmp_path: Path
) -> None:
    torch.save({network: released[network] for network in STAGE_1}, tmp_path / "one.tar")
    import_released(tmp_path / "one.tar", tmp_path / "one.safetensors")
    for number in range(4):
        picture(tmp_path / "faces" / "ab"[number % 2] / f"{number}.png", number)
    flags = ["--preset", "paper", "--cycle", "identity", "--perceptual", "none", "--set", "pairs=1", "--steps", 1]
    result = inside("pretrain", *flags, "--data", "faces", "--from", "one.safetensors", "--out", "run")
    assert result.returncode == 0, result.stderr
    before, after = load_file(tmp_path / "one.safetensors"), load_file(places.find(tmp_path / "run"))
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"identity", "renormalizer"}
    assert all(torch.equal(before[name], after[name]) for name in before if ".stem." in name)
    assert header.read(tmp_path / "run").trained == {"expression", "identity"}


def altered(released: Released, network: str, **changes: Any) -> dict[str, Any]:
    values = {**released[network], **{key.replace("__", "."): value for key, value in changes.items()}}
    return {**released, network: {key: value for key, value in values.items() if value is not None}}


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"conv1__0__weight": None}, ["missing codegeneration.conv1.0.weight"]),
        ({"extra": torch.zeros(1), "more": torch.zeros(1)}, ["unknown codegeneration.extra", "codegeneration.more"]),
        ({"conv1__0__bias": torch.zeros(3)}, [r"codegeneration.conv1.0.bias is \(3,\), the network has \(64,\)"]),
        ({"conv1__0__bias": torch.full((64,), float("nan"))}, ["codegeneration.conv1.0.bias is not finite"]),
        ({"conv1__0__bias": [1.0], "extra": 1}, ["conv1.0.bias is a list, not a tensor; .*extra is a int"]),
        ({"conv1__0__bias": torch.zeros(64, dtype=torch.int64)}, ["conv1.0.bias is torch.int64"]),
        ({"conv1__0__bias": torch.zeros(64).to_sparse()}, ["conv1.0.bias is torch.float32, torch.sparse_coo"]),
        ({"conv1__0__bias": torch.zeros(64, device="meta")}, ["conv1.0.bias is torch.float32, torch.strided, meta"]),
        ({f"extra{n}": torch.zeros(1) for n in range(12)}, [r"codegeneration.extra9 \(\+2 more\)"]),
    ],
)
def test_tensors_that_do_not_fit_are_listed(
    released: Released, tmp_path: Path, change: dict[str, Any], messages: list[str]
) -> None:
    stage_1 = {network: released[network] for network in STAGE_1}
    torch.save(altered(stage_1, "codegeneration", **change), tmp_path / "x.tar")
    for message in messages:
        with pytest.raises(CheckpointError, match=message):
            import_released(tmp_path / "x.tar", tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_networks_that_are_missing_or_unknown_are_named(released: Released, tmp_path: Path) -> None:
    part = {network: released[network] for network in (*STAGE_1, "idcodegen")}
    torch.save(part, tmp_path / "part.tar")
    with pytest.raises(CheckpointError, match=r"networks: missing network Swap_Norm\n"):
        import_released(tmp_path / "part.tar", tmp_path / "x.safetensors")
    torch.save({**released, "epoch": {}}, tmp_path / "more.tar")
    with pytest.raises(CheckpointError, match="networks: unknown entry epoch"):
        import_released(tmp_path / "more.tar", tmp_path / "x.safetensors")
    wrapped = {n: {f"module.{k}": v for k, v in values.items()} for n, values in released.items()}
    torch.save(wrapped, tmp_path / "wrapped.tar")
    with pytest.raises(CheckpointError, match=r"every key of codegeneration, (?s:.*)DataParallel"):
        import_released(tmp_path / "wrapped.tar", tmp_path / "x.safetensors")


class Hostile:
    """Unpickled, it would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_without_running(released: Released, tmp_path: Path, zipped: bool) -> None:
    content = {**{n: released[n] for n in STAGE_1[:1]}, "exptoflow": Hostile(tmp_path / "ran")}
    torch.save(content, tmp_path / "hostile.tar", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="is refused"):
        import_released(tmp_path / "hostile.tar", tmp_path / "x.safetensors")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "x.safetensors").exists()


def test_what_is_no_checkpoint_is_refused(imported: Path, tmp_path: Path) -> None:
    """And the message never advises to read it without protection, as torch's own do."""
    whole = imported.with_name("finalmodel.tar").read_bytes()
    for number, content in enumerate((b"", b"text", whole[: len(whole) // 2], whole[:100], b"\x80\x04N.")):
        file = tmp_path / f"{number}.tar"
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"{number}\.tar"):
            import_released(file, tmp_path / "x.safetensors")
    with tarfile.open(tmp_path / "real.tar", "w") as tar:
        tar.add(tmp_path / "1.tar", "storages")
    with pytest.raises(CheckpointError, match=r"real\.tar is damaged") as raised:
        import_released(tmp_path / "real.tar", tmp_path / "x.safetensors")
    assert "weights_only" not in str(raised.value)
    with pytest.raises(CheckpointError, match="is a folder"):
        import_released(tmp_path, tmp_path / "x.safetensors")


@pytest.mark.parametrize("zipped", [True, False])
def test_changed_bytes_give_a_message_never_a_traceback(tmp_path: Path, zipped: bool) -> None:
    # A list is refused as well, whatever its tensors, but sooner than networks that do not fit.
    torch.save([torch.ones(2), torch.zeros(2, 2)], tmp_path / "small.tar", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "small.tar").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(whole)
        for place in random.integers(0, min(len(whole), 900), 2):
            changed[place] = random.integers(256)
        (tmp_path / "changed.tar").write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"changed\.tar"):
            import_released(tmp_path / "changed.tar", tmp_path / "x.safetensors")


def test_import_show_verify_and_translate_as_a_user_does(inside: Command, imported: Path, tmp_path: Path) -> None:
    tar = imported.with_name("finalmodel.tar")
    result = inside("checkpoint", "import", tar)
    assert result.returncode == 0, result.stderr
    refused(inside("checkpoint", "import", tar), "finalmodel.safetensors exists")
    refused(inside("checkpoint", "import", "gone.tar"), "no file gone.tar")
    shown = inside("checkpoint", "show", "finalmodel.safetensors", "--config").stdout
    # The five networks of the paper; the encoders' conv parts and heads are one.
    for text in ("expression 4,240,000", "motion 2,996,544", "generator 13,409,475", "renormalizer 10,014,275"):
        assert text in shown
    assert re.search(r"frozen +1,110,656: generator 555,328, renormalizer 555,328", shown)
    assert "finalmodel.tar" in shown
    assert '"preset": "paper"' in shown
    facts = json.loads(inside("checkpoint", "show", "finalmodel.safetensors", "--json").stdout)
    assert facts["config"]["preset"] == "paper"
    verified = inside("checkpoint", "verify", "finalmodel.safetensors")
    assert verified.returncode == 0, verified.stderr
    assert verified.stdout.strip().endswith("ok")
    picture(tmp_path / "face.png")
    result = inside("translate", "face.png", "--detector", "centre", "--checkpoint", "finalmodel.safetensors")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("place", ["header", "tensor"])
def test_a_changed_byte_is_detected(inside: Command, imported: Path, tmp_path: Path, place: str) -> None:
    content = bytearray(imported.read_bytes())
    # A digit of the configuration, or a bit of the last weight.
    at = content.index(b'\\"pairs\\":16') + 11 if place == "header" else len(content) - 3
    content[at] ^= 1
    (tmp_path / "changed.safetensors").write_bytes(content)
    refused(inside("checkpoint", "verify", "changed.safetensors"), "not what was written")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A sound model file of one tensor, whose header is filled up with spaces."""
    config = resolve(preset_layers("small"))
    path = tmp_path / "small.safetensors"
    for licence in ("none", "none at all"):  # seven letters apart: a multiple of eight cannot fit both
        metadata = {"config": config.model_dump_json(), "trained": json.dumps(["expression"]), "licence": licence}
        model_file.save_model(path, nn.Linear(3, 2), metadata)
        content = path.read_bytes()
        if content[7 + int.from_bytes(content[:8], "little")] == ord(" "):
            break
    return path


def test_no_byte_of_a_model_file_changes_unnoticed(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "load", lambda path: None)
    inspect.verify(small, lambda line: None)
    whole = small.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    digest = whole.index(model_file.CONTENT.encode())
    random = np.random.default_rng(0)
    places = {*random.integers(0, header, 600).tolist(), *range(digest, digest + 14), *range(header, len(whole))}
    changes = [(place, whole[place] ^ 1 << int(random.integers(8))) for place in sorted(places)]
    # A tab reads as a space does; so it takes a check of its own.
    changes += [(place, ord("\t")) for place in range(header - 8, header) if whole[place] == ord(" ")]
    assert len(changes) > len(places)
    for place, value in changes:
        changed = bytearray(whole)
        changed[place] = value
        small.write_bytes(changed)
        with pytest.raises(CheckpointError):
            inspect.verify(small, lambda line: None)


def test_a_file_without_its_digest_does_not_verify(small: Path) -> None:
    entries = {k: v for k, v in header.read(small).metadata.items() if k != model_file.CONTENT}
    save_file(load_file(small), small, entries)
    with pytest.raises(CheckpointError, match="does not have the digest in its header"):
        inspect.verify(small, lambda line: None)


def test_components_that_are_installed_otherwise_are_named(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "load", lambda path: None)
    entries = {k: v for k, v in header.read(small).metadata.items() if k not in {"format", model_file.CONTENT}}
    origin = {"distribution": "gone", "version": "1.0"}
    components = {"loss:gone": origin, "ghost:l1": origin, "loss:l1": {**origin, "distribution": "facecycle"}}
    model_file.save_model(small, nn.Linear(3, 2), {**entries, "components": json.dumps(components)})
    lines: list[str] = []
    inspect.verify(small, lines.append)
    assert any("loss:gone: gone 1.0; not installed here" in line for line in lines)
    assert any("ghost:l1: gone 1.0; not installed here" in line for line in lines)
    assert any(re.search(r"loss:l1: facecycle 1.0; facecycle \S+ is installed here", line) for line in lines)


def test_weights_that_are_not_finite_do_not_verify(small: Path) -> None:
    network = nn.Linear(3, 2)
    network.bias.data[0] = float("inf")
    found = header.read(small)
    entries = {k: v for k, v in found.metadata.items() if k not in {"format", model_file.CONTENT}}
    model_file.save_model(small, network, entries)
    with pytest.raises(CheckpointError, match="not finite: bias"):
        inspect.verify(small, lambda line: None)
