"""What a comparison trains: each method's preset with one encoder, on the same tracks, in stages that fit a time."""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from facecycle.atomic import write_text
from facecycle.config.layers import file_layer, preset_layers, resolve, set_layer
from facecycle.config.settings import Choice, RunConfig
from facecycle.errors import ConfigError, DataError
from facecycle.networks import choose_device
from facecycle.pretraining.run import Outcome, Pretraining
from facecycle.pretraining.run_folder import CONFIG, RunFolder

sys.path.insert(0, str(Path(__file__).parent.parent / "default_weights"))
from make import HELD_OUT as HELD_OUT
from make import further_tracks, training_tracks

METHODS = {
    "facecycle": "small",
    **{name: name for name in ("fab-net", "tcae", "temporal", "pair-hinge", "simclr", "vicreg")},
}
"""Method to its preset."""
STILLS = ("facecycle", "pair-hinge", "simclr", "vicreg")
"""Methods that learn from a still and its mirror image. A flow cannot mirror, and a still has no order of time."""
CHANGES = {"temporal": ["stages.ranking.frames=5", "method.options.frames=5"]}
"""Where a preset does not fit the data: samples of twelve frames would leave out nearly all tracks, which have five."""
ENCODER = Choice(name="resnet18")
"""An encoder goes up to stride 16 unless its options say otherwise, and those of presets are not taken over."""
MEASURED = 8
"""Steps of each stage that are measured; the first half warms up."""
FINISHED = "finished.json"


def data_sets(data: Path, out: Path, method: str) -> list[Choice]:
    """Return what a method trains on: tracks without the held-out people, further tracks, and stills where it can.

    Stills are as many as there are tracks, evenly chosen. All of them would be eleven for each track. Of the further
    tracks no person gives more than a few, because one of them has two thirds.

    Raises:
        ConfigError: the comparison in that folder is of other data.
        DataError: a folder is missing.
    """
    known = out / "data.txt"
    if known.exists() and known.read_text() != f"{data}\n":
        raise ConfigError(f"{out} holds a comparison on {known.read_text().strip()}", hint="Choose another OUT.")
    write_text(known, f"{data}\n")
    for name in ("tracks", "more_tracks", "stills", "emotions", "people"):
        if not (data / name).is_dir():
            raise DataError(f"there is no folder {data / name}", hint="The recipe's first lines say what DATA holds.")
    tracks = training_tracks(data / "tracks" / "pose.csv")
    write_text(out / "tracks.txt", "".join(f"{path}\n" for path in tracks))
    write_text(out / "more_tracks.txt", "".join(f"{path}\n" for path in further_tracks(data / "more_tracks")))
    sets = [{"path": str(out / "tracks.txt")}, {"path": str(out / "more_tracks.txt")}]
    if method in STILLS:
        files = sorted(path for path in (data / "stills").iterdir() if path.is_file())
        chosen = files[:: max(1, len(files) // max(1, len(tracks)))][: len(tracks)]
        (out / "stills").mkdir(parents=True, exist_ok=True)
        for path in chosen:
            if not (out / "stills" / path.name).exists():
                (out / "stills" / path.name).symlink_to(path)
        sets.append({"path": str(out / "stills"), "stills": True})
    return [Choice(name="tracks", options=options) for options in sets]


class Clock:
    """A listener that notes when steps end, in seconds of all processors together, or of time where a GPU computes."""

    def __init__(self, says: bool) -> None:
        self.says = says
        self.now = time.perf_counter if choose_device().type == "cuda" else time.process_time
        self.ends: dict[str, list[float]] = {}

    def stage(self, name: str, first: int, total: int) -> None:
        if self.says:
            print(f"  stage {name}: step {first} of {total}", flush=True)

    def step(self, name: str, done: int, losses: dict[str, float], images_per_second: float) -> None:
        self.ends.setdefault(name, []).append(self.now())

    def note(self, text: str) -> None:
        if self.says:
            print(f"  {text}", flush=True)

    def seconds_per_step(self, name: str) -> float:
        """Return the median of the later half of a stage's steps."""
        ends = self.ends[name]
        lasted = [after - before for before, after in pairwise(ends)]
        return median(lasted[len(lasted) // 2 :])


def schedule(method: str, data: list[Choice], minutes: float, out: Path) -> RunConfig:
    """Return a method's configuration, whose stages fit the time in the proportions of its preset.

    The configuration is kept, so that a comparison that goes on does not measure again.

    Args:
        method: one of `METHODS`.
        data: what it trains on.
        minutes: of a run, for the steps alone.
        out: folder of the comparison.
    """
    kept = out / "schedules" / f"{method}-{minutes:g}-minutes.json"
    if kept.exists():
        return resolve([file_layer(kept)]).model_copy(update={"data": data})
    layers = [*preset_layers(METHODS[method]), set_layer(CHANGES.get(method, []))]
    base = resolve(layers).model_copy(update={"encoder": ENCODER, "data": data, "keep": 1})
    lengths = {name: stage.steps or stage.epochs or 1 for name, stage in base.stages.items()}
    seconds = _measure(base)
    share = 60 * minutes / sum(lengths[name] * seconds[name] for name in lengths)
    steps = {name: max(1, round(share * length)) for name, length in lengths.items()}
    config = _with_steps(base, steps)
    told = ", ".join(f"{name} {steps[name]:,} of {seconds[name]:.3f} s" for name in steps)
    print(f"{method}, {minutes:g} minutes: {told}", flush=True)
    write_text(kept, config.model_dump_json(indent=1) + "\n")
    return config


def _measure(base: RunConfig) -> dict[str, float]:
    """Return the seconds of a step of each stage, measured in a run of few steps."""
    clock = Clock(says=False)
    with TemporaryDirectory() as folder:
        short = _with_steps(base, dict.fromkeys(base.stages, MEASURED))
        _stop_if_told(Pretraining(short, RunFolder(Path(folder) / "run"), clock).run())
    return {name: clock.seconds_per_step(name) for name in base.stages}


def _with_steps(config: RunConfig, steps: dict[str, int]) -> RunConfig:
    stages = {
        name: stage.model_copy(update={"steps": steps[name], "epochs": None}) for name, stage in config.stages.items()
    }
    return config.model_copy(update={"stages": stages})


def train(config: RunConfig, seed: int, run: Path) -> Path:
    """Train a run, or what is left of it, and return its folder; a finished one is left as it is.

    Raises:
        ConfigError: the folder holds a run of another length, or on other data.
    """
    folder, clock = RunFolder(run), Clock(says=True)
    begun = (run / CONFIG).exists()
    if begun and _trains(folder.config()) != _trains(config):
        raise ConfigError(f"{run} was trained for another time or on other data", hint="Choose another OUT.")
    if (run / FINISHED).exists():
        return run
    print(f"{'going on with' if begun else 'training'} {run.name}", flush=True)
    started = clock.now()
    pretraining = Pretraining(config.model_copy(update={"seed": seed}), folder, clock, weights_follow=begun)
    if begun:
        pretraining.resume()
    else:
        folder.create(pretraining.config)
    outcome = pretraining.run()
    _stop_if_told(outcome)
    facts: dict[str, Any] = {"seconds": clock.now() - started, "resumed": begun, "skipped": outcome.skipped_steps}
    write_text(run / FINISHED, json.dumps(facts) + "\n")
    return run


def _trains(config: RunConfig) -> tuple[Any, ...]:
    return config.stages, config.data, config.encoder


def _stop_if_told(outcome: Outcome) -> None:
    if outcome.stopped_by is not None:
        raise SystemExit(128 + outcome.stopped_by)
