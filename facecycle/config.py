"""The configuration of a run: its models, presets, and how flags and files are laid over them.

Defaults < preset < `--config` file < flags < `--set key=value`. Tables merge key by key; the value
`none` (in JSON `null`) removes an entry; a component that gets another name loses the options of the former one.
"""

from __future__ import annotations

import copy
import itertools
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from facecycle.errors import ConfigError, did_you_mean, shown

Layer = tuple[str, dict[str, Any]]
"""Where values come from, as shown in an error, and the values as nested tables."""
DEEPEST = 32
"""How deep the tables and lists of a layer may be nested; a configuration needs 7."""


class _Model(BaseModel):
    # JSON, which a run keeps its configuration in, has no infinity.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Component(_Model):
    """A plugin by name, and its options."""

    name: str
    """Registry name: `resnet18`, `timm:vgg19`, `dist/name`."""
    options: dict[str, Any] = {}
    """Options of that plugin; `facecycle plugins show NAME --kind KIND` lists them."""


class LossConfig(_Model):
    """One loss of a stage, and the views it looks at."""

    name: str
    """Registry name of the loss."""
    weight: float = 1.0
    """Weight of the sum over the views."""
    views: dict[str, float]
    """View name to its weight within this loss."""
    options: dict[str, Any] = {}
    """Options of the loss plugin."""


