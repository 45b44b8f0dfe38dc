"""Throw-away site folders that hold distributions, as an installer would leave them."""

from __future__ import annotations

import tomllib
from pathlib import Path

API = "    facecycle_api = (1, 0)\n    Options = facecycle.api.Options\n"
GOOD = f"""import facecycle.api
class Thing:
{API}    needs_target = True
    def __init__(self, options): self.options = options
    def __call__(self, predictions, target=None): return predictions.mean(dim=(1, 2, 3, 4))
"""


def distribution(site: Path, name: str, points: dict[str, dict[str, str]], **modules: str) -> Path:
    """Install a distribution with entry points (group to name to target) and modules into a folder."""
    metadata = site / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    text = "".join(
        f"[{group}]\n" + "".join(f"{key} = {target}\n" for key, target in entries.items())
        for group, entries in points.items()
    )
    (metadata / "entry_points.txt").write_text(text)
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)
    return site


def install_source(site: Path, package: Path) -> Path:
    """Make a source tree with a `src` folder importable, and its entry points found."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    distribution(site, project["name"], project["entry-points"])
    for module in (package / "src").iterdir():
        (site / module.name).symlink_to(module)
    return site
