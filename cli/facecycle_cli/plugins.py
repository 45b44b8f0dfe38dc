"""`facecycle plugins`: list, show and check what is installed, and start a plugin package."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from facecycle import registry
from facecycle.api import GROUPS, NAMESPACE_GROUP, PRESET_GROUP, Kind
from facecycle.atomic import write_text
from facecycle.config.preset_files import find_preset
from facecycle.discovery import FIRST_PARTY, canonical, scan
from facecycle.errors import AmbiguousName, ConfigError, FacecycleError, PluginError, RunError
from facecycle_cli import flags
from facecycle_cli.console import say, show_table

app = typer.Typer(help="List, inspect, check and start plugins.", no_args_is_help=True)

KINDS = ", ".join(GROUPS)
HERE = Path(__file__).parent
EXAMPLE = (HERE / "example", HERE.parent.parent / "plugins" / "facecycle-plugin-example")
"""The example package, as a wheel carries it, and as it lies in a checkout."""


def _entries() -> list[tuple[Kind, Any]]:
    inventory = scan()
    return [(kind, entry) for kind, group in GROUPS.items() for entry in inventory.in_group(group)]


@app.command("list")
def list_plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List every plugin and the package it comes from. No plugin is imported.

    Example: facecycle plugins list
    """
    found = _entries()
    if as_json:
        import json

        keys = ("name", "distribution", "version", "entry_point")
        typer.echo(json.dumps([{"kind": kind} | {key: getattr(e, key) for key in keys} for kind, e in found], indent=1))
        return
    rows = [[f"{kind}  {e.name}", f"{e.distribution} {e.version}"] for kind, e in found]
    show_table("plugins", ["kind and name", "package"], rows, text=2)
    for problem in scan().problems:
        say(f"unreadable: {problem.where}: {problem.reason}")


def _kinds(kind: str | None) -> list[Kind]:
    """Return the given kind, or all of them where none is given."""
    if kind is not None and kind not in GROUPS:
        raise PluginError(f"there is no plugin of the kind {kind!r}", hint=f"Kinds: {KINDS}.")
    return [each for each in GROUPS if kind in {None, each}]


