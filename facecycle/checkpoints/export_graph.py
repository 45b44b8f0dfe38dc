"""Networks to an ONNX graph beside their weights, checked against torch before it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from facecycle.atomic import write_atomically
from facecycle.checkpoints.export_program import Whole, difference_of, explained, facts_of, own_file, traced
from facecycle.checkpoints.graph_file import ENTRY, graph_of
from facecycle.checkpoints.places import Name
from facecycle.checkpoints.tensor_file import Stored, byte_ranges
from facecycle.networks import load

OPSET = 20
OUTSIDE = 1024
"""Bytes from which on a tensor is taken from the weights' file; a smaller one takes hardly more room than its place."""
TYPES = {"F32": onnx.TensorProto.FLOAT, "F16": onnx.TensorProto.FLOAT16, "BF16": onnx.TensorProto.BFLOAT16}


def export_graph(source: Name) -> tuple[Path, float]:
    """Write the graph of a checkpoint beside its weights, which it needs and does not repeat.

    Its outputs are the trained panels and features by name. Its inputs are `images` and `drivers`, normalised, in
    batches of any size, and `noise_0` and so on, what the method draws, in that order.

    Args:
        source: a name of weights; see `places`.

    Returns:
        The graph's path, and its largest difference from torch, relative to the largest number of an output.

    Raises:
        CheckpointError: the checkpoint cannot be read, a plugin of it cannot be exported, or the graph differs.
        RunError: it cannot be written.
    """
    found = own_file(source)
    whole = Whole(load(source, warper="reference").method, found)
    with explained(found):
        shapes = whole.drawn_shapes()
        model = _graph(whole, found.config.size, shapes)
    _take_from(found.path, model)
    facts = facts_of(whole, found, shapes)
    model.metadata_props.add(key=ENTRY, value=json.dumps(facts.model_dump()))
    trusted = Whole(load(source).method, found)  # with the warper it was trained with
    difference = 0.0

    def write(temporary: Path) -> None:
        nonlocal difference
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        difference = difference_of("graph", trusted, _computes(temporary), found, shapes)

    write_atomically(graph_of(found.path), write)
    return graph_of(found.path), difference


def _graph(whole: Whole, size: int, shapes: Sequence[tuple[int, ...]]) -> onnx.ModelProto:
    """Return the graph of a method with a free size of the batch, without the exporter's notes."""
    # Traced beforehand, because `torch.onnx.export` fixes a batch that cannot be free without a word.
    program = traced(whole, size, shapes)
    inputs = ["images", "drivers", *(f"noise_{number}" for number in range(len(shapes)))]
    outputs = [*whole.panels, *whole.features]
    with torch.no_grad():
        made = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, input_names=inputs, output_names=outputs, verbose=False
        )
    assert made is not None
    model = made.model_proto
    for node in model.graph.node:
        if node.op_type == "Shape" and node.input[0] == "drivers":
            node.input[0] = "images"  # of the same shape: what needs no driver asks for none
    for entry in (model, model.graph, *model.graph.node, *model.graph.initializer):
        entry.ClearField("metadata_props")
        entry.ClearField("doc_string")
    model.graph.ClearField("value_info")
    return model


def _take_from(weights: Path, model: onnx.ModelProto) -> None:
    """Let a graph's tensors be byte ranges of the weights' file, wherever that holds the same numbers."""
    stored = byte_ranges(weights)
    casts, content = [], np.memmap(weights, np.uint8, "r")
    for tensor in model.graph.initializer:
        there = stored.get(tensor.name.removeprefix("method."))
        if there is None or len(tensor.raw_data) < OUTSIDE or not _same(tensor, there, content):
            continue
        name, wanted = tensor.name, tensor.data_type
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", weights.name), ("offset", there.offset), ("length", there.length)):
            tensor.external_data.add(key=key, value=str(value))
        if TYPES[there.dtype] != wanted:
            tensor.name, tensor.data_type = f"{name}.stored", TYPES[there.dtype]
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], f"cast {name}", to=wanted))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _same(tensor: onnx.TensorProto, there: Stored, content: np.ndarray) -> bool:
    if there.dtype not in TYPES or tuple(tensor.dims) != there.shape or tensor.data_type != onnx.TensorProto.FLOAT:
        return False
    kept = content[there.offset : there.offset + there.length]
    if there.dtype == "BF16":
        numbers = (kept.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        numbers = kept.view(np.float16 if there.dtype == "F16" else np.float32).astype(np.float32)
    return numbers.tobytes() == tensor.raw_data


def _computes(graph: Path) -> Callable[[Tensor, Tensor, list[Tensor]], list[Tensor]]:
    """Return what a graph computes in onnxruntime, as a function of tensors."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def compute(images: Tensor, drivers: Tensor, noise: list[Tensor]) -> list[Tensor]:
        given = dict(zip(names, (images, drivers, *noise), strict=True))
        return [
            torch.from_numpy(x) for x in session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
        ]

    return compute
