#!/usr/bin/env bash
# onnx 1.23.2 refuses external data in the cache of the Hugging Face hub, from which onnxruntime 1.32.0 computes.
#
# The cache keeps a file's bytes in blobs/ and links to them from snapshots/COMMIT/. One would expect that a model which
# onnxruntime opens there can be opened by onnx too, and that onnxruntime takes its bytes as it takes its path. It is met
# by every model whose tensors lie in a second file, after `snapshot_download`. What to do: load the graph with
# `load_external_data=False`, and give onnxruntime the path of the graph. Or give it bytes in which `location` is the name
# of the resolved file, with its resolved folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
mkdir -p "$folder/cache/blobs" "$folder/cache/snapshots/commit"
cd "$folder/cache"
../venv/bin/python - <<'END'
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

snapshot = Path("snapshots/commit")
weight = numpy_helper.from_array(np.full((4, 4), 2, np.float32), "weight")
value = helper.make_tensor_value_info
ends = [[value(name, TensorProto.FLOAT, [4, 4])] for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("Mul", ["x", "weight"], ["y"])], "doubled", *ends, [weight])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
saved = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
onnx.save_model(model, "model.onnx", **saved)
for name in ("model.onnx", "weights.bin"):
    Path(name).rename(f"blobs/{name}-digest")
    (snapshot / name).symlink_to(f"../../blobs/{name}-digest")

x = np.ones((4, 4), np.float32)
(made,) = onnxruntime.InferenceSession(snapshot / "model.onnx").run(None, {"x": x})
print(f"onnxruntime, the path: computes {made[0, 0]}")
assert made[0, 0] == 2

options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(snapshot.resolve()))
try:
    onnxruntime.InferenceSession((snapshot / "model.onnx").read_bytes(), options)
    raise SystemExit("the behaviour has changed: onnxruntime takes the bytes")
except Exception as error:
    print(f"onnxruntime, the bytes and the folder: {str(error)[:200]}")

try:
    onnx.load(snapshot / "model.onnx")
    raise SystemExit("the behaviour has changed: onnx loads it")
except onnx.checker.ValidationError as error:
    print(f"onnx.load: {error}")
    assert "symbolic link" in str(error)
END
