"""Configuration: TOML and JSON files, `--set`, crops, and the config.json of a run folder."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from fuzz.damage import DEPTHS, HUGE, ODD_TEXT, damaged, damaged_json, damaged_text, nested
from fuzz.harness import Target
from hypothesis import strategies as st

from facecycle.config.layers import file_layer, preset_layers, resolve, set_layer
from facecycle.config.settings import RunConfig
from facecycle.data.images import parse_crop
from facecycle.errors import ConfigError, did_you_mean
from facecycle.pretraining.run_folder import CONFIG, RunFolder

TOML = """\
preset = "small"
seed = 3
pairs = 4
[encoder]
name = "resnet18"
options = { pretrained = false }
[stages.direct]
cycle = "expression"
steps = 5
optimizer = { lr = [[0, 1e-3], [2, 1e-4]], betas = [0.9, 0.99] }
[stages.direct.losses.photometric]
name = "l1"
views = { direct = 1.0 }
"""
TOML_VALUES = st.sampled_from(
    [
        *("nan", "inf", "-0", "1e999", HUGE, "0x" + "f" * 6000, "1979-05-27T07:32:00Z", "07:32:00", '"""a\nb"""'),
        *('"\\ud800"', "'''x", "[[", "{", "{}", "[]", "[1, 'a']", "none", "true", '"\\u0000"', "[" * 500 + "]" * 500),
        *("[" * 100_000, "{a=" * 300 + "1" + "}" * 300, "{a.b.c = 1}", "0o7", "1_000", "_", "."),
    ]
)
KEYS = (
    "pairs",
    "seed",
    "size",
    "encoder",
    "encoder.name",
    "encoder.options.a",
    "stages",
    "stages.direct",
    "data",
    "stages.direct.losses",
    "stages.direct.losses.photometric.views.direct",
    "stages.direct.optimizer.lr",
    "augmentation.jitter",
    "a.b",
    "__class__",
    "stages.a.b.c.d",
    ".".join("a" * 600),
    ".".join("a" * 30_000),
)


@cache
def _complete() -> Any:
    return json.loads(resolve(preset_layers("small")).model_dump_json())


def _use(config: RunConfig) -> None:
    """Do what a run does with its configuration: write it, and read it back."""
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def _file(suffix: str, content: bytes, folder: Path) -> None:
    path = folder / f"run{suffix}"
    path.write_bytes(content)
    layer = file_layer(path)
    for below in ([], preset_layers("small")):
        try:
            _use(resolve([*below, layer]))
        except ConfigError:
            continue
    _use(resolve([*preset_layers("demo"), layer]))


@st.composite
def _toml(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        return draw(damaged_text(TOML))
    lines = TOML.splitlines()
    at = draw(st.sampled_from([n for n, line in enumerate(lines) if "=" in line]))
    lines[at] = f"{lines[at].partition('=')[0]} = {draw(TOML_VALUES | ODD_TEXT)}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _assign(assignments: list[str], folder: Path) -> None:
    _use(resolve([*preset_layers("small"), set_layer(assignments)]))


def _run_folder(content: bytes, folder: Path) -> None:
    (folder / CONFIG).write_bytes(content)
    _use(RunFolder(folder).config())


def _names(text: str, folder: Path) -> None:
    """Read what is typed as a crop, a preset or an unknown key."""
    did_you_mean(text, ["pairs", "seed"])
    for read in (parse_crop, preset_layers):
        try:
            read(text)
        except ConfigError:
            continue
    raise ConfigError("read")


_SOUND = json.dumps(_complete()).encode()
TARGETS = [
    Target("configs/toml", _toml(), lambda v, f: _file(".toml", v, f), TOML.encode(), share=2),
    Target("configs/json", damaged_json(_complete()), lambda v, f: _file(".json", v, f), _SOUND, share=2),
    Target("configs/run-folder", damaged_json(_complete()) | damaged(_SOUND), _run_folder, _SOUND, share=1),
    Target(
        "configs/set",
        st.lists(
            st.builds(
                lambda k, v: f"{k}={v}",
                st.sampled_from(KEYS) | ODD_TEXT,
                TOML_VALUES | ODD_TEXT | DEPTHS.map(lambda depth: nested(depth, "list")),
            )
            | ODD_TEXT,
            min_size=1,
            max_size=3,
        ),
        _assign,
        ["pairs=3"],
        share=2,
    ),
]
