"""A name to a plugin to an object. Nothing is imported but the plugin that was chosen.

Names: `name`, `dist/name`, `plugin:rest` for an open namespace such as `timm:resnet18`, and a plain
`resnet18` where one open namespace knows it and no plugin has that name. A name that several claim is an error.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from pydantic import BaseModel, ValidationError

from facecycle.api import API_VERSION, GROUPS, NAMESPACE_GROUP, Dataset, Detector, Encoder, Kind, Loss, Method, Warper
from facecycle.discovery import Found, canonical, scan
from facecycle.errors import AmbiguousName, ConfigError, FacecycleError, PluginError, did_you_mean, shown

PROTOCOLS: dict[Kind, type] = {
    "encoder": Encoder,
    "warper": Warper,
    "loss": Loss,
    "dataset": Dataset,
    "method": Method,
    "detector": Detector,
}

NETWORKS: tuple[Kind, ...] = ("encoder", "method")
"""Kinds whose plugins are torch modules."""
COUNTS = ("channels", "stride")
"""What an encoder says of its feature map."""
PATH_STARTS, PATH_ENDS = (".", "/"), (".py", ".safetensors", ".pt", ".pth")
"""What a name begins or ends with that is meant as a path."""
OFFERED = "See docs/plugins.md for what a plugin offers."


@dataclass(frozen=True)
class Plugin:
    """A plugin that a name stands for; `model` is what follows the colon of an open namespace."""

    kind: Kind
    entry: str
    model: str | None
    distribution: str
    version: str
    entry_point: str

    @classmethod
    def of_entry(cls, kind: Kind, entry: Found, model: str | None = None) -> Plugin:
        """Return the plugin that an entry point registers."""
        return cls(kind, entry.name, model, entry.distribution, entry.version, entry.entry_point)

    @property
    def name(self) -> str:
        """The name without abbreviation: `timm:resnet18`."""
        return self.entry if self.model is None else f"{self.entry}:{self.model}"

    @property
    def origin(self) -> str:
        """Where it comes from, for messages: distribution, version and entry point."""
        return f"{self.distribution} {self.version} ({self.entry_point})".replace("  ", " ")


def find(kind: Kind, name: str) -> Plugin:
    """Find the plugin a name stands for. No plugin is imported.

    Raises:
        PluginError: nobody claims the name.
        AmbiguousName: more than one plugin does.
    """
    if name.startswith(PATH_STARTS) or name.endswith(PATH_ENDS):
        raise PluginError(
            f"{name!r} is a path, not the name of a {kind}",
            hint="Name a registered plugin; `facecycle plugins list` shows them. "
            "Weights are given with --from or --checkpoint.",
        )
    distribution, slash, local = name.rpartition("/")
    plugin, colon, model = (local if slash else name).partition(":")
    claims = {
        f"{e.distribution}/{e.name}{colon}{model}": Plugin.of_entry(kind, e, model if colon else None)
        for e in scan().in_group(GROUPS[kind])
        if e.name == plugin and (not slash or e.distribution == canonical(distribution))
    }
    if not colon and not slash:
        claims |= {
            f"{owner.distribution}/{owner.name}:{name}": Plugin.of_entry(kind, owner, name)
            for owner, names in _namespaces(kind)
            if name.split(".")[0] in names
        }
    if len(claims) > 1:
        raise AmbiguousName(
            f"more than one plugin answers to the {kind} {name!r}", hint=f"Say which: {' or '.join(claims)}."
        )
    if claims:
        return next(iter(claims.values()))
    known = [entry.name for entry in scan().in_group(GROUPS[kind])]
    known += [each for _, names in _namespaces(kind) for each in sorted(names)]
    raise PluginError(
        f"there is no {kind} {name!r}",
        hint=did_you_mean(name, known) or f"`facecycle plugins list` shows every {kind}.",
    )


def namespace(entry: Found) -> tuple[Found, frozenset[str]]:
    """Return the plugin whose open namespace an entry is, and the names that it answers to.

    Raises:
        PluginError: the package has no such plugin, or does not list its names, and why.
    """
    what = f"the namespace {entry.name!r} of {entry.distribution} {entry.version} ({entry.entry_point})"
    kind, _, plugin = entry.name.partition(".")
    same_kind = [e for each, group in GROUPS.items() if each == kind for e in scan().in_group(group)]
    owner = next((e for e in same_kind if (e.name, e.distribution) == (plugin, entry.distribution)), None)
    if owner is None:
        raise PluginError(f"{what} belongs to no plugin of that package", hint="Its name is KIND.PLUGIN: encoder.timm.")
    try:
        return owner, frozenset(_import(entry.entry_point)())
    except (Exception, SystemExit) as error:  # a plugin may fail in any way at all
        raise PluginError(f"{what} does not list its names: {type(error).__name__}: {error}") from error


def _namespaces(kind: Kind) -> Iterator[tuple[Found, frozenset[str]]]:
    """Yield the plugins of a kind that answer to many names, and these; a broken one answers to none."""
    for entry in scan().in_group(NAMESPACE_GROUP):
        if entry.name.startswith(f"{kind}."):
            with contextlib.suppress(PluginError):
                yield namespace(entry)


def _import(entry_point: str) -> Any:
    module, _, attributes = entry_point.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        found = getattr(found, attribute)
    return found


def load(plugin: Plugin) -> Any:
    """Import a plugin's class and check what it offers.

    Raises:
        PluginError: names the distribution, its version, the entry point and the cause.
    """
    what = f"the {plugin.kind} {plugin.entry!r} of {plugin.origin}"
    if {":", "/"} & set(plugin.entry) or plugin.entry.startswith(PATH_STARTS) or plugin.entry.endswith(PATH_ENDS):
        raise PluginError(
            f"{what} can be named by nobody: a name holds no colon or slash, and does not look like a path",
            hint=f"{plugin.distribution} has to register it under another name.",
        )
    try:
        loaded = _import(plugin.entry_point)
    except (Exception, SystemExit) as error:  # a plugin may fail in any way at all
        raise PluginError(f"{what} cannot be imported: {type(error).__name__}: {error}") from error
    version = getattr(loaded, "facecycle_api", None)
    if not isinstance(version, tuple) or not version:
        hint = f"It needs an attribute facecycle_api = {API_VERSION}."
        raise PluginError(f"{what} does not say which API it was written for", hint=hint)
    if version[0] != API_VERSION[0]:
        hint = f"Install a version of {plugin.distribution} for this facecycle."
        raise PluginError(f"{what} was written for API {version}; this is {API_VERSION}", hint=hint)
    options = getattr(loaded, "Options", None)
    missing = [name for name in _required(plugin.kind) if isinstance(loaded, type) and not _offers(loaded, name)]
    if not (isinstance(options, type) and issubclass(options, BaseModel)):
        missing.append("Options (a pydantic model)")
    if missing:
        raise PluginError(f"{what} lacks {', '.join(missing)}", hint=OFFERED)
    return loaded


def _required(kind: Kind) -> list[str]:
    """Return the members of a kind's protocol that a class shows before it is instantiated."""
    protocol = PROTOCOLS[kind]
    methods = [name for name, value in vars(protocol).items() if inspect.isfunction(value)]
    # What shape an encoder gives depends on its options, so its instances alone have these attributes.
    attributes = [] if kind == "encoder" else list(protocol.__annotations__)
    return [name for name in (*methods, *attributes) if name == "__call__" or not name.startswith("_")]


