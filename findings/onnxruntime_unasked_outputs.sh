#!/usr/bin/env bash
# onnxruntime 1.32.0 computes a whole graph, whatever outputs `run` is asked for.
#
# One would expect that `session.run(["code"], ...)` leaves out what only other outputs need, the more so as RunOptions
# has `only_execute_path_to_fetches`, which changes nothing. It is met where one graph has codes and pictures as
# outputs: a code of 2 ms then takes the 54 ms of the pictures. What to do: cut the graph to the outputs that are asked
# for before the session is made (onnx.utils.Extractor, or a walk from the outputs back).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import json

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

value = helper.make_tensor_value_info
nodes = [helper.make_node("Relu", ["x"], ["code"]), helper.make_node("MatMul", ["x", "x"], ["picture"])]
outputs = [value(name, TensorProto.FLOAT, [4, 4]) for name in ("code", "picture")]
graph = helper.make_graph(nodes, "two", [value("x", TensorProto.FLOAT, [4, 4])], outputs)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
for only in (False, True):
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    run = onnxruntime.RunOptions()
    run.only_execute_path_to_fetches = only
    session.run(["code"], {"x": np.ones((4, 4), np.float32)}, run)
    with open(session.end_profiling()) as file:
        events = json.load(file)
    ran = sorted({event["args"]["op_name"] for event in events if event["cat"] == "Node"})
    print(f"asked for the Relu, only_execute_path_to_fetches={only}: ran {', '.join(ran)}")
    assert ran == ["MatMul", "Relu"], "the behaviour has changed"
END
