"""Train the weights that come with the package: python recipes/default_weights/make.py DATA [OUT].

DATA holds `tracks` (with `pose.csv`, whose person_fold 0 is left out for testing), `more_tracks` and `stills`. OUT gets
aligned frames, two runs, and `default.safetensors`; what was stopped is continued.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from aligned import MARGIN, align_tracks
from imagenet import lite0

from facecycle import registry
from facecycle.config.layers import file_layer

HERE = Path(__file__).parent
HELD_OUT = 0
"""The fold of `pose.csv` whose people are left for testing."""
OF_A_PERSON = 4
"""Further tracks of one person that are trained on."""
FACE, SCALE = 0.7, (0.85, 1.15)
"""Half width of an aligned face, over half of the image's width, and the scales that it is seen at."""
LICENCE = (
    "for non-commercial research: trained on UTKFace, LRS3 and MEAD (non-commercial research), YouTube Faces and "
    "VoxCeleb (research use); see facecycle/weights/README.md"
)


def training_tracks(poses: Path) -> list[Path]:
    """Return the track directories of the people outside the held-out fold of a pose file."""
    data = registry.build("dataset", "pose-csv", {"path": poses})
    folds = data.labelled("pose").folds.tolist()
    return sorted({path.parent for path, fold in zip(data.files.paths, folds, strict=True) if fold != HELD_OUT})


def further_tracks(folder: Path) -> list[Path]:
    """Return a few track directories of each person: of the further tracks, one person has half of the frames."""
    people = (
        sorted(path for path in person.iterdir() if path.is_dir())
        for person in sorted(folder.iterdir())
        if person.is_dir()
    )
    return [track for tracks in people for track in tracks[:OF_A_PERSON]]


def data_sets(data: Path, out: Path, grey: float) -> list[dict[str, Any]]:
    """Return the data: stills and frames seen from other sides, frames as people moved, and rendered faces.

    Stills fill their images as an aligned face does. Frames are aligned here, with a margin. All are moved a little,
    because a photograph's landmarks are a little off. A track of five frames is taken several times, or there would be
    fifteen stills to one. A share of them has no colour, `grey`.
    """
    first, further = "tracks", "more_tracks"
    chosen = {first: training_tracks(data / first / "pose.csv"), further: further_tracks(data / further)}
    lists = {}
    for name, tracks in chosen.items():
        lists[name] = str(out / f"{name}.txt")
        aligned = align_tracks(data / name, tracks, out / "aligned" / name)
        Path(lists[name]).write_text("".join(f"{track}\n" for track in aligned))
    still = {"face": FACE, "scale": list(SCALE), "grey": grey}
    frame = {**still, "face": FACE / MARGIN, "scale": [MARGIN * scale for scale in SCALE]}
    as_filmed = {**frame, "angles": [0, 0, 4], "bend": 0, "turns": 1}
    return [
        {"name": "turned", "options": {"path": str(data / "stills"), **still}},
        {"name": "turned", "options": {"path": lists[first], **frame, "takes": 5, "turns": 4}},
        {"name": "turned", "options": {"path": lists[first], **as_filmed, "takes": 8}},
        {"name": "turned", "options": {"path": lists[further], **as_filmed, "takes": 16}},
        {"name": "synthetic", "options": {}},
    ]


def train(run: Path, config: dict[str, Any], features: Path, start: Path | None = None) -> None:
    """Train what a configuration says, from the weights of another run where one is given, or go on with it."""
    for stage in config["stages"].values():
        if "perceptual" in stage["losses"]:
            stage["losses"]["perceptual"]["options"]["weights"] = str(features)
    settings = run.with_suffix(".json")
    settings.write_text(json.dumps(config))
    begun = ["--resume"] if (run / "config.json").exists() else ["--from", start] if start else []
    facecycle("pretrain", *begun, "--config", settings, "--out", run)


def main() -> None:
    """Train, then write the weights as they are shipped."""
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    data = Path(sys.argv[1]).resolve()
    out = Path(sys.argv[2] if len(sys.argv) > 2 else "runs/weights").resolve()
    out.mkdir(parents=True, exist_ok=True)
    first, last, weights = out / "run", out / "finish", out / "default.safetensors"
    recipe, features = {"preset": None, **file_layer(HERE / "recipe.toml")[1]}, lite0(out)
    train(first, {**recipe, "data": data_sets(data, out, grey=0.2)}, features)
    # The last stage once more, on faces of which half have no colour, so that people are not told apart by it.
    stages = {"identity_grey": {**recipe["stages"]["identity_longer"], "steps": 1800}}
    train(last, {**recipe, "stages": stages, "data": data_sets(data, out, grey=0.5)}, features, first)
    weights.unlink(missing_ok=True)
    facecycle("checkpoint", "export", last, "--out", weights, "--half", "--licence", LICENCE, "--onnx")


def facecycle(*arguments: object) -> None:
    """Run a command of the package; its failure is this script's."""
    done = subprocess.run([sys.executable, "-m", "facecycle_cli", *map(str, arguments)])
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
