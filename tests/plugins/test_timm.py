"""timm's backbones: maps the right way round, the input that weights expect, and weights from a file."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from facecycle_plugins.encoders.resnet import LAYOUTS, STRIDES, ResNet
from facecycle_plugins.encoders.timm import OwnInput, TimmOptions, create
from facecycle_plugins.losses.perceptual import _Maps
from helpers.hub import a_hub, speak_to
from helpers.training import tiny
from huggingface_hub import constants
from safetensors.torch import save, save_file
from torch import nn

from facecycle.checkpoints import model_file
from facecycle.checkpoints.export import export
from facecycle.data.images import from_uint8
from facecycle.errors import CheckpointError, ConfigError, UnfitEncoder
from facecycle.networks import build_method, laid_out, load
from facecycle.probing.features import encoder_features
from facecycle.registry import build

PIXELS = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

CONV = frozenset({"conv"})


def halves(pixels: torch.Tensor) -> torch.Tensor:
    """Return images in the normalisation of mean 0.5 and deviation 0.5."""
    return pixels.float().div(255).sub(0.5).div(0.5)


def classifier(name: str, classes: int = 1000) -> nn.Module:
    torch.manual_seed(1)
    return timm.create_model(name, num_classes=classes).eval()


# --- maps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["mambaout_femto", "swin_tiny_patch4_window7_224"])
def test_maps_that_keep_channels_last_are_turned(model: str) -> None:
    # At this size the map of mambaout_femto is as high as it has channels: its shape gives nothing away.
    encoder = build("encoder", f"timm:{model}", {"max_stride": 4, "img_size": 192}).eval()
    images = torch.randn(1, 3, 192, 192)
    with torch.no_grad():
        found, raw = encoder(images), encoder.body(images)[-1]
    assert found.shape == (1, encoder.channels, 48, 48)
    assert torch.equal(found, raw.permute(0, 3, 1, 2))
    if model == "mambaout_femto":
        assert raw.shape == found.shape


def test_the_perceptual_loss_turns_them_too() -> None:
    body = timm.create_model("test_mambaout", features_only=True, out_indices=(0, 1, 2)).eval()
    with torch.no_grad():
        maps = _Maps(body)(torch.randn(1, 3, 64, 64))
    assert [found.shape[1] for found in maps] == body.feature_info.channels()


# --- the input ------------------------------------------------------------------------------------


def test_images_are_turned_into_what_weights_expect() -> None:
    assert torch.allclose(OwnInput((0.5,) * 3, (0.5,) * 3)(from_uint8(PIXELS)), halves(PIXELS), atol=1e-6)
    assert torch.equal(OwnInput()(from_uint8(PIXELS)), from_uint8(PIXELS))


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_pretrained_weights_read_what_they_were_trained_on(tmp_path: Path, model: str) -> None:
    whole = classifier(model)
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    options = {"weights": str(tmp_path / "w.safetensors"), "img_size": 160}
    encoder = build("encoder", f"timm:{model}", options).eval()
    assert encoder.reads == "mean (0.5, 0.5, 0.5), deviation (0.5, 0.5, 0.5)"
    pixels = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8)
    with torch.no_grad():
        expected = whole.forward_intermediates(halves(pixels), norm=False, intermediates_only=True)
        expected = [found for found in expected if found.shape[-1] == 10][-1]
        assert torch.allclose(encoder(from_uint8(pixels)), expected, atol=1e-4)
    assert not build("encoder", f"timm:{model}").reads


def test_a_checkpoint_knows_what_its_first_weights_expected(tmp_path: Path) -> None:
    weights = tmp_path / "secret-place" / "w.safetensors"
    weights.parent.mkdir()
    save_file(classifier("test_resnet").state_dict(), weights)
    config = tiny("encoder.name='timm:test_resnet'", f"encoder.options.weights='{weights}'")
    header = {"config": config.model_dump_json(), "trained": '["expression"]'}
    method = build_method(config).eval()
    model_file.save_model(tmp_path / "m.safetensors", method, header)
    weights.unlink()  # first weights are not looked for where a checkpoint's follow
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = method.features(images, CONV)["conv"]
    export(tmp_path / "m.safetensors", tmp_path / "e.safetensors", half=False, licence=None)
    for name in ("m", "e"):
        loaded = load(tmp_path / f"{name}.safetensors")
        assert loaded.method.expression.encoder.input.gain.flatten().tolist() != [1, 1, 1]
        assert torch.allclose(loaded.method.features(images, CONV)["conv"], expected, atol=1e-6)
    assert b"secret-place" not in (tmp_path / "e.safetensors").read_bytes()
    assert loaded.checkpoint.config.encoder.options["weights"] == "w.safetensors"


def test_a_checkpoint_of_0_2_0_feeds_its_encoder_as_before(tmp_path: Path) -> None:
    config = tiny()
    method = build_method(config).eval()
    tensors = {name: tensor for name, tensor in method.state_dict().items() if ".input." not in name}
    assert len(tensors) == len(method.state_dict()) - 4
    header = {"format": "facecycle/1", "config": config.model_dump_json(), "trained": json.dumps(["expression"])}
    save_file(tensors, tmp_path / "m.safetensors", header)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = method.features(images, CONV)["conv"]
    assert torch.allclose(load(tmp_path / "m.safetensors").method.features(images, CONV)["conv"], expected, atol=1e-6)


def test_a_probe_says_what_a_pretrained_encoder_is_fed(tmp_path: Path) -> None:
    save_file(classifier("test_resnet").state_dict(), tmp_path / "w.safetensors")
    own, twin = encoder_features("timm:test_resnet", False, 64, tmp_path / "w.safetensors")
    assert (own.label, twin.label) == ("timm:test_resnet, w.safetensors", "timm:test_resnet, random twin")
    assert (own.fed, twin.fed) == ("mean (0.5, 0.5, 0.5), deviation (0.5, 0.5, 0.5)", "")


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [1000, 7, 0])
@pytest.mark.parametrize("form", ["safetensors", "pth", "nested.pth", "half.safetensors"])
def test_weights_of_the_whole_model_load_into_the_backbone(tmp_path: Path, classes: int, form: str) -> None:
    whole = classifier("test_vit", classes)
    state: dict[str, Any] = dict(whole.state_dict())
    path = tmp_path / f"w.{form}"
    if form == "half.safetensors":
        state = {name: tensor.half() for name, tensor in state.items()}
    if form.endswith("safetensors"):
        save_file(state, path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}} if "nested" in form else state, path)
    encoder = build("encoder", "timm:test_vit", {"weights": str(path), "img_size": 160})
    own = encoder.body.state_dict()
    wanted = whole.state_dict()
    names = [name.removeprefix("model.") for name in own]
    assert len(names) > 20
    assert set(names) <= set(wanted)
    for name, tensor in zip(names, own.values(), strict=True):
        assert torch.allclose(tensor, wanted[name], atol=0 if "half" not in form else 1e-3), name


def test_positions_are_interpolated_to_the_run_s_size(tmp_path: Path) -> None:
    save_file(classifier("test_vit").state_dict(), tmp_path / "w.safetensors")
    encoder = build("encoder", "timm:test_vit", {"weights": str(tmp_path / "w.safetensors"), "img_size": 64})
    assert encoder.body.model.pos_embed.shape[1] == 4 * 4 + 1


def _of_another_model(path: Path) -> None:
    save_file(classifier("test_resnet").state_dict(), path)


def _not_finite(path: Path) -> None:
    state = classifier("test_vit").state_dict()
    state["norm.bias"][0] = float("inf")
    save_file(state, path)


def _cut_short(path: Path) -> None:
    save_file(classifier("test_vit").state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])


def _missing_a_block(path: Path) -> None:
    state = classifier("test_vit").state_dict()
    save_file({name: tensor for name, tensor in state.items() if not name.startswith("blocks.5")}, path)


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


BAD_FILES: dict[str, tuple[str, Any, str]] = {
    "another model": ("w.safetensors", _of_another_model, r"does not hold the weights of timm's 'test_vit'.*cls_token"),
    "a part": ("w.safetensors", _missing_a_block, r"Missing key.*blocks\.5\.norm1\.weight"),
    "not finite": ("w.safetensors", _not_finite, r"not finite: norm\.bias"),
    "cut short": ("w.safetensors", _cut_short, "damaged, cut short"),
    "no tensors": ("w.pth", lambda path: torch.save({"epoch": 3}, path), "does not hold tensors by name"),
    "a pickle that runs": ("w.pth", lambda path: path.write_bytes(pickle.dumps(_Runs())), "refused|damaged"),
    "a module": ("w.pth", lambda path: torch.save(nn.Linear(2, 2), path), "refused: it holds something other"),
    "text": ("w.bin", lambda path: path.write_text("weights"), "refused|damaged"),
    "nothing": ("w.safetensors", lambda path: None, "there is no file"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_file_that_is_no_such_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.chdir(tmp_path)
    name, write, message = BAD_FILES[fault]
    write(tmp_path / name)
    with pytest.raises(CheckpointError, match=message) as caught:
        build("encoder", "timm:test_vit", {"weights": str(tmp_path / name)})
    assert name in caught.value.message
    assert not (tmp_path / "ran").exists()


def test_weights_of_a_hub_are_cached_and_without_an_answer_it_is_given_up_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: pytest.fail("it tries again"))
    pretrained = {"model": "test_resnet", "pretrained": True}
    theirs = timm.create_model("test_resnet").state_dict()
    with a_hub() as hub:
        hub.add("timm/test_resnet.r160_in1k", {"model.safetensors": save(theirs)})
        speak_to(monkeypatch, hub.endpoint)
        build("encoder", "timm", pretrained)
        speak_to(monkeypatch, "http://127.0.0.1:9")
        loaded = build("encoder", "timm", pretrained).body.state_dict()
    assert "conv1.0.weight" in loaded
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in loaded.items())
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=r"weights of timm's 'test_resnet' cannot be loaded: the hub does not answer"):
        build("encoder", "timm", pretrained)
    with pytest.raises(ConfigError, match=r"network 'test_resnet' cannot be built: the hub does not answer"):
        build("loss", "perceptual", {"network": "test_resnet"})


def test_one_source_of_weights_is_named() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        build("encoder", "timm:test_vit", {"weights": "w.safetensors", "pretrained": True})


# --- sizes ----------------------------------------------------------------------------------------


def test_an_encoder_that_does_not_fit_names_a_size_that_it_reads() -> None:
    config = laid_out(tiny("encoder.name='timm:halonet26t'", "size=64"))
    with pytest.raises(UnfitEncoder, match=r"timm:halonet26t: .* 64 x 64 pixels: AssertionError") as caught:
        build_method(config)
    assert caught.value.hint == "It reads images of 128 pixels: --set size=128."
    build_method(laid_out(tiny("encoder.name='timm:halonet26t'", "size=128")), weights_follow=True, device="meta")


@pytest.mark.parametrize("model", ["mixer_s16_224", "coat_lite_tiny", "test_vit"])
def test_a_layout_follows_the_size_of_a_new_run(model: str) -> None:
    config = laid_out(tiny(f"encoder.name='timm:{model}'", "size=96"))
    assert config.encoder.options == {"img_size": 96}
    build_method(config, weights_follow=True, device="meta")
    # What is written down stays, and an encoder without a layout has nothing to write.
    assert laid_out(tiny(f"encoder.name='timm:{model}'", "encoder.options.img_size=64", "size=96")) != config
    assert laid_out(tiny("encoder.name='hog'")).encoder.options == {}


# --- the ResNets that are built without timm -------------------------------------------------------


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@pytest.mark.parametrize("max_stride", [2, 8, 16, 32])
def test_a_resnet_of_ours_is_the_one_of_timm(name: str, max_stride: int) -> None:
    torch.manual_seed(3)
    ours = ResNet(name, max_stride)
    after = torch.rand(1)
    torch.manual_seed(3)
    theirs = create(TimmOptions(model=name), out_indices=[STRIDES.index(max_stride)])
    assert torch.equal(after, torch.rand(1))  # what is drawn next is the same too
    weights, expected = ours.state_dict(), theirs.state_dict()
    assert list(weights) == list(expected)
    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    images = torch.randn(2, 3, 72, 56)  # maps of odd sides
    for network in (ours, theirs):
        network.train()
    assert torch.equal(ours(images)[0], theirs(images)[0])
    assert ours.channels == theirs.feature_info.channels()[0]
    assert ours.stride == max_stride


def test_the_shipped_networks_are_built_without_timm() -> None:
    code = "import sys, facecycle; facecycle.load(); print(*sorted({'timm', 'torchvision'} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == ""
