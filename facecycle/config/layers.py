"""How a configuration comes about: presets, files and flags, laid over each other.

Defaults < preset < `--config` file < flags < `--set key=value`. Tables merge key by key; the value
`none` (in JSON `null`) removes an entry; a component that gets another name loses the options of the former one, and a
stage that gets `epochs` the `steps` of before, which would beat them.
"""

from __future__ import annotations

import copy
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from facecycle.config.preset_files import find_preset
from facecycle.config.settings import RunConfig
from facecycle.errors import ConfigError, did_you_mean, shown

Layer = tuple[str, dict[str, Any]]
"""Where values come from, as shown in an error, and the values as nested tables."""
DEEPEST = 32
"""How deep the tables and lists of a layer may be nested; a configuration needs 7."""


def preset_layers(name: str, extended_by: tuple[str, ...] = ()) -> list[Layer]:
    """Return a preset's layers, the one it extends first.

    Raises:
        ConfigError, AmbiguousName, PluginError: as `find_preset` does; or what a preset extends is no name, or itself.
    """
    values = find_preset(name)
    base = values.pop("extends", None)
    if base is not None and (not isinstance(base, str) or base in (*extended_by, name)):
        raise ConfigError(
            f"the preset {name!r} has extends = {shown(base)}",
            hint="It needs the name of another preset, and one that does not extend it in turn.",
        )
    below = preset_layers(base, (*extended_by, name)) if base is not None else []
    return [*below, (f"preset {name}", {**values, "preset": name})]


def method_of(layers: Iterable[Layer]) -> str | None:
    """Return the method that layers choose, by name; None where none of them does."""
    chosen = [values["method"].get("name") for _, values in layers if isinstance(values.get("method"), dict)]
    return next((name for name in reversed(chosen) if isinstance(name, str)), None)


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
    if "options" in merged and above.get("name", below.get("name")) != below.get("name"):
        merged["options"] = {}
    for key, value in above.items():
        old = merged.get(key)
        merge = isinstance(value, Mapping)
        merged[key] = _merge(old if isinstance(old, dict) else {}, value) if merge else copy.deepcopy(value)
    return merged


def _without_former_lengths(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the steps of stages that another layer gives epochs, and no steps."""
    stages, new = below.get("stages"), above.get("stages")
    if not (isinstance(stages, dict) and isinstance(new, Mapping)):
        return below
    given = {name for name, stage in new.items() if isinstance(stage, Mapping) and "steps" not in stage}
    longer = {name for name in given if new[name].get("epochs") is not None and isinstance(stages.get(name), dict)}
    return below | {"stages": stages | {name: stages[name] | {"steps": None} for name in longer}}


def _without_removed(table: dict[str, Any]) -> dict[str, Any]:
    """Drop the stages, losses and views that a layer set to none."""
    kept = {}
    for key, value in table.items():
        if isinstance(value, dict) and key != "options":
            removable = key in {"stages", "losses", "views"}
            value = _without_removed({k: v for k, v in value.items() if not (removable and v is None)})
        kept[key] = value
    return kept


def resolve(layers: Iterable[Layer]) -> RunConfig:
    """Lay the layers over each other and validate the result.

    Raises:
        ConfigError: all wrong keys and values at once, each with where it came from; or keys that fit no stage.
    """
    layers = list(layers)
    values: dict[str, Any] = {}
    for origin, layer in layers:
        _refuse_unwritable(origin, layer)
        values = _merge(_without_former_lengths(values, layer), layer)
    try:
        config = RunConfig.model_validate(_without_removed(values))
    except ValidationError as error:
        lines = [_explain(e, layers) for e in error.errors()]
        raise ConfigError("\n".join(lines), hint="`docs/configuration.md` lists every key.") from error
    _ = config.trained_stages  # refuses keys that fit no stage
    return config


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
