"""Write rendered faces as pictures: python -m facecycle_plugins.datasets.synthetic FOLDER COUNT."""

import sys
from pathlib import Path

from PIL import Image

from facecycle_plugins.datasets.synthetic import SyntheticDataset, SyntheticOptions

SIZE = 128


def write_faces(folder: Path, count: int) -> None:
    """Write one face each of `count` people whom no training run has seen, as `face01.png` and so on."""
    dataset = SyntheticDataset(SyntheticOptions(identities=1, test_identities=max(20, count)))
    per_person = dataset.options.takes * dataset.options.frames
    pixels, _ = dataset.images([(1 + person) * per_person for person in range(count)], SIZE)
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(pixels, 1):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"face{number:02d}.png")


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdigit() or sys.argv[2] == "0":
        sys.exit(__doc__)
    write_faces(Path(sys.argv[1]), int(sys.argv[2]))
