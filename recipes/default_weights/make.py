"""Train the weights that come with the package: python recipes/default_weights/make.py DATA [OUT].

DATA holds `tracks` (with `pose.csv`, whose person_fold 0 is left out for testing) and `stills`. OUT gets the run, and
`default.safetensors`; a run that was stopped is continued.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from facecycle import registry
from facecycle.config.layers import file_layer

HERE = Path(__file__).parent
HELD_OUT = 0
"""The fold of `pose.csv` whose people are left for testing."""
LICENCE = (
    "for non-commercial research: trained on UTKFace (non-commercial research) and YouTube Faces (research use); "
    "see facecycle/weights/README.md"
)


def training_tracks(poses: Path) -> list[Path]:
    """Return the track directories of the people outside the held-out fold of a pose file."""
    data = registry.build("dataset", "pose-csv", {"path": poses})
    folds = data.labelled("pose").folds.tolist()
    return sorted({path.parent for path, fold in zip(data.files.paths, folds, strict=True) if fold != HELD_OUT})


def data_sets(data: Path, tracks: Path) -> list[dict[str, Any]]:
    """Return the data: stills and frames seen from other sides, the frames as they are, and rendered faces.

    Stills show a face from ear to ear and are made smaller, frames show shoulders and are made larger, so that both
    cover what a photograph may show. Each track is taken fifteen times, or there would be forty stills to one.
    """
    stills = {"path": str(data / "stills"), "face": 0.7, "scale": [0.6, 1.05]}
    frames = {"path": str(tracks), "face": 0.42, "scale": [0.9, 1.7], "takes": 15}
    return [
        {"name": "turned", "options": stills},
        {"name": "turned", "options": frames},
        {"name": "tracks", "options": {"path": str(tracks)}},
        {"name": "synthetic", "options": {}},
    ]


def main() -> None:
    """Train, then write the weights as they are shipped."""
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    data = Path(sys.argv[1]).resolve()
    out = Path(sys.argv[2] if len(sys.argv) > 2 else "runs/weights").resolve()
    out.mkdir(parents=True, exist_ok=True)
    tracks, run, weights = out / "tracks.txt", out / "run", out / "default.safetensors"
    tracks.write_text("".join(f"{path}\n" for path in training_tracks(data / "tracks" / "pose.csv")))
    config = {"preset": None, **file_layer(HERE / "recipe.toml")[1], "data": data_sets(data, tracks)}
    (out / "recipe.json").write_text(json.dumps(config))
    begun = ["--resume"] if (run / "config.json").exists() else []
    facecycle("pretrain", *begun, "--config", out / "recipe.json", "--out", run)
    weights.unlink(missing_ok=True)
    facecycle("checkpoint", "export", run, "--out", weights, "--half", "--licence", LICENCE, "--onnx")


def facecycle(*arguments: object) -> None:
    """Run a command of the package; its failure is this script's."""
    done = subprocess.run([sys.executable, "-m", "facecycle_cli", *map(str, arguments)])
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