def _resolve(name: str, kind: str | None) -> registry.Plugin:
    """Find a name in the given kind, or in the one kind that has it."""
    found, failures = [], []
    for each in _kinds(kind):
        try:
            found.append(registry.find(each, name))
        except PluginError as error:
            failures.append(error)
    if len(found) > 1:
        kinds = " or ".join(f"--kind {c.kind}" for c in found)
        raise PluginError(f"{name!r} is the name of several plugins", hint=f"Say which: {kinds}.")
    if not found:
        # Next to a name that several claim, the kind whose names come closest has something to suggest.
        ambiguous = [f for f in failures if isinstance(f, AmbiguousName)]
        raise [*ambiguous, *(f for f in failures if f.hint and f.hint.startswith("Did")), *failures][0]
    return found[0]


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A plugin's name, such as resnet18 or hog.")],
    kind: Annotated[str | None, typer.Option(help=f"Its kind: {KINDS}.")] = None,
) -> None:
    """Show where a plugin comes from and which options it has; of a method, its cycles, views and features too.

    Example: facecycle plugins show tracks
    """
    plugin = _resolve(name, kind)
    loaded = registry.load(plugin)
    say(f"{plugin.kind} {plugin.name}\nfrom {plugin.origin}")
    summary = (loaded.__doc__ or "").strip().split("\n\n")[0]
    if summary:
        say(" ".join(summary.split()))
    if getattr(loaded, "weights_licence", ""):
        say(f"terms of its weights: {loaded.weights_licence}")
    rows = []
    for key, field in loaded.Options.model_fields.items():
        default = "required" if field.is_required() else repr(field.default)
        meaning = " ".join((field.description or "").split())
        rows.append([key, str(getattr(field.annotation, "__name__", field.annotation)), default, meaning])
    if rows:
        show_table("options", ["option", "type", "default", "what it is"], rows, text=4)
    if plugin.kind == "method":
        cycles = []
        for cycle, views in loaded.view_names.items():
            features = [feature for feature, by in loaded.features_from.items() if by == cycle]
            cycles.append([cycle, ", ".join(sorted(views)), ", ".join(features)])
        show_table("cycles", ["cycle", "views for losses", "features"], cycles, text=3)


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(help="A plugin's name. Default: all plugins.")] = None,
    kind: Annotated[str | None, typer.Option(help=f"Its kind: {KINDS}.")] = None,
) -> None:
    """Import plugins and report the broken ones. The exit code is 2 if there are any.

    Example: facecycle plugins check
    """
    kinds = _kinds(kind)
    every = [registry.Plugin.of_entry(each, entry) for each, entry in _entries() if each in kinds]
    plugins = every if name is None else [_resolve(name, kind)]
    broken = 0
    for plugin in plugins:
        try:
            registry.load(plugin)
            say(f"ok      {plugin.kind} {plugin.name} ({plugin.distribution})")
        except FacecycleError as error:
            broken += 1
            say(f"broken  {plugin.kind} {plugin.name}: {error}")
    namespaces = scan().in_group(NAMESPACE_GROUP) if name is None else []
    for entry in (e for e in namespaces if e.name.partition(".")[0] in kinds):
        try:
            _, names = registry.namespace(entry)
            say(f"ok      namespace {entry.name} ({len(names):,} names, {entry.distribution})")
        except FacecycleError as error:
            broken += 1
            say(f"broken  namespace {entry.name}: {error}")
    presets = scan().in_group(PRESET_GROUP) if name is None and kind is None else []
    for entry in presets:
        try:
            find_preset(f"{entry.distribution}/{entry.name}")
            say(f"ok      preset {entry.name} ({entry.distribution})")
        except FacecycleError as error:
            broken += 1
            say(f"broken  preset {entry.name}: {error}")
    for problem in scan().problems:
        say(f"unreadable  {problem.where}: {problem.reason}")
    if broken:
        raise typer.Exit(2)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the package and of its encoder: my-encoder.")],
    out: Annotated[Path | None, flags.out("Folder to create. Default: ./NAME.")] = None,
) -> None:
    """Write a plugin package: an encoder, a warper, a loss and a detector, each under its contract test.

    Example: facecycle plugins new my-encoder
    """
    folder = _copy_example(name, out or Path(name))
    say(f"wrote {folder}")
    say(f"next: pip install -e '{folder}[test]' && pytest {folder} && facecycle pretrain --encoder {name}")


def _copy_example(name: str, folder: Path) -> Path:
    """Copy the example package into a new folder, with all that it names renamed."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        hint = "Use lower-case letters, digits and single hyphens: my-encoder."
        raise ConfigError(f"{name!r} cannot name a package", hint=hint)
    if canonical(name) == FIRST_PARTY:
        raise ConfigError(f"{name!r} is this package's own name", hint="Choose another.")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} exists and is not empty", hint="Choose another folder with --out.")
    except OSError as error:
        raise RunError(f"cannot use {folder}: {error.strerror}") from error
    renamed = {
        "facecycle-plugin-example": name,
        "facecycle_plugin_example": name.replace("-", "_"),
        "example-conv": name,
        "example-skin": f"{name}-skin",
        "ExampleConv": "".join(part.capitalize() for part in name.split("-")),
        "example-bicubic": f"{name}-bicubic",
        "charbonnier": f"{name}-charbonnier",
    }
    names = re.compile("|".join(renamed))
    example = next(place for place in EXAMPLE if place.is_dir())
    for file in (file for pattern in ("*.toml", "*.md", "src/*/*.py", "tests/*.py") for file in example.glob(pattern)):
        path, text = (names.sub(lambda m: renamed[m[0]], t) for t in (str(file.relative_to(example)), file.read_text()))
        write_text(folder / path, text)
    return folder
