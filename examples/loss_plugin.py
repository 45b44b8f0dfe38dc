"""A loss of your own in a run: a plugin of one class, registered, and given to a stage.

    python examples/loss_plugin.py [OUT] [STEPS]

In a package, two lines of pyproject.toml register it, and `pip install` does the rest:

    [project.entry-points."facecycle.losses"]
    edges = "loss_plugin:EdgeLoss"

This file writes what an installer would write to a temporary folder instead. `facecycle plugins new NAME` makes a
package with tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from torch import Tensor

from facecycle.api import Options


class EdgeLoss:
    """L1 between the differences of neighbouring pixels: edges at the same places, whatever the brightness."""

    facecycle_api, Options, needs_target = (1, 0), Options, True

    def __init__(self, options: Options) -> None:
        self.options = options

    def __call__(self, predictions: Tensor, target: Tensor) -> Tensor:
        """Map predictions (V, B, 3, H, W) and their target (B, 3, H, W) to losses (V,)."""
        edges = [(predictions.diff(dim=axis) - target.diff(dim=axis)).abs().flatten(1).mean(1) for axis in (-1, -2)]
        return edges[0] + edges[1]


def register(site: Path) -> None:
    """Write the metadata of a package that offers the loss."""
    metadata = site / "facecycle_edges-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: facecycle-edges\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[facecycle.losses]\nedges = loss_plugin:EdgeLoss\n")


def main(out: str = "runs/edges", steps: str = "50") -> int:
    """Train the demo's first stage with the loss beside its own; its values stand in metrics.jsonl."""
    with tempfile.TemporaryDirectory() as site:
        register(Path(site))
        path = [str(Path(__file__).parent), site, os.environ.get("PYTHONPATH", "")]
        command = [sys.executable, "-m", "facecycle_cli", "pretrain", "--out", out, "--steps", steps]
        for setting in (
            "stages.direct.losses.edges={name='edges', weight=0.5, views={direct=1.0}}",
            "stages.expression=none",
            "stages.identity=none",
        ):
            command += ["--set", setting]
        return subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(path)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
