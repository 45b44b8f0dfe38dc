"""An exported graph in onnxruntime as a runtime: on processors alone, without torch, which takes seconds to import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from facecycle.api import FLOW
from facecycle.checkpoints import graph_file
from facecycle.checkpoints.places import said_of
from facecycle.errors import CheckpointError
from facecycle.machine import threads
from facecycle.runtimes.base import BATCH
from facecycle.runtimes.draws import standard_normals

IMAGES, DRIVERS, NOISE = "images", "drivers", "noise_"
"""Inputs of a graph: normalised faces, those to swap with, and the generator's noise in the order it is drawn in."""


class OnnxRuntime:
    """The graph of a file of weights; see `Runtime`.

    onnxruntime computes all of a graph, whatever is asked of it. So each set of outputs gets a session of its own, of
    that part of the graph which leads to them.

    Attributes:
        model: the graph.
        facts: what it says of itself.
    """

    batch = BATCH

    def __init__(self, weights: Path) -> None:
        """Read a graph.

        Raises:
            CheckpointError: there is none, it is damaged, or it was made of other weights.
        """
        self.weights = weights
        self.model, self.facts = graph_file.read(weights)
        facts = self.facts
        self.origin = said_of(weights, facts.licence or None)
        self.terms = facts.licence
        self.size, self.panels, self.features = facts.size, facts.panels, facts.features
        self.figure = facts.figure or facts.panels
        self.captions: Mapping[str, tuple[str, str]] = facts.captions
        self.codes = facts.codes or facts.features[:1]
        self._mean, self._deviation = (
            np.array(three, np.float32).reshape(3, 1, 1) for three in (facts.mean, facts.deviation)
        )
        self._sessions: dict[tuple[str, ...], Any] = {}

    @cached_property
    def alone(self) -> frozenset[str]:
        """See `Runtime.alone`."""
        return frozenset(name for name in self.panels if DRIVERS not in needed(self.model.graph, [name]))

    def sha256(self) -> str:
        """See `Runtime.sha256`."""
        return self.facts.sha256

    def translate(
        self, pixels: np.ndarray, drivers: np.ndarray | None, seed: int, names: Iterable[str]
    ) -> dict[str, np.ndarray]:
        """See `Runtime.translate`."""
        wanted = set(names)
        made = [name for name in self.panels if name in wanted]
        if drivers is None:
            made = [name for name in made if name in self.alone]
        if not made:
            return {}
        found = self._run(made, pixels, drivers, seed)
        return {name: panel if name == FLOW else self._pixels(panel) for name, panel in zip(made, found, strict=True)}

    def embed(self, pixels: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """See `Runtime.embed`."""
        return self._run(names, pixels, None, 0)

    def _pixels(self, images: np.ndarray) -> np.ndarray:
        """Map normalised images to RGB uint8, rounded to the nearest level."""
        return ((images * self._deviation + self._mean).clip(0, 1) * 255).round().astype(np.uint8)

    def _run(self, names: Sequence[str], pixels: np.ndarray, drivers: np.ndarray | None, seed: int) -> list[np.ndarray]:
        session = self._session(tuple(names))
        inputs = {each.name: each.shape for each in session.get_inputs()}
        noises = [name for name in inputs if name.startswith(NOISE)]
        drawn = standard_normals(seed, [tuple(inputs[name]) for name in noises])
        feed = dict(zip(noises, drawn, strict=True))
        sources = {name: x for name, x in ((IMAGES, pixels), (DRIVERS, drivers)) if name in inputs and x is not None}
        parts = []
        for start in range(0, len(pixels), BATCH):
            for name, source in sources.items():
                unit = source[start : start + BATCH].astype(np.float32) / 255
                feed[name] = (unit - self._mean) / self._deviation
            parts.append(session.run(list(names), feed))
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def _session(self, names: tuple[str, ...]) -> Any:
        """Return a session that computes these outputs and nothing else."""
        if names not in self._sessions:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the cores
            options.intra_op_num_threads = threads()
            options.log_severity_level = 3  # errors; warnings are about the graph, and nobody here can act on them
            real = self.weights.resolve()  # onnxruntime follows no link out of the folder that it is given
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(real.parent))
            graph = part(self.model, names)
            for tensor in graph.graph.initializer:
                for entry in tensor.external_data:
                    entry.value = real.name if entry.key == "location" else entry.value
            try:
                session = onnxruntime.InferenceSession(
                    graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # its errors have no base of their own
                raise CheckpointError(
                    f"onnxruntime cannot use {graph_file.graph_of(self.weights)}: {str(error).partition(chr(10))[0]}",
                    hint="--runtime torch does without it.",
                ) from error
            self._sessions[names] = session
        return self._sessions[names]


def needed(graph: Any, outputs: Iterable[str]) -> set[str]:
    """Return the names of all values of a graph that lead to some of its outputs."""
    names = set(outputs)
    for node in reversed(graph.node):  # which follow each other in the order of computation
        if not names.isdisjoint(node.output):
            names.update(_read_by(node))
    return names


def _read_by(node: Any) -> Iterable[str]:
    """Yield what a node reads, with what the branches inside it read."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node if attribute.HasField("g") else ():
            yield from _read_by(inner)


def part(model: Any, outputs: Sequence[str]) -> Any:
    """Return the part of a model that leads to some of its outputs."""
    kept = type(model)()
    kept.CopyFrom(model)
    names = needed(model.graph, outputs)
    for field, of in (("node", lambda node: node.output), ("initializer", lambda tensor: [tensor.name])):
        entries = getattr(kept.graph, field)
        staying = [entry for entry in getattr(model.graph, field) if not names.isdisjoint(of(entry))]
        del entries[:]
        entries.extend(staying)
    inputs = [each for each in model.graph.input if each.name in names]
    made = {each.name: each for each in model.graph.output}
    del kept.graph.input[:], kept.graph.output[:]
    kept.graph.input.extend(inputs)
    kept.graph.output.extend(made[name] for name in outputs)
    return kept
