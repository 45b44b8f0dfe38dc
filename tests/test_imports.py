"""Who may import whom, and what stays out of a command's start."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.common import ROOT

PACKAGES = {
    "facecycle": ROOT / "facecycle",
    "facecycle_kernels": ROOT / "kernels" / "facecycle_kernels",
    "facecycle_plugins": ROOT / "plugins" / "facecycle_plugins",
    "facecycle_cli": ROOT / "cli" / "facecycle_cli",
}
OURS = tuple(PACKAGES)
# What a module may import of ours, by the longest prefix of its own name.
CORE = (
    *("facecycle.api", "facecycle.atomic", "facecycle.cache", "facecycle.config"),
    *(
        "facecycle.errors",
        "facecycle.folding",
        "facecycle.machine",
        "facecycle.pickles",
        "facecycle.registry",
        "facecycle.seeds",
    ),
    *("facecycle.heads", "facecycle.whole_batch"),
)
# Rooms of commands stand on these.
BELOW = (
    *CORE,
    *("facecycle.checkpoints", "facecycle.data", "facecycle.distributed", "facecycle.faces", "facecycle.networks"),
    *("facecycle.pages", "facecycle.pictures"),
)
ALLOWED: dict[str, tuple[str, ...]] = {
    "facecycle.api": (),
    "facecycle.cache": (),
    "facecycle.errors": (),
    "facecycle.pages": (),
    "facecycle.pickles": (),
    "facecycle.folding": (),
    "facecycle.machine": (),
    "facecycle.seeds": (),
    "facecycle.whole_batch": (),
    "facecycle.heads": ("facecycle.errors",),
    "facecycle.atomic": ("facecycle.errors",),
    "facecycle.distributed": (),
    "facecycle.discovery": ("facecycle.api",),
    "facecycle.registry": ("facecycle.api", "facecycle.discovery", "facecycle.errors"),
    "facecycle.config": ("facecycle.config", "facecycle.errors"),
    "facecycle.config.preset_files": ("facecycle.api", "facecycle.discovery", "facecycle.errors"),
    "facecycle.pictures": ("facecycle.api", "facecycle.atomic", "facecycle.data.images", "facecycle.errors"),
    "facecycle.method": (
        *("facecycle.api", "facecycle.errors", "facecycle.heads", "facecycle.method", "facecycle.whole_batch"),
    ),
    "facecycle.data": (*CORE, "facecycle.data"),
    "facecycle.data.check": (*CORE, "facecycle.data", "facecycle.pictures"),
    "facecycle.faces": (*CORE, "facecycle.data", "facecycle.faces"),
    "facecycle.checkpoints": ("facecycle.atomic", "facecycle.checkpoints", "facecycle.config", "facecycle.errors"),
    "facecycle.networks": (*CORE, *(f"facecycle.checkpoints.{name}" for name in ("header", "model_file", "places"))),
    # What looks into a checkpoint builds its networks, and they are built from what reads one.
    "facecycle.checkpoints.export_graph": (
        *(*CORE, "facecycle.checkpoints", "facecycle.data.images", "facecycle.networks"),
    ),
    "facecycle.checkpoints.export_program": (
        *(*CORE, "facecycle.checkpoints", "facecycle.data.images", "facecycle.networks"),
    ),
    "facecycle.checkpoints.export": (*CORE, "facecycle.checkpoints", "facecycle.networks"),
    "facecycle.checkpoints.inspect": (*CORE, "facecycle.checkpoints", "facecycle.networks"),
    "facecycle.checkpoints.shared_folder": (*CORE, "facecycle.checkpoints", "facecycle.networks", "facecycle.pages"),
    "facecycle.checkpoints.import_released": (*CORE, "facecycle.checkpoints", "facecycle.networks"),
    "facecycle.pretraining": (*BELOW, "facecycle.pretraining"),
    # What uses networks knows nothing of how they were trained. Torch's runtime extracts features as a probe does.
    "facecycle.runtimes": (*BELOW, "facecycle.probing.extraction", "facecycle.runtimes"),
    "facecycle.translation": (*BELOW, "facecycle.runtimes.base", "facecycle.translation"),
    # The page knows no more than it has to: what makes pictures of photographs is all in translation.
    "facecycle.serving": (*BELOW, "facecycle.runtimes.base", "facecycle.serving", "facecycle.translation"),
    "facecycle.serving.export_folder": (
        *BELOW,
        "facecycle.runtimes.by_onnx",
        "facecycle.runtimes.draws",
        "facecycle.serving.shown",
        "facecycle.translation.rows",
    ),
    "facecycle.probing": (*BELOW, "facecycle.probing", "facecycle.runtimes"),
    "facecycle.reporting": (*BELOW, "facecycle.pretraining.run_folder", "facecycle.probing", "facecycle.reporting"),
    # The public API stands on the rooms of the commands that use networks.
    "facecycle.model": (*BELOW, "facecycle.probing", "facecycle.runtimes", "facecycle.translation"),
    "facecycle.testing": ("facecycle.api", "facecycle.errors", "facecycle.registry", "facecycle.testing"),
    "facecycle_kernels": ("facecycle_kernels",),
    "facecycle_plugins": (
        *("facecycle.api", "facecycle.atomic", "facecycle.cache", "facecycle.data", "facecycle.errors"),
        *("facecycle.faces.crop", "facecycle.faces.similarity"),
        *("facecycle.heads", "facecycle.pickles", "facecycle.seeds", "facecycle.whole_batch"),
        *("facecycle_kernels", "facecycle_plugins"),
    ),
    "facecycle_cli": ("facecycle", "facecycle_cli"),
}
# Libraries that only the named packages may import.
RESERVED = {
    "entrypoints": ("facecycle.discovery",),
    "starlette": ("facecycle.serving",),
    "uvicorn": ("facecycle.serving",),
    "timm": ("facecycle_plugins",),
    "typer": ("facecycle_cli",),
    "rich": ("facecycle_cli",),
    "triton": ("facecycle_kernels",),
    "pytest": ("facecycle.testing",),
    "huggingface_hub": (
        *("facecycle.checkpoints.hub", "facecycle.checkpoints.shared_folder"),
        "facecycle_plugins.encoders.timm_weights",
    ),
}


@functools.cache
def modules() -> list[tuple[str, Path]]:
    found = []
    for package, folder in PACKAGES.items():
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            found.append((".".join([package, *(p for p in parts if p != "__init__")]), file))
    return found


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            # `from facecycle import registry` imports a module.
            known = {name for name, _ in modules()}
            found.update(name if (name := f"{module}.{alias.name}") in known else module for alias in node.names)
    return found


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


@pytest.mark.parametrize(("module", "file"), modules(), ids=lambda value: str(value) if isinstance(value, str) else "")
def test_modules_import_only_what_lies_below_them(module: str, file: Path) -> None:
    rule = next((ALLOWED[p] for p in sorted(ALLOWED, key=len, reverse=True) if within(module, (p,))), ())
    if module == "facecycle":
        rule = ("facecycle.errors", "facecycle.model")
    for name in imports(file):
        if name.split(".")[0] in OURS:
            assert within(name, rule), f"{module} may not import {name}"
        if name.split(".")[0] in RESERVED:
            assert within(module, RESERVED[name.split(".")[0]]), f"{module} may not import {name}"


def test_nothing_sits_directly_in_the_source_roots() -> None:
    for folder in ("kernels", "plugins", "cli", "tests"):
        assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "import facecycle.api, facecycle.discovery, facecycle.registry, facecycle.config, facecycle.errors",
        "import facecycle_cli.main as m; m.application()",
        "import facecycle_cli.plugins as p; p.list_plugins()",
    ],
)
def test_the_start_of_a_command_imports_nothing_heavy(statement: str) -> None:
    heavy = ("torch", "torchvision", "timm", "numpy", "sklearn", "skimage", "matplotlib", "facecycle_plugins")
    code = f"import sys\n{statement}\nprint('heavy', [m for m in {heavy} if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.rstrip().endswith("heavy []")


RIVALS = re.compile(r"simclr|vicreg|fab.?net|\btcae\b|pair.?hinge|nt.?xent|[\"']temporal[\"']", re.I)


def test_no_room_knows_a_rival_method_by_name() -> None:
    own = [PACKAGES["facecycle_plugins"] / room for room in ("methods", "losses", "encoders", "presets")]
    written = [file for _, file in modules()]
    written += [
        file for package in PACKAGES.values() for file in package.rglob("*") if file.suffix in {".toml", ".jinja"}
    ]
    for file in written:
        # The published numbers are rows of the paper, each with its method.
        if file.name != "published.toml" and not any(room in file.parents for room in own):
            assert not RIVALS.search(file.read_text()), file
