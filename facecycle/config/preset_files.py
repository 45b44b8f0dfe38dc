"""Presets by name: `.toml` files that packages register, ours and others', as they register plugins."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

from facecycle.api import PRESET_GROUP
from facecycle.discovery import Found, canonical, scan
from facecycle.errors import AmbiguousName, ConfigError, PluginError, did_you_mean


def preset_names() -> list[str]:
    """Return the names of all presets that installed packages register."""
    return sorted({entry.name for entry in scan().in_group(PRESET_GROUP)})


def find_preset(name: str) -> dict[str, Any]:
    """Return the settings of a preset, `name` or `dist/name`.

    Raises:
        ConfigError: there is no such preset.
        AmbiguousName: more than one package has one.
        PluginError: its file cannot be found or read.
    """
    distribution, slash, local = name.rpartition("/")
    claims = [
        entry
        for entry in scan().in_group(PRESET_GROUP)
        if entry.name == local and (not slash or entry.distribution == canonical(distribution))
    ]
    if not claims:
        raise ConfigError(
            f"there is no preset {name!r}; presets: {', '.join(preset_names())}",
            hint=did_you_mean(name, preset_names()) or None,
        )
    if len(claims) > 1:
        raise AmbiguousName(
            f"more than one package has a preset {name!r}",
            hint=f"Say which: {' or '.join(f'{entry.distribution}/{entry.name}' for entry in claims)}.",
        )
    return _read(claims[0])


def _read(entry: Found) -> dict[str, Any]:
    """Read the file that an entry names, `package:file.toml`; the package is found, and only those above it are run."""
    package, _, file = entry.entry_point.partition(":")
    try:
        spec = importlib.util.find_spec(package)
        folders = list(spec.submodule_search_locations or []) if spec else []
        if not folders:
            raise FileNotFoundError(f"there is no package {package}")
        return tomllib.loads((Path(folders[0]) / file).read_text(encoding="utf-8"))
    except (Exception, SystemExit) as error:  # a package may fail in any way at all
        raise PluginError(
            f"the preset {entry.name!r} of {entry.distribution} {entry.version} ({entry.entry_point}) cannot be read: "
            f"{type(error).__name__}: {error}",
            hint="An entry names a package and a .toml file in it: mine = package.presets:mine.toml.",
        ) from error
