"""Make a neutral face of a photograph, and compare faces by their codes, in Python.

    python examples/translate_and_embed.py PHOTO [PHOTO ...]

Writes the first face's pictures to `pictures/`, and prints how alike the expressions and the people are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import facecycle


def cosines(features: np.ndarray) -> np.ndarray:
    """Return the cosine of each face's features (n, D) with the first one's."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit @ unit[0]


def main(photos: list[str]) -> None:
    """Translate the first photograph, and embed all of them."""
    model = facecycle.load()  # or facecycle.load("runs/small-resnet18-001")
    print(f"weights: {model.origin}")

    folder = Path("pictures")
    folder.mkdir(exist_ok=True)
    for panel, picture in model.translate(photos[0], driver=photos[-1]).items():
        picture.save(folder / f"{panel}.png")
        print(f"wrote {folder / panel}.png")

    expression = cosines(model.embed(photos))
    identity = cosines(model.features(photos, "identity_conv"))
    for photo, moved, person in zip(photos, expression, identity, strict=True):
        print(f"{photo}: expression {moved:+.2f}, identity {person:+.2f} like the first")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1:])
    except facecycle.FacecycleError as error:
        sys.exit(f"error: {error}")
