"""Weights on a hub: what is pushed is loaded again bit by bit, offline too, and every refusal is one message."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from helpers.common import Command, photograph, refused
from helpers.hub import TOKEN, Hub, a_hub, speak_to
from helpers.training import tiny
from huggingface_hub import constants
from safetensors.torch import load_file, save
from skimage.data import astronaut

import facecycle
from facecycle.checkpoints import header, model_file
from facecycle.checkpoints import hub as client
from facecycle.checkpoints.export import export
from facecycle.checkpoints.graph_file import graph_of
from facecycle.checkpoints.places import SHIPPED, find, label_of
from facecycle.checkpoints.shared_folder import write_folder
from facecycle.errors import CheckpointError, ConfigError
from facecycle.networks import build_method
from facecycle.probing.subject import load_all
from facecycle.runtimes.choose import choose


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, to which the client was told to speak, with an empty cache and a token."""
    with a_hub() as served:
        speak_to(monkeypatch, served.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its servers speak a protocol of their own
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield served


@pytest.fixture(scope="module")
def model() -> facecycle.Model:
    return facecycle.load()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights whose configuration says where data lay."""
    path = tmp_path_factory.mktemp("run") / "run.safetensors"
    config = tiny("data=[{name='tracks', options={path='/home/ann/secret'}}]")
    header = {"config": config.model_dump_json(), "trained": '["expression"]', "licence": "ask ann"}
    model_file.save_model(path, build_method(config), header)
    return path


@pytest.fixture(scope="module")
def given(run: Path) -> Path:
    """The same, exported, so that it is pushed as it is."""
    export(run, run.with_name("given.safetensors"), half=True, licence=None)
    return run.with_name("given.safetensors")


def files_of(hub: Hub, name: str = "ann/faces", ref: str = "main") -> dict[str, bytes]:
    repository = hub.repositories[name]
    return repository.commits[repository.refs[ref]]


# --- pushed and loaded --------------------------------------------------------------------------


def test_what_is_pushed_is_loaded_bit_by_bit_and_says_what_it_is(hub: Hub, model: facecycle.Model) -> None:
    address = model.push_to_hub("ann/faces", private=True)
    assert address.startswith(f"{hub.endpoint}/ann/faces/commit/")
    assert hub.repositories["ann/faces"].private
    pushed = files_of(hub)
    assert pushed.keys() == {".gitattributes", "README.md", "config.json", "model.onnx", "model.safetensors"}
    assert pushed["model.safetensors"] == SHIPPED.read_bytes()

    again = facecycle.load("hf-hub:ann/faces")
    assert again.origin.startswith(f"hf-hub:ann/faces@{address.rpartition('/')[2][:8]} (for non-commercial research")
    face = astronaut()
    one, other = model.translate(face), again.translate(face)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name].tobytes() != other[name].tobytes()] == []
    assert (model.embed(face) == again.embed(face)).all()

    card = huggingface_hub.ModelCard(pushed["README.md"].decode())
    about = card.data.to_dict()
    assert (about["license"], about["library_name"]) == ("other", "facecycle")
    assert (about["pipeline_tag"], about["license_name"]) == ("image-to-image", "terms-of-the-weights")
    assert "trained on UTKFace" in card.text
    assert "--checkpoint hf-hub:ann/faces" in card.text
    facts = json.loads(pushed["config.json"])
    assert (facts["sha256"], facts["size"], facts["graph"]) == (header.read(SHIPPED).sha256(), 64, True)


def test_the_graph_of_a_hub_s_weights_computes_though_the_cache_holds_links(hub: Hub, model: facecycle.Model) -> None:
    model.push_to_hub("ann/faces")
    weights = find("hf-hub:ann/faces")
    assert (weights.is_symlink(), graph_of(weights).is_symlink(), weights.name) == (True, True, "model.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64), dtype=np.uint8)
    (shipped, _), (fetched, why) = choose(None, "onnx"), choose("hf-hub:ann/faces")
    assert why.startswith("onnx")
    assert fetched.origin.startswith("hf-hub:ann/faces@")
    assert (shipped.embed(pixels, ["expression"])[0] == fetched.embed(pixels, ["expression"])[0]).all()


def test_a_command_takes_weights_of_a_hub_in_either_runtime(hub: Hub, command: Command, tmp_path: Path) -> None:
    shipped = {"model.safetensors": SHIPPED.read_bytes()}
    write_folder(SHIPPED, tmp_path / "folder")
    hub.add("ann/faces", {**shipped, "model.onnx": (tmp_path / "folder" / "model.onnx").read_bytes()})
    hub.add("ann/no-graph", shipped)
    photograph(tmp_path / "a.png")
    where = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(tmp_path / "cache")}
    for name, runtime in (("ann/faces", "onnx"), ("ann/no-graph", "torch, because there is no graph")):
        out = f"{runtime[:5]}.npy"
        result = command("embed", "a.png", "-o", out, "--checkpoint", f"hf-hub:{name}", env=where)
        assert result.returncode == 0, result.stderr
        assert f"checkpoint: hf-hub:{name}@" in result.stdout
        assert f"runtime: {runtime}" in result.stdout
    assert np.allclose(np.load(tmp_path / "onnx.npy"), np.load(tmp_path / "torch.npy"), atol=1e-4)


def test_a_revision_is_a_branch_that_is_made_and_can_be_named(hub: Hub, model: facecycle.Model) -> None:
    model.push_to_hub("ann/faces")
    model.push_to_hub("ann/faces", revision="second")
    hub.repositories["ann/faces"].commit({}, "main")
    assert find("hf-hub:ann/faces@second").read_bytes() == SHIPPED.read_bytes()
    assert facecycle.Model.from_pretrained("ann/faces", revision="second").size == 64
    with pytest.raises(CheckpointError, match="has no file model"):
        facecycle.Model.from_pretrained("ann/faces")


def test_without_the_hub_the_cache_is_taken(hub: Hub, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client.push(given, "ann/faces")
    cached = find("hf-hub:ann/faces")
    hub.asked.clear()
    assert find("hf-hub:ann/faces") == cached
    assert not [path for _, path, _ in hub.asked if "/resolve/" in path or "/objects/" in path]
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find("hf-hub:ann/faces") == cached
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    speak_to(monkeypatch, "http://127.0.0.1:9")
    assert find("hf-hub:ann/faces@main") == cached
    assert hub.asked == []


# --- what is pushed -----------------------------------------------------------------------------


def test_a_run_is_pushed_without_the_paths_of_its_machine(hub: Hub, run: Path, inside: Command) -> None:
    said = inside("checkpoint", "push", run, "ann/faces")
    assert said.stdout.startswith(f"pushed: {hub.endpoint}/ann/faces/commit/")
    pushed = files_of(hub)
    assert not [name for name, content in pushed.items() if b"/home/ann" in content or b"secret" in content]
    assert b"ask ann" in pushed["README.md"]
    before, after = load_file(run), load_file(find("hf-hub:ann/faces"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert label_of("hf-hub:ann/faces@refs/pr/1") == "faces@refs/pr/1"
    assert list(load_all(["hf-hub:ann/faces", run])) == ["faces", "run"]


def test_a_card_is_replaced_unless_a_person_edited_it(hub: Hub, given: Path, model: facecycle.Model) -> None:
    model.push_to_hub("ann/faces")
    client.push(given, "ann/faces")
    pushed = files_of(hub)
    assert b"ask ann" in pushed["README.md"]
    assert "model.onnx" not in pushed  # that of the weights before
    mine = pushed["README.md"].replace(b"ask ann", b"ask bob")
    hub.repositories["ann/faces"].commit({**pushed, "README.md": mine})
    client.push(given, "ann/faces")
    assert files_of(hub)["README.md"] == mine


def test_a_folder_to_give_away_is_written_and_named(run: Path, tmp_path: Path, inside: Command) -> None:
    facecycle.load(run).save_pretrained(tmp_path / "folder")
    (tmp_path / "folder" / "README.md").write_text("mine")
    again = facecycle.Model.from_pretrained(tmp_path / "folder")
    before = (tmp_path / "folder" / "model.safetensors").read_bytes()
    again.save_pretrained(tmp_path / "folder")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        again.save_pretrained(tmp_path / "file")
    again.save_pretrained(tmp_path / "other")
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert (tmp_path / "folder" / "README.md").read_text() == "mine"
    assert {(tmp_path / name / "model.safetensors").read_bytes() for name in ("folder", "other")} == {before}
    assert "ask ann" in inside("checkpoint", "show", "local-dir:other").stdout


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf-hub:ann/none", "the hub has no hf-hub:ann/none, or it is private"),
        ("hf-hub:ann/gated", "hf-hub:ann/gated is gated: its owners decide"),
        ("hf-hub:ann/theirs@v9", "hf-hub:ann/theirs@v9 has no such revision"),
        ("hf-hub:ann/empty", "hf-hub:ann/empty has no file model.safetensors"),
        ("hf-hub:ann/theirs", "has the format None; this version of facecycle reads 'facecycle/1'"),
        ("hf-hub:ann/text", "is not a safetensors checkpoint"),
        ("hf-hub:ann//theirs", "hf-hub:ann//theirs names nothing on the hub"),
        ("hf-hub:theirs", "Expected hf-hub:OWNER/NAME or hf-hub:OWNER/NAME@REVISION"),
        ("hf-hub:ann/theirs@../../x", "names nothing on the hub"),
        ("hf-hub:ann/theirs.", "names nothing on the hub"),
        ("ann/theirs", "hf-hub:ann/theirs names weights on the Hugging Face hub, local-dir:ann/theirs a folder"),
        ("local-dir:ann/theirs", "there is no checkpoint at ann/theirs"),
    ],
)
@pytest.mark.parametrize("token", [TOKEN, ""])
def test_a_name_that_gives_nothing_is_refused_with_what_to_do(
    hub: Hub, inside: Command, monkeypatch: pytest.MonkeyPatch, name: str, expected: str, token: str
) -> None:
    theirs = save({"weight": torch.ones(2)})
    hub.add("ann/theirs", {"model.safetensors": theirs})
    hub.add("ann/gated", {"model.safetensors": theirs}, gated=True)
    hub.add("ann/text", {"model.safetensors": b"no weights"})
    hub.add("ann/empty", {"README.md": b"", "pytorch_model.bin": b"x"})
    monkeypatch.setenv("HF_TOKEN", token)
    result = inside("checkpoint", "show", name)
    refused(result, expected)
    assert TOKEN not in result.stdout + result.stderr
    assert not Path("runs").exists()


@pytest.mark.parametrize(("status", "expected"), [(500, "the error 500"), (403, "(403)"), (429, "too many requests")])
def test_a_hub_that_answers_with_an_error_is_asked_once(hub: Hub, inside: Command, status: int, expected: str) -> None:
    hub.status = status
    refused(inside("checkpoint", "verify", "hf-hub:ann/faces"), expected)
    assert len([path for _, path, _ in hub.asked if path.startswith("/api/models")]) == 1


def test_without_an_answer_the_hub_is_given_up_at_once(
    hub: Hub, given: Path, inside: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER", 0.2)
    # The library's own retries would end this in the assertion, not in our message.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: pytest.fail("it tries again"))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        for endpoint in ("http://127.0.0.1:9", f"http://127.0.0.1:{silent.getsockname()[1]}"):
            speak_to(monkeypatch, endpoint)
            said = inside("embed", "x.png", "--checkpoint", "hf-hub:ann/faces")
            refused(said, "x.png")  # what lies here is looked at first
            said = inside("checkpoint", "show", "hf-hub:ann/faces")
            refused(said, "the hub does not answer", "local-dir:PATH", "HF_ENDPOINT has to be unset")
            refused(inside("checkpoint", "push", given, "ann/faces"), "the hub does not answer")


def test_a_hub_that_may_not_be_asked_is_said_to_be_so(
    hub: Hub, given: Path, inside: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(inside("checkpoint", "show", "hf-hub:ann/faces"), "HF_HUB_OFFLINE is set: unset it", "local-dir:PATH")
    refused(inside("checkpoint", "push", given, "ann/faces"), "HF_HUB_OFFLINE is set: unset it")


def test_a_full_disk_is_said_to_be_full(
    hub: Hub, given: Path, inside: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.push(given, "ann/faces")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    refused(inside("checkpoint", "show", "hf-hub:ann/faces"), "hf-hub:ann/faces cannot be stored: No space left")


def test_who_may_not_write_is_told_so(hub: Hub, given: Path, inside: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("ann/faces", {})
    for token, name in (("", "ann/new"), ("wrong", "ann/new"), ("wrong", "ann/faces")):
        monkeypatch.setenv("HF_TOKEN", token)
        refused(inside("checkpoint", "push", given, name), "the hub does not allow it", "a token that may write")
    assert hub.repositories.keys() == {"ann/faces"}
    refused(inside("checkpoint", "push", "no/such/run", "ann/faces"), "there is no checkpoint at no/such/run")
    refused(inside("checkpoint", "push", given, "faces"), "Expected hf-hub:OWNER/NAME")


def test_no_graph_is_written_into_a_cache(hub: Hub, given: Path, inside: Command) -> None:
    client.push(given, "ann/faces")
    refused(inside("checkpoint", "export", "hf-hub:ann/faces", "--onnx"), "as in the hub's cache", "Export a copy")
