"""Turn OpenCV zoo's YuNet into yunet.safetensors and a graph that reads it: python convert.py YUNET.onnx FOLDER.

The published file holds 640 x 640 pixels fixed. The graph written here takes any batch, height and width of multiples
of 32, joins the heads of each stride, and holds no weights: they are byte ranges of the safetensors file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

UNIT = ".conv1"
HEADS = ("cls", "obj", "bbox", "kps")
"""Order of the maps in an output: 1, 1, 4 and 10 channels."""
BODY = ("Conv", "Relu", "MaxPool", "Resize", "Add")


def rename(graph: onnx.GraphProto) -> dict[str, str]:
    """Name the convolutions that lost their names when a batch norm was folded into them."""
    names: dict[str, str] = {}
    before = ""
    for node in (node for node in graph.node if node.op_type == "Conv"):
        weight, bias = node.input[1:]
        if not weight.isdigit():
            before = weight.removesuffix(f"{UNIT}.weight")
        # The first convolution stands alone; every other nameless one is the depthwise half of a unit.
        own = f"{before}.conv2" if before else "backbone.model0.conv1"
        names |= {weight: f"{own}.weight", bias: f"{own}.bias"} if weight.isdigit() else {weight: weight, bias: bias}
    return names


def convert(source: Path, folder: Path) -> None:
    """Write yunet.safetensors and yunet.onnx into a folder."""
    model = onnx.load(source)
    names = rename(model.graph)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    tensors = {names[name]: np.ascontiguousarray(value) for name, value in values.items() if name in names}
    packed = save(tensors)
    (folder / "yunet.safetensors").write_bytes(packed)

    nodes = []
    for node in (node for node in model.graph.node if node.op_type in BODY):
        kept = onnx.NodeProto()
        kept.CopyFrom(node)
        kept.input[:] = [names.get(name, name) for name in node.input]
        if node.op_type == "Resize":
            kept.input[:] = [node.input[0], "", "twice"]
        nodes.append(kept)
    outputs = []
    for level, stride in enumerate((8, 16, 32)):
        heads = [
            next(n.output[0] for n in nodes if f"bbox_head.multi_level_{head}.{level}.conv2.weight" in n.input)
            for head in HEADS
        ]
        nodes.append(helper.make_node("Concat", heads, [f"stride_{stride}"], axis=1))
        shape = ["batch", 16, f"height/{stride}", f"width/{stride}"]
        outputs.append(helper.make_tensor_value_info(f"stride_{stride}", TensorProto.FLOAT, shape))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    for node in nodes:
        node.input[:] = ["images" if name == "input" else name for name in node.input]
    initializers = [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"), *_external(tensors, packed)]
    graph = helper.make_graph(nodes, "yunet", [images], outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, folder / "yunet.onnx")


def _external(tensors: dict[str, np.ndarray], packed: bytes) -> list[TensorProto]:
    """Return tensors that say where their bytes lie in the safetensors file."""
    length = int.from_bytes(packed[:8], "little")
    header = json.loads(packed[8 : 8 + length])
    found = []
    for name, value in tensors.items():
        start, end = header[name]["data_offsets"]
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape)
        tensor.data_location = TensorProto.EXTERNAL
        places = {"location": "yunet.safetensors", "offset": 8 + length + start, "length": end - start}
        for key, place in places.items():
            tensor.external_data.add(key=key, value=str(place))
        found.append(tensor)
    return found


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:3]))
