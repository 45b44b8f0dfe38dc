"""An exported graph beside its weights: where it lies, what it says of itself, whether it belongs to them, a copy.

The graph's tensors are byte ranges of the weights' file, so that neither can be used without the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from facecycle.atomic import file_sha256, write_atomically
from facecycle.errors import CheckpointError

if TYPE_CHECKING:
    import onnx

ENTRY = "facecycle"
"""Entry of the graph's metadata that holds its facts as JSON."""


class GraphFacts(BaseModel):
    """What a graph says of itself."""

    model_config = ConfigDict(frozen=True)

    format: Literal["facecycle-graph/1"] = "facecycle-graph/1"
    facecycle: str
    """Version that wrote it."""
    weights: str
    """Name of the file of the weights, in the same folder."""
    sha256: str
    """Digest of that file."""
    size: int
    """Side of the square images, in pixels."""
    mean: tuple[float, float, float]
    """Is subtracted from RGB in [0, 1]; panels but `flow` are images of that kind too."""
    deviation: tuple[float, float, float]
    """Divides what is left."""
    panels: tuple[str, ...]
    features: tuple[str, ...]
    figure: tuple[str, ...] = ()
    """The panels that are shown of a face, in that order; none is all of them."""
    captions: dict[str, tuple[str, str]] = {}
    """Of panels by name: a title, and a few words on what it shows. Others are called by their names."""
    codes: tuple[str, ...] = ()
    """The features that are computed when none is named; none is the first."""
    noise: tuple[tuple[int, ...], ...] = ()
    """Shapes of what the method draws, in that order. The graph that came with 0.2.0 does not say it here."""
    licence: str = ""


def graph_of(weights: Path) -> Path:
    """Return where the graph of a file of weights lies."""
    return weights.with_suffix(".onnx")


def read(weights: Path) -> tuple[onnx.ModelProto, GraphFacts]:
    """Read the graph of a file of weights.

    Raises:
        CheckpointError: there is none, it cannot be read, or it was made of other weights.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path, command = graph_of(weights), f"`facecycle checkpoint export {weights} --onnx`"
    if not path.is_file():
        raise CheckpointError(f"there is no graph {path}", hint=f"{command} makes it.")
    again = f"{command} makes it again."
    try:
        model = onnx.load(path, load_external_data=False)
        said = {entry.key: entry.value for entry in model.metadata_props}
        facts = GraphFacts.model_validate_json(said[ENTRY])
    except (OSError, DecodeError, KeyError, ValidationError) as error:
        raise CheckpointError(f"{path} is damaged, or no graph of facecycle", hint=again) from error
    if facts.sha256 != file_sha256(weights):
        raise CheckpointError(f"the graph {path} was made of other weights than {weights} holds now", hint=again)
    outside = {e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"}
    if outside - {weights.name}:
        raise CheckpointError(f"{path} takes tensors from other files than {weights.name}", hint=again)
    return model, facts


def copy(weights: Path, target: Path) -> None:
    """Write the graph of weights beside a copy of them that has another name.

    Args:
        weights: have a graph beside them.
        target: a file of the same bytes.

    Raises:
        CheckpointError: there is no graph, it cannot be read, or it was made of other weights.
        RunError: it cannot be written.
    """
    model, facts = read(weights)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = target.name if entry.key == "location" else entry.value
    for entry in model.metadata_props:
        if entry.key == ENTRY:
            entry.value = facts.model_copy(update={"weights": target.name}).model_dump_json()
    content = model.SerializeToString(deterministic=True)
    write_atomically(graph_of(target), lambda temporary: temporary.write_bytes(content))
