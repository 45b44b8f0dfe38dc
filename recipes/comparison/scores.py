"""What the runs of a comparison know: each probe over all of them, and the mean of every method over its seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor
from training import HELD_OUT

from facecycle import registry
from facecycle.api import BadFrame, Dataset, Labelled, Task, Track, Verification
from facecycle.atomic import write_text
from facecycle.checkpoints import header
from facecycle.probing.differences import between_checkpoints, difference, interval_of
from facecycle.probing.features import TWIN, with_baselines
from facecycle.probing.probe import run_probe
from facecycle.probing.protocols import PROTOCOLS, ProbeProtocol
from facecycle.probing.result import RESULT, Difference, Result, Row, read_result, write_result
from facecycle.probing.subject import Subject, features_of, load_all

PROBES = {
    "pose, held-out people": ("linear-pose", "tracks/pose.csv"),
    "pose, cross-validation": ("linear-pose", "tracks/pose.csv"),
    "emotion": ("linear", "emotions"),
    "people": ("cosine-10fold", "people"),
}
"""Probe to its protocol, and its data below the folder of all."""


class HeldOut:
    """A pose file whose held-out fold alone is tested, and whose other people are trained on."""

    def __init__(self, data: Dataset) -> None:
        self.data, self.licence = data, data.licence

    def tracks(self) -> list[Track]:
        return self.data.tracks()

    def labelled(self, task: Task) -> Labelled | Verification:
        labels = self.data.labelled(task)
        tested = np.where(labels.folds == HELD_OUT, HELD_OUT, -1)
        return replace(labels, folds=tested, note=f"{labels.note}; fold {HELD_OUT} alone is tested")

    def images(self, frames: Sequence[int], size: int) -> tuple[Tensor, list[BadFrame | None]]:
        return self.data.images(frames, size)

    def fingerprint(self) -> str:
        return self.data.fingerprint()


@dataclass(frozen=True)
class Scores:
    """A probe of all runs.

    Attributes:
        result: of the methods: rows are means over seeds, and differences are between methods.
        seeds: feature of a row to the headline of each seed.
        learned: every method's features less their random twins.
    """

    result: Result
    seeds: dict[str, list[float]]
    learned: list[Difference]


def probe(name: str, data: Path, runs: dict[str, Path], out: Path) -> Scores:
    """Probe all runs on one data set, or read what an earlier comparison of the same runs wrote."""
    protocol_name, place = PROBES[name]
    protocol, folder = PROTOCOLS[protocol_name], out / name.replace(", ", "-").replace(" ", "-")
    digests = {label: header.read(run).sha256() for label, run in runs.items()}
    kept = folder / "methods" / "comparison.json"
    if kept.exists():
        found = json.loads(kept.read_text())
        if found["runs"] == digests:
            learned = [Difference.model_validate(each) for each in found["learned"]]
            return Scores(read_result(kept.with_name(RESULT)), found["seeds"], learned)
    print(f"probing {name}", flush=True)
    dataset = registry.build("dataset", protocol.data, {"path": str(data / place)})
    if name.endswith("held-out people"):
        dataset = HeldOut(dataset)
    loaded = load_all(list(runs.values()))
    features = with_baselines(features_of(loaded, protocol, [], None))
    size = next(iter(loaded.values())).checkpoint.config.size
    result = run_probe(protocol, Subject(size, features, loaded), dataset, {"data": place, "data set": protocol.data})
    write_result(result, folder)
    scores = of_methods(protocol, result, list(runs))
    write_text(kept.with_name(RESULT), scores.result.model_dump_json(indent=1) + "\n")
    learned = [each.model_dump() for each in scores.learned]
    write_text(kept, json.dumps({"runs": digests, "seeds": scores.seeds, "learned": learned}) + "\n")
    return scores


def of_methods(protocol: ProbeProtocol, result: Result, runs: list[str]) -> Scores:
    """Average the rows of each method's runs, and compare the methods and their random twins."""
    grouped: dict[str, list[Row]] = {}
    for row in result.rows:
        run = next((run for run in runs if row.feature.startswith(f"{run}: ")), None)
        name = row.feature if run is None else f"{run.rpartition('-')[0]}{row.feature.removeprefix(run)}"
        grouped.setdefault(name, []).append(row)
    rows = {name: _mean(name, several) for name, several in grouped.items()}
    seeds = {name: [row.metrics[protocol.headline] for row in several] for name, several in grouped.items()}
    pairs = [(row, rows[name + TWIN]) for name, row in rows.items() if name + TWIN in rows]
    compared = between_checkpoints(protocol, list(rows.values()))
    averaged = result.model_copy(update={"rows": list(rows.values()), "differences": compared})
    return Scores(averaged, seeds, [difference(protocol, own, twin) for own, twin in pairs])


def _mean(name: str, rows: list[Row]) -> Row:
    """Return the mean of one feature's rows; what each test item scored is averaged before intervals are drawn."""
    method = name.partition(": ")[0] if rows[0].checkpoint else ""
    mean = Row(feature=name, checkpoint=method, dimensions=rows[0].dimensions)
    for metric in rows[0].metrics:
        value = float(np.mean([row.metrics[metric] for row in rows]))
        if metric not in rows[0].items:
            mean.add(metric, value)
            continue
        items = np.mean([row.items[metric][0] for row in rows], axis=0), rows[0].items[metric][1]
        mean.add(metric, value, interval_of(*items), items)
    return mean
