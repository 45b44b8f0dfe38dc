"""A folder of weights to give away: `model.safetensors`, its graph, `config.json`, and a card with their facts."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from facecycle.atomic import check_out, explained, write_atomically, write_text
from facecycle.checkpoints import graph_file, header
from facecycle.checkpoints.export import export, without_paths
from facecycle.checkpoints.folders import MODEL
from facecycle.checkpoints.header import Checkpoint
from facecycle.checkpoints.inspect import describe
from facecycle.checkpoints.places import HUB, Name
from facecycle.networks import load, trained_of
from facecycle.pages import fill

CARD, CONFIG = "README.md", "config.json"
FACTS = ("format", "sha256", "trained", "steps", "method", "encoder", "parameters", "numbers")
"""Of what `facecycle checkpoint show` prints: what `config.json` holds beside size and terms."""
MARK = "<!-- facecycle wrote this card, and replaces it while its sha256 is "


@dataclass(frozen=True)
class Score:
    """A number of a probe, for a card.

    Attributes:
        task, protocol, data: what was measured, how, and on which kind of data set.
        feature: what was probed.
        metric: name of the metric in results.
        title: of its column, with its unit.
        value: in that unit, rounded as it is printed.
        cell: the value with its interval, as text.
    """

    task: str
    protocol: str
    data: str
    feature: str
    metric: str
    title: str
    value: float
    cell: str


def write_folder(
    weights: Name, folder: Path, scores: Sequence[Score] = (), name: str = f"{HUB}OWNER/NAME"
) -> list[str]:
    """Write weights and what others need to know of them. A card that a person edited stays.

    The file is copied byte by byte if it says nothing of this machine's paths. Else it is exported, with the same
    tensors and without the paths.

    Args:
        weights: their name; see `places`.
        folder: made if need be; files of these names in it are replaced.
        scores: of probes of these weights.
        name: what users of the folder will call it, for the card.

    Returns:
        The names of the files that were written.

    Raises:
        CheckpointError: the weights cannot be read, or their graph cannot be written again.
        ConfigError: the folder is a file, or lies below one.
        RunError: it cannot be written.
    """
    found = header.read(weights)
    check_out(folder, folder=True)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    target = folder / MODEL
    if found.path.resolve() != target.resolve():
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
            made = _copied(found, Path(temporary, MODEL))
            graph_file.graph_of(target).unlink(missing_ok=True)  # of the weights that were there
            for path in made:
                path.replace(folder / path.name)
    facts = _facts(target)
    write_text(folder / CONFIG, json.dumps(facts, indent=1) + "\n")
    if not is_edited(folder / CARD):
        write_text(folder / CARD, _card(facts, scores, name))
    return [file for file in (MODEL, graph_file.graph_of(target).name, CONFIG, CARD) if (folder / file).is_file()]


def _copied(found: Checkpoint, target: Path) -> list[Path]:
    """Write weights, and their graph where they have one; return the files."""
    as_they_are = without_paths(found.config) == found.config
    if as_they_are:
        write_atomically(target, lambda temporary: shutil.copyfile(found.path, temporary))
    else:
        export(found.path, target, half=False, licence=None)
    if not graph_file.graph_of(found.path).is_file() or find_spec("onnx") is None:
        return [target]
    if as_they_are:
        graph_file.copy(found.path, target)
    else:
        from facecycle.checkpoints.export_graph import export_graph

        export_graph(target)
    return [target, graph_file.graph_of(target)]


def is_edited(card: Path) -> bool:
    """Return whether a card is there which is not as it was written here."""
    if not card.is_file():
        return False
    text, mark, digest = card.read_text(encoding="utf-8", errors="replace").rpartition(MARK)
    return not mark or digest.strip() != f"{_digest(text)} -->"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _facts(weights: Path) -> dict[str, Any]:
    """Return what is known of weights, ready for JSON; nothing of it says where they lie."""
    about, method = describe(weights), load(weights).method  # what cannot be loaded is not given away
    panels, features = trained_of(method, about["trained"])
    return {
        "library_name": "facecycle",
        **{name: about[name] for name in FACTS},
        "data": sorted(set(about["data"])),
        "panels": list(panels),
        "features": list(features),
        "size": about["config"]["size"],
        "graph": graph_file.graph_of(weights).is_file(),
        "licence": about["licence"] or "no terms stated",
    }


def _card(facts: dict[str, Any], scores: Sequence[Score], name: str) -> str:
    """Return the card: YAML that the hub reads, the same in words, and the mark that says it is as it was written."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=f"face-{score.task}",
            task_name=f"{score.task}, protocol {score.protocol}, feature {score.feature}",
            dataset_type=score.data,
            dataset_name=score.data,
            metric_type=score.metric,
            metric_name=score.title,
            metric_value=score.value,
        )
        for score in scores
    ]
    data = ModelCardData(
        library_name="facecycle",
        license="other",
        license_name="terms-of-the-weights",
        license_link=CARD,
        pipeline_tag="image-to-image" if facts["panels"] else "image-feature-extraction",
        tags=["face", "self-supervised", facts["method"]],
        # No `datasets`: it lists those of the hub, and ours are files on a disk.
        model_name=name.removeprefix(HUB) if results else None,
        eval_results=results or None,
    )
    text = fill("card.md.jinja", front=data.to_yaml(), facts=facts, scores=scores, name=name)
    return f"{text}{MARK}{_digest(text)} -->\n"
