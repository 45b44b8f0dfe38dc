"""Train on a folder of faces, and probe the head pose out of what was learned, in Python.

    python examples/train_and_probe.py OUT [FACES POSES] [STEPS]

FACES is a folder of tracks or stills, POSES a csv of `file,pitch_deg,yaw_deg,roll_deg`. Without them, rendered faces
are used. It writes a run folder OUT, and beside it OUT-probe with the result, a plot and a page.
"""

from __future__ import annotations

import sys
from pathlib import Path

from facecycle import FacecycleError, registry
from facecycle.config.layers import preset_layers, resolve
from facecycle.networks import load
from facecycle.pretraining.run import Pretraining
from facecycle.pretraining.run_folder import RunFolder
from facecycle.probing.features import baseline_features
from facecycle.probing.probe import run_probe
from facecycle.probing.protocols import PROTOCOLS
from facecycle.probing.result import write_result
from facecycle.probing.subject import Subject, features_of


class Printer:
    """What a run tells whoever watches it."""

    def stage(self, name: str, first: int, total: int) -> None:
        print(f"stage {name}: {total} steps")

    def step(self, name: str, done: int, losses: dict[str, float], images_per_second: float) -> None:
        if done % 50 == 0:
            print(f"  {name} {done}: total {losses['total']:.3f}")

    def note(self, text: str) -> None:
        print(text)


def choice(kind: str, path: str | None) -> dict[str, object]:
    """Name a data set of a kind at a path, or the rendered faces."""
    return {"name": kind, "options": {"path": path}} if path else {"name": "synthetic"}


def main(out: str, faces: str | None = None, poses: str | None = None, steps: str = "500") -> None:
    """Train every stage of the preset `small` for so many steps, then probe."""
    settings = {"encoder": {"name": "resnet18"}, "data": [choice("tracks", faces)], "steps": int(steps)}
    run = Pretraining(resolve([*preset_layers("small"), ("example", settings)]), RunFolder(Path(out)), Printer())
    run.folder.create(run.config)
    print(f"checkpoint: {run.run().model}")

    loaded, protocol = load(Path(out)), PROTOCOLS["linear-pose"]
    size = loaded.checkpoint.config.size
    features = [*features_of({out: loaded}, protocol, [], size), *baseline_features()]
    labelled = choice("pose-csv", poses)
    dataset = registry.build("dataset", labelled["name"], labelled.get("options"))
    result = run_probe(protocol, Subject(size, features), dataset, {"checkpoint": out}, limit=800)
    for row in result.rows:
        print(f"{row.feature:28} {row.metrics['mean']:6.2f} degrees")
    print(f"report: {write_result(result, Path(f'{out}-probe'))}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:5])
    except FacecycleError as error:
        sys.exit(f"error: {error}")