class OptimizerConfig(_Model):
    """Optimizer and learning rate of a stage."""

    name: Literal["adam", "adamw"] = "adamw"
    """`adamw` decouples the weight decay."""
    lr: float | list[tuple[int, float]] = 2e-4
    """Peak of a one-cycle schedule, or steps by epoch: [[0, 1e-5], [1, 5e-5], [20, 1e-5]]."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the two moments."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay."""

    @field_validator("lr")
    @classmethod
    def _is_a_schedule(cls, lr: float | list[tuple[int, float]]) -> float | list[tuple[int, float]]:
        steps = lr if isinstance(lr, list) else [(0, lr)]
        epochs = [epoch for epoch, _ in steps]
        if not epochs or epochs[0] != 0 or any(a >= b for a, b in itertools.pairwise(epochs)):
            raise ValueError("the epochs of a list must begin with 0 and rise")
        if min(rate for _, rate in steps) < 0:
            raise ValueError("a learning rate must not be negative")
        return lr

    @field_validator("betas")
    @classmethod
    def _decay(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("both must be at least 0 and less than 1")
        return betas


class StageConfig(_Model):
    """One stage of training: which cycle, on which pairs, how long, with which losses."""

    cycle: str
    """The method's cycle that is trained: `expression` or `identity`."""
    pairing: Literal["same-track", "other-track"] = "same-track"
    """The second image: another frame of the track, or a frame of another track."""
    mirror_pair: float = Field(0.5, ge=0, le=1)
    """Probability that a same-track pair is a frame and its mirror image instead."""
    epochs: int | None = Field(None, ge=1)
    """Length in epochs of one pair per track."""
    steps: int | None = Field(None, ge=1)
    """Length in steps; beats `epochs`."""
    pairs: int | None = Field(None, ge=1)
    """The run's `pairs`, for this stage alone."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimizer of this stage."""
    losses: dict[str, LossConfig]
    """Losses of this stage, by a name of your choice."""

    @model_validator(mode="after")
    def _has_a_length(self) -> StageConfig:
        if self.steps is None and self.epochs is None:
            raise ValueError("set steps or epochs")
        return self


class AugmentationConfig(_Model):
    """Random changes, drawn independently for the two images of a pair."""

    crop_scale: tuple[float, float] = (0.95, 1.05)
    """Area of the crop relative to the image; a crop never exceeds the image."""
    crop_ratio: tuple[float, float] = (0.95, 1.05)
    """Width over height of the crop."""
    jitter: tuple[float, float, float, float] = (0.05, 0.05, 0.05, 0.01)
    """Brightness, contrast, saturation (relative) and hue (in turns)."""
    jitter_probability: float = Field(0.8, ge=0, le=1)
    """Probability that an image's colours are jittered."""
    mirror_probability: float = Field(0.5, ge=0, le=1)
    """Probability that an image is mirrored."""

    @field_validator("crop_scale", "crop_ratio")
    @classmethod
    def _is_a_range(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not 0 < bounds[0] <= bounds[1]:
            raise ValueError("must be two positive numbers, the smaller one first")
        return bounds


class RunConfig(_Model):
    """Everything a run depends on; written to the run folder and into every checkpoint."""

    preset: str = "small"
    """The preset this configuration started from; in a `.toml` file, the one to start from."""
    seed: int = Field(0, ge=-(2**62), le=2**62)
    """Seed of initialisation, sampling, augmentation and noise."""
    size: int = Field(64, ge=16, le=4096, multiple_of=16)
    """Side of the training images, in pixels."""
    pairs: int = Field(16, ge=1)
    """Pairs in a batch of all processes together; a batch holds twice as many images."""
    accumulate: int = Field(1, ge=1)
    """Passes that a process computes its pairs of a batch in, one after the other, to need less memory."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` is bfloat16 autocast on a GPU and float32 elsewhere. bfloat16 is approximate, by some percent."""
    compile: Literal["auto"] | bool = "auto"
    """Compile the networks with torch.compile; `auto` does so on a GPU alone: on a CPU a step takes longer."""
    method: Component = Component(name="facecycle")
    """The method that is trained."""
    encoder: Component = Component(name="resnet18")
    """The backbone of the method's code encoders."""
    warper: Component = Component(name="auto")
    """The implementation of flow warp and re-normalization."""
    data: list[Component] = [Component(name="synthetic")]
    """Data sets whose tracks are joined."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """Augmentation of the training images."""
    stages: dict[str, StageConfig] = Field(min_length=1)
    """Stages in the order they run."""
    log_every: int = Field(10, ge=1)
    """Steps between two lines of metrics."""
    sample_every: int = Field(200, ge=1)
    """Steps between two sample grids."""
    checkpoint_every: int = Field(500, ge=1)
    """Steps between two checkpoints; the end of a stage always writes one."""
    keep: int | None = Field(None, ge=1)
    """Newest checkpoints that are kept, ends of stages included; none keeps all."""
    workers: int = Field(0, ge=0)
    """Processes that prepare batches ahead, 0 for a thread of the run's own; the batches do not depend on it."""
    bad_share: float = Field(0.5, ge=0, le=1)
    """Share of the frames read that may be unreadable before the run stops."""
    non_finite_limit: int = Field(10, ge=1)
    """Steps in a row whose loss may be non-finite before the run stops; each is skipped."""

    def of_stage(self, stage: StageConfig) -> RunConfig:
        """Return this configuration with the number of pairs that a stage trains on."""
        return self.model_copy(update={"pairs": stage.pairs or self.pairs})


# --- layers -------------------------------------------------------------------------------------


def preset_names() -> list[str]:
    """Return the names of the presets that come with the package."""
    folder = resources.files("facecycle") / "presets"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def preset_layers(name: str) -> list[Layer]:
    """Return a preset's layers, the one it extends first.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in preset_names():
        raise ConfigError(
            f"there is no preset {name!r}; presets: {', '.join(preset_names())}",
            hint=did_you_mean(name, preset_names()) or None,
        )
    values = tomllib.loads((resources.files("facecycle") / "presets" / f"{name}.toml").read_text())
    base = values.pop("extends", None)
    return [*(preset_layers(base) if base else []), (f"preset {name}", {**values, "preset": name})]


def file_layer(path: Path) -> Layer:
    """Read a `.toml` or `.json` configuration file.

    Raises:
        ConfigError: the file is missing or cannot be parsed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid {path.suffix.removeprefix('.') or 'TOML'}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a table of settings, not a {type(values).__name__}")
    return (str(path), values)


def set_layer(
    assignments: Iterable[str], flag: str = "--set", example: str = "stages.expression.losses.symmetry.weight=0.5"
) -> Layer:
    """Turn the `a.b=value` assignments of a flag into a layer. Values are TOML; what is not TOML is a string.

    Raises:
        ConfigError: an assignment without `=` or with an empty key.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(
                f"{flag} {assignment!r} is not of the form key=value",
                hint=f"Example: {flag} {example}",
            )
        table = values
        for part in parts[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{flag} {assignment!r}: another {flag} gives {part!r} a plain value")
        table[parts[-1]] = _value(text.strip())
    return (flag, values)


def _value(text: str) -> Any:
    if text.lower() in {"none", "null"}:
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # also an integer of thousands of digits, or lists in lists in lists
        return text


def _refuse_unwritable(origin: str, values: dict[str, Any]) -> None:
    """Refuse text that UTF-8 cannot hold, and what is nested so deep that it cannot be merged, shown or written."""
    level: list[Any] = [values]
    for _ in range(DEEPEST):
        inner = [v for holder in level for v in ([*holder, *holder.values()] if isinstance(holder, dict) else holder)]
        for text in inner:
            if isinstance(text, str) and text.encode("utf-8", "replace").decode() != text:
                raise ConfigError(f"{origin}: {shown(text)} holds half a character, which cannot be written")
        level = [value for value in inner if isinstance(value, dict | list)]
        if not level:
            return
    raise ConfigError(f"{origin}: tables and lists may be nested {DEEPEST} deep, and no deeper")


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    renamed = "name" in above and above["name"] != below.get("name")
    if renamed and "options" in merged:
        merged["options"] = {}
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(value, Mapping):
            merged[key] = _merge(old if isinstance(old, dict) else {}, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _without_removed(values: dict[str, Any]) -> dict[str, Any]:
    """Drop the stages, losses and views that a layer set to none."""
    stages = values.get("stages")
    if not isinstance(stages, dict):
        return values
    kept: dict[str, Any] = {}
    for name, stage in stages.items():
        if stage is None:
            continue
        if isinstance(stage, dict) and isinstance(stage.get("losses"), dict):
            losses = {
                label: {**loss, "views": {v: w for v, w in loss["views"].items() if w is not None}}
                if isinstance(loss, dict) and isinstance(loss.get("views"), dict)
                else loss
                for label, loss in stage["losses"].items()
                if loss is not None
            }
            stage = {**stage, "losses": losses}
        kept[name] = stage
    return {**values, "stages": kept}


def resolve(layers: Iterable[Layer]) -> RunConfig:
    """Lay the layers over each other and validate the result.

    Raises:
        ConfigError: all wrong keys and values at once, each with where it came from.
    """
    layers = list(layers)
    values: dict[str, Any] = {}
    for origin, layer in layers:
        _refuse_unwritable(origin, layer)
        values = _merge(values, layer)
    try:
        return RunConfig.model_validate(_without_removed(values))
    except ValidationError as error:
        lines = [_explain(e, layers) for e in error.errors()]
        raise ConfigError("\n".join(lines), hint="`docs/configuration.md` lists every key.") from error


def _explain(error: Any, layers: list[Layer]) -> str:
    # Pydantic adds the chosen branch of a union to a location; a key of ours is never called so.
    location = [str(p) for p in error["loc"] if p not in {"float", "list[tuple[int,float]]"}]
    key = ".".join(location)
    origin = next((name for name, layer in reversed(layers) if _holds(layer, location)), "the defaults")
    if error["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        suggestion = did_you_mean(location[-1], known) or f"Known keys: {', '.join(known)}."
        return f"{key}: unknown key (from {origin}). {suggestion}"
    return f"{key} = {shown(error['input'])}: {error['msg']} (from {origin})"


def _holds(layer: Any, location: list[str]) -> bool:
    for part in location:
        if not isinstance(layer, dict) or part not in layer:
            return False
        layer = layer[part]
    return True


def _keys_at(location: list[str]) -> list[str]:
    """Return the keys that the configuration knows at a location."""
    annotation: Any = RunConfig
    for part in location:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(part)
            annotation = field.annotation if field else None
        else:
            # A dict's or list's element type stands last among its arguments.
            arguments = [a for a in typing.get_args(annotation) if a is not types.NoneType]
            annotation = arguments[-1] if arguments else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return list(annotation.model_fields)
    return []
