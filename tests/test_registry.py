"""Names: what they stand for, how clashes and misses are told, and that broken packages stay contained."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
from facecycle_plugins.encoders.timm_names import names
from helpers.sites import API, GOOD, distribution

from facecycle import registry
from facecycle.discovery import scan
from facecycle.errors import AmbiguousName, ConfigError, PluginError

LOSSES = "facecycle.losses"


def test_a_plain_timm_name_belongs_to_the_open_namespace() -> None:
    component = registry.find("encoder", "resnet18")
    assert component.name == "timm:resnet18"
    assert component == registry.find("encoder", "timm:resnet18") == registry.find("encoder", "facecycle/timm:resnet18")
    assert registry.find("encoder", "vgg19.tv_in1k").name == "timm:vgg19.tv_in1k"


def test_the_open_namespace_lists_timms_models_without_importing_it() -> None:
    assert names() == set(timm.list_models())


def test_a_plugin_in_a_package_is_found_and_built(site: Path) -> None:
    distribution(site, "other", {LOSSES: {"mine": "other_mod:Thing"}}, other_mod=GOOD)
    component = registry.find("loss", "mine")
    assert (component.distribution, component.version) == ("other", "1.0")
    assert type(registry.build("loss", "mine")).__name__ == "Thing"


def test_a_name_claimed_twice_is_an_error_that_lists_the_choices(site: Path) -> None:
    distribution(site, "other", {LOSSES: {"l1": "clash_mod:Thing"}}, clash_mod=GOOD)
    with pytest.raises(PluginError, match=r"facecycle/l1|other/l1") as caught:
        registry.find("loss", "l1")
    assert "facecycle/l1" in str(caught.value)
    assert "other/l1" in str(caught.value)
    assert registry.find("loss", "other/l1").distribution == "other"
    assert registry.find("loss", "facecycle/l1").distribution == "facecycle"


@pytest.mark.parametrize("name", ["timm:mine", "a/mine", ".mine", "mine.pt", "mine.py"])
def test_a_name_that_nobody_can_reach_is_no_good_plugin(site: Path, name: str) -> None:
    distribution(site, "other", {LOSSES: {name: "other_mod:Thing"}}, other_mod=GOOD)
    with pytest.raises(PluginError):
        registry.load(registry.find("loss", name))
    (entry,) = [e for e in scan().in_group(LOSSES) if e.distribution == "other"]
    with pytest.raises(PluginError, match=r"of other 1\.0 \(other_mod:Thing\) can be named by nobody"):
        registry.load(registry.Plugin.of_entry("loss", entry))


def test_a_plugin_does_not_take_over_a_name_of_an_open_namespace(site: Path) -> None:
    distribution(site, "other", {"facecycle.encoders": {"resnet18": "other_mod:Thing"}}, other_mod=GOOD)
    with pytest.raises(AmbiguousName) as caught:
        registry.find("encoder", "resnet18")
    assert "facecycle/timm:resnet18" in str(caught.value)
    assert "other/resnet18" in str(caught.value)
    assert registry.find("encoder", "other/resnet18").distribution == "other"
    assert registry.find("encoder", "facecycle/timm:resnet18").model == "resnet18"


def test_a_namespace_belongs_to_the_package_of_its_plugin(site: Path) -> None:
    distribution(
        site, "other", {"facecycle.namespaces": {"encoder.timm": "hider:names"}}, hider="def names(): return []"
    )
    assert registry.find("encoder", "resnet18").name == "timm:resnet18"
    (entry,) = [e for e in scan().in_group("facecycle.namespaces") if e.distribution == "other"]
    with pytest.raises(PluginError, match="belongs to no plugin of that package"):
        registry.namespace(entry)


def test_two_namespaces_that_know_a_name_are_told_apart(site: Path) -> None:
    points = {
        "facecycle.encoders": {"zoo": "zoo_mod:Thing"},
        "facecycle.namespaces": {"encoder.zoo": "zoo_mod:names"},
    }
    distribution(site, "zoo", points, zoo_mod="def names(): return ['resnet18', 'lion']")
    assert registry.find("encoder", "lion").name == "zoo:lion"
    with pytest.raises(PluginError, match="more than one") as caught:
        registry.find("encoder", "resnet18")
    assert "timm:resnet18" in str(caught.value)
    assert "zoo:resnet18" in str(caught.value)


def test_a_miss_suggests_close_names_and_imports_no_plugin() -> None:
    code = (
        "import sys\nfrom facecycle import registry\nfrom facecycle.errors import PluginError\n"
        "try: registry.find('encoder', 'resnt18')\n"
        "except PluginError as error: print(error)\n"
        "print([m for m in ('torch', 'timm', 'facecycle_plugins.encoders.timm') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Did you mean resnet18" in output
    assert output.rstrip().endswith("[]")


@pytest.mark.parametrize("name", ["./mine.py", "/tmp/x", "weights.safetensors"])
def test_a_path_is_no_name(name: str) -> None:
    with pytest.raises(PluginError, match="is a path"):
        registry.find("encoder", name)


BROKEN = {
    "raises": ("raise RuntimeError('no driver')", "RuntimeError: no driver"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "lacks": ("x = 1", "has no attribute 'Thing'"),
    "syntax": ("def (", "SyntaxError"),
    "silent": ("class Thing: pass", "does not say which API"),
    "later": ("class Thing:\n    facecycle_api = (2, 0)", "written for API (2, 0)"),
    "partial": (f"import facecycle.api\nclass Thing:\n{API}", "lacks __call__, needs_target"),
    "optionless": ("class Thing:\n    facecycle_api = (1, 0)", "Options"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_names_itself_and_breaks_nothing_else(site: Path, case: str) -> None:
    source, cause = BROKEN[case]
    distribution(site, "other", {LOSSES: {"mine": f"broken_{case}:Thing"}}, **{f"broken_{case}": source})
    with pytest.raises(PluginError) as caught:
        registry.build("loss", "mine")
    message = str(caught.value)
    assert cause in message
    assert f"other 1.0 (broken_{case}:Thing)" in message
    assert registry.build("loss", "l1") is not None


INCOMPLETE = {
    "attributes": ("class Thing(nn.Module):", "        super().__init__()", "lacks channels, stride"),
    "module": ("class Thing:\n    channels, stride, __call__ = 8, 16, len", "        pass", "torch.nn.Module"),
    "nothing": ("def make(options): return None\nclass Other:", "        pass", "lacks __call__, channels, stride"),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_what_a_plugin_makes_has_what_its_kind_offers(site: Path, case: str) -> None:
    head, body, cause = INCOMPLETE[case]
    call = "    def __call__(self, images): return images\n" if case == "attributes" else ""
    source = f"import facecycle.api\nfrom torch import nn\n{head}\n{API}    def __init__(self, options):\n{body}\n"
    source += call
    if case == "nothing":
        source += "make.facecycle_api, make.Options = (1, 0), facecycle.api.Options\nThing = make\n"
    points = {"facecycle.encoders": {"mine": f"incomplete_{case}:Thing"}}
    distribution(site, "other", points, **{f"incomplete_{case}": source})
    with pytest.raises(PluginError, match=rf"'mine' of other 1\.0 \(incomplete_{case}:Thing\) lacks ") as caught:
        registry.build("encoder", "mine")
    assert cause in str(caught.value)


@pytest.mark.parametrize("said", ["channels = 'many'", "channels = 0", "stride = 16.0"])
def test_an_encoders_map_is_counted_in_whole_numbers(site: Path, said: str) -> None:
    source = f"import facecycle.api\nfrom torch import nn\nclass Thing(nn.Identity):\n{API}    channels = stride = 8\n"
    source += f"    {said}\n    def __init__(self, options): super().__init__()\n"
    module = "miscounts_" + "".join(filter(str.isalnum, said))
    distribution(site, "other", {"facecycle.encoders": {"mine": f"{module}:Thing"}}, **{module: source})
    with pytest.raises(PluginError, match=rf"other 1\.0 .* says that its {said.replace('=', 'is')}, and not a number"):
        registry.build("encoder", "mine")


def test_malformed_metadata_of_another_package_is_noted_and_skipped(site: Path) -> None:
    metadata = site / "unrelated-2.0.dist-info"
    metadata.mkdir()
    (metadata / "entry_points.txt").write_text("this is [not\nan = ini file\n[")
    distribution(site, "other", {LOSSES: {"mine": "fine_mod:Thing", "bad": "!!!"}}, fine_mod=GOOD)
    assert registry.find("loss", "mine").distribution == "other"
    noted = [problem.where for problem in scan().problems]
    assert any("unrelated-2.0" in where for where in noted)
    assert any("other-1.0" in where for where in noted)


def test_the_allow_list_applies_before_anything_is_imported(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(site, "one-thing", {LOSSES: {"one": "one_mod:Thing"}}, one_mod=GOOD)
    distribution(site, "two", {LOSSES: {"two": "two_mod:Thing"}}, two_mod=GOOD)
    monkeypatch.setenv("FACECYCLE_PLUGINS", "")
    assert {e.distribution for e in scan().entries} == {"facecycle"}
    monkeypatch.setenv("FACECYCLE_PLUGINS", "One_Thing")
    assert {e.distribution for e in scan().entries} == {"facecycle", "one-thing"}
    with pytest.raises(PluginError, match="no loss 'two'"):
        registry.find("loss", "two")


def test_an_earlier_folder_shadows_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, folder in enumerate(("late", "early")):
        distribution(tmp_path / folder, "other", {LOSSES: {f"from_{folder}": f"m{number}:T"}})
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    found = [e.name for e in scan().entries if e.distribution == "other"]
    assert found == ["from_early"]


def test_wrong_options_are_explained() -> None:
    with pytest.raises(ConfigError, match="Did you mean max_stride") as caught:
        registry.build("encoder", "resnet18", {"max_strid": 8})
    assert "plugins show timm" in str(caught.value)
    with pytest.raises(ConfigError, match="'pretrained' of the encoder"):
        registry.build("encoder", "resnet18", {"pretrained": "perhaps"})
    with pytest.raises(ConfigError, match="'path' of the dataset 'tracks' is required"):
        registry.build("dataset", "tracks")
    for number in (math.inf, math.nan):  # which a run could not keep in its JSON files
        with pytest.raises(ConfigError, match="option 'margin'"):
            registry.build("loss", "margin", {"margin": number})


def test_only_the_chosen_plugin_is_imported(site: Path) -> None:
    distribution(site, "other", {LOSSES: {"mine": "never_mod:Thing"}}, never_mod="raise RuntimeError")
    code = (
        "import sys\nfrom facecycle import registry\nregistry.build('loss', 'l1')\n"
        "print([m for m in sys.modules if m.startswith(('facecycle_plugins.', 'never', 'timm'))])"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert output.strip() == "['facecycle_plugins.losses', 'facecycle_plugins.losses.differences']"
