"""Draw the README's sheet with the weights that come with the package: python recipes/default_weights/sheet.py OUT.

The astronaut of scikit-image, and rendered faces.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from facecycle_plugins.datasets.synthetic.__main__ import write_faces
from PIL import Image
from skimage.data import astronaut

from facecycle.networks import load
from facecycle.translation.files import expand, translate_files

FACE = (150, 10, 330, 190)
"""Left, top, right and bottom of the astronaut's face."""
FACES = 4


def main() -> None:
    """Write the inputs, and translate them."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_faces(folder, FACES)
        Image.fromarray(astronaut()).crop(FACE).save(folder / "astronaut.png")
        print(*translate_files(load(None), expand([folder]), Path(sys.argv[1])).sheets)


if __name__ == "__main__":
    main()
