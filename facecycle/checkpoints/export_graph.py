"""Networks to an ONNX graph beside their weights, checked against torch before it is kept."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from facecycle.atomic import write_atomically
from facecycle.checkpoints import model_file
from facecycle.checkpoints.graph_file import ENTRY, GraphFacts, graph_of
from facecycle.checkpoints.model_file import Checkpoint
from facecycle.checkpoints.places import Name
from facecycle.checkpoints.tensor_file import Stored, byte_ranges
from facecycle.data.images import MEAN, STD
from facecycle.errors import CheckpointError
from facecycle.networks import load

OPSET = 20
EXPORTED, CHECKED = 2, (1, 3)
"""Sizes of the batch that is traced, and of those that are compared with torch: neither is the traced one."""
EXACT = 1e-4
"""Largest difference from torch that is allowed, relative to the largest number of an output."""
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
    found = model_file.read(source)
    if found.path.is_symlink():
        raise CheckpointError(
            f"{source} lies in a cache, or is another link, where no graph can stand beside the weights",
            hint="Export a copy: facecycle checkpoint export NAME -o FILE.safetensors --onnx",
        )
    whole = _Whole(load(source, warper="reference").method, found)
    with _explained(found):
        shapes = whole.drawn_shapes()
        model = _traced(whole, found.config.size, shapes)
    _take_from(found.path, model)
    facts = GraphFacts(
        facecycle=version("facecycle"),
        weights=found.path.name,
        sha256=found.sha256(),
        size=found.config.size,
        mean=tuple(MEAN.ravel().tolist()),
        deviation=tuple(STD.ravel().tolist()),
        panels=tuple(whole.panels),
        features=tuple(whole.features),
        licence=found.metadata.get("licence", ""),
    )
    model.metadata_props.add(key=ENTRY, value=json.dumps(facts.model_dump()))
    trusted = _Whole(load(source).method, found)  # with the warper it was trained with
    difference = 0.0

    def write(temporary: Path) -> None:
        nonlocal difference
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        difference = _difference(trusted, temporary, found, shapes)

    write_atomically(graph_of(found.path), write)
    return graph_of(found.path), difference


class _Draws(TorchFunctionMode):
    """Notes what is drawn from a generator, or gives other tensors instead, in the order of the draws."""

    def __init__(self, given: Sequence[Tensor] | None = None) -> None:
        super().__init__()
        self.given, self.shapes = given, list[tuple[int, ...]]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("generator") is None:
            return func(*args, **kwargs)
        if func is not torch.randn:
            raise ValueError(f"noise is drawn by {getattr(func, '__name__', func)}; only torch.randn is exported")
        self.shapes.append(tuple(args if isinstance(args[0], int) else args[0]))
        return func(*args, **kwargs) if self.given is None else self.given[len(self.shapes) - 1]


class _Whole(nn.Module):
    """A method as one function, from images, drivers and noise to all of its trained panels and features."""

    def __init__(self, method: Any, found: Checkpoint) -> None:
        super().__init__()
        self.method, self.size = method, found.config.size
        self.panels = [name for name, cycle in method.panels_from.items() if cycle in found.trained]
        self.features = [name for name, cycle in method.features_from.items() if cycle in found.trained]

    def forward(self, images: Tensor, drivers: Tensor, noise: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with _Draws(noise):
            panels = self._panels(images, drivers)
        features = self.method.features(images, frozenset(self.features)) if self.features else {}
        made = [panels[name].float() for name in self.panels]
        return (*made, *(features[name].flatten(1).float() for name in self.features))

    def _panels(self, images: Tensor, drivers: Tensor) -> dict[str, Tensor]:
        if not self.panels:
            return {}
        return self.method.translate(images, drivers, torch.Generator(), frozenset(self.panels))

    def drawn_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of what the panels draw, which must not depend on the size of the batch."""
        shapes = []
        for batch in CHECKED:
            faces = _faces(batch, self.size)
            with _Draws() as draws, torch.inference_mode():
                self._panels(*faces)
            shapes.append(draws.shapes)
        if shapes[0] != shapes[1]:
            raise ValueError("every image of a batch draws noise of its own")
        if clash := {*self.panels} & {*self.features}:
            raise ValueError(f"{', '.join(sorted(clash))} is both a panel and a feature")
        return shapes[0]


def _faces(batch: int, size: int) -> tuple[Tensor, Tensor]:
    """Return two batches of normalised images of random pixels."""
    noise = torch.Generator().manual_seed(batch)
    unit = torch.rand(2, batch, 3, size, size, generator=noise)
    images, drivers = (unit - torch.from_numpy(MEAN)) / torch.from_numpy(STD)
    return images, drivers


@contextlib.contextmanager
def _explained(found: Checkpoint) -> Iterator[None]:
    """Turn whatever a plugin's code raises while it is traced into an error for the reader."""
    log = logging.getLogger("torch")
    level = log.level
    try:
        log.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"{found.path} cannot be exported, with the encoder {found.config.encoder.name} and the method "
            f"{found.config.method.name}: {first}",
            hint="Networks can be exported that are made of torch's own operations and take the size of a batch from "
            "x.shape[0], not len(x). With torch they run as they are.",
        ) from error
    finally:
        log.setLevel(level)


def _traced(whole: _Whole, size: int, shapes: Sequence[tuple[int, ...]]) -> onnx.ModelProto:
    """Trace a method, with a free size of the batch, and return its graph, without the exporter's notes."""
    batch, noise = torch.export.Dim("batch"), [torch.zeros(shape) for shape in shapes]
    free = ({0: batch}, {0: batch}, [None] * len(noise))
    with torch.no_grad():
        # Exported here, because `torch.onnx.export` fixes a batch that cannot be free without a word.
        program = torch.export.export(whole.eval(), (*_faces(EXPORTED, size), noise), dynamic_shapes=free, strict=False)
        inputs = ["images", "drivers", *(f"noise_{number}" for number in range(len(noise)))]
        outputs = [*whole.panels, *whole.features]
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


def _difference(trusted: _Whole, graph: Path, found: Checkpoint, shapes: Sequence[tuple[int, ...]]) -> float:
    """Return the largest difference of a graph's outputs from torch's, in batches of other sizes than the traced one.

    Raises:
        CheckpointError: it is too large.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    largest = 0.0
    for batch in CHECKED:
        images, drivers = _faces(batch, found.config.size)
        source = torch.Generator().manual_seed(0)
        noise = [torch.randn(shape, generator=source) for shape in shapes]
        with torch.inference_mode():
            expected = trusted(images, drivers, noise)
        given = dict(zip((each.name for each in session.get_inputs()), (images, drivers, *noise), strict=True))
        made = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
        for name, mine, wanted in zip((*trusted.panels, *trusted.features), made, expected, strict=True):
            difference = float(np.abs(mine - wanted.numpy()).max() / max(float(wanted.abs().max()), 1e-30))
            if not difference <= EXACT:
                raise CheckpointError(
                    f"the graph of {found.path} differs from torch: {name} by {difference:.1e} of its largest number, "
                    f"for {batch} images; {EXACT:.0e} are allowed",
                    hint="Nothing was written. A plugin computes otherwise when it is exported.",
                )
            largest = max(largest, difference)
    return largest