def _offers(plugin: type, name: str) -> bool:
    """Tell whether the instances of a class have an attribute, as far as the class shows."""
    if name == "__call__" and plugin.__new__ is object.__new__:
        # Every class has one itself, to be instantiated: what its instances have stands in its bases.
        return any(name in vars(base) for base in plugin.__mro__)
    return hasattr(plugin, name)


def build(kind: Kind, name: str, options: Mapping[str, Any] | None = None) -> Any:
    """Find, load and instantiate a plugin.

    Raises:
        PluginError: it cannot be found or loaded, or what it makes lacks something.
        ConfigError: an option is unknown or has a wrong value.
    """
    plugin, loaded, validated = configure(kind, name, options)
    with failures_named(plugin, "created"):
        built = loaded(validated)
    # An encoder's attributes depend on its options, and a factory shows nothing before it has made something.
    missing = [member for member in (*_required(kind), *PROTOCOLS[kind].__annotations__) if not hasattr(built, member)]
    if kind in NETWORKS and not hasattr(built, "state_dict"):
        missing.append("what a torch.nn.Module has")
    what = f"the {kind} {plugin.name!r} of {plugin.origin}"
    if missing:
        raise PluginError(f"{what} lacks {', '.join(dict.fromkeys(missing))}", hint=OFFERED)
    for said in COUNTS if kind == "encoder" else ():
        if not isinstance(count := getattr(built, said), Integral) or count < 1:
            raise PluginError(f"{what} says that its {said} is {shown(count)}, and not a number above 0", hint=OFFERED)
    return built


@contextlib.contextmanager
def failures_named(plugin: Plugin, done: str) -> Iterator[None]:
    """Name the plugin where its code fails while it is `done`, such as "created".

    Our own failures keep their traceback.

    Raises:
        PluginError: names the distribution, its version, the entry point and the cause.
    """
    try:
        yield
    except FacecycleError:
        raise
    except Exception as error:
        if plugin.distribution == "facecycle":
            raise
        raise PluginError(
            f"the {plugin.kind} {plugin.name!r} of {plugin.origin} cannot be {done}: {type(error).__name__}: {error}"
        ) from error


def configure(kind: Kind, name: str, options: Mapping[str, Any] | None = None) -> tuple[Plugin, Any, BaseModel]:
    """Find and load a plugin, and validate its options; nothing is instantiated.

    Raises:
        PluginError, ConfigError: as `build` does.
    """
    plugin = find(kind, name)
    loaded = load(plugin)
    values = dict(options or {})
    if plugin.model is not None:
        values["model"] = plugin.model
    try:
        return plugin, loaded, loaded.Options.model_validate(values)
    except ValidationError as error:
        known = list(loaded.Options.model_fields)
        hint = f"`facecycle plugins show {plugin.entry} --kind {kind}` lists its options."
        raise ConfigError("\n".join(_explain(plugin, e, known) for e in error.errors()), hint=hint) from error


def _explain(plugin: Plugin, error: Any, known: list[str]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    where = f"option {key!r} of the {plugin.kind} {plugin.name!r}"
    if error["type"] == "extra_forbidden":
        expected = f"It has {', '.join(known)}." if known else "It has no options."
        return f"{where} does not exist. {did_you_mean(key, known) or expected}"
    if error["type"] == "missing":
        return f"{where} is required"
    return f"{where} = {shown(error['input'])}: {error['msg']}"
