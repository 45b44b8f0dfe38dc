"""Draw the documents' pictures by the weights that come with the package: python recipes/default_weights/sheet.py OUT.

`strip.png` is the README's: scikit-image's astronaut before and after, and her frontal and neutral face. `default.png`
is the contact sheet of docs/results.md, of the astronaut and rendered faces. Both are made by `facecycle translate`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from facecycle_plugins.datasets.synthetic.__main__ import write_faces
from PIL import Image, ImageDraw, ImageFont
from skimage.data import astronaut

FACE = (150, 10, 330, 190)
"""Left, top, right and bottom of the astronaut's face."""
SHOWN = (96, 0, 352, 256)
"""What the strip shows of the photographs."""
FACES = 2
CELL, GAP, TITLE = 216, 6, 26
"""Side of a picture of the strip, space between two, and height of their titles."""


def strip(pictures: dict[str, Image.Image]) -> Image.Image:
    """Lay pictures side by side, each below its name."""
    sheet = Image.new("RGB", (len(pictures) * (CELL + GAP) - GAP, TITLE + CELL), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for column, (title, picture) in enumerate(pictures.items()):
        left = column * (CELL + GAP)
        draw.text((left + CELL // 2, TITLE // 2), title, fill="black", font=font, anchor="mm")
        sheet.paste(picture.resize((CELL, CELL), Image.Resampling.BICUBIC), (left, TITLE))
    return sheet


def main() -> None:
    """Write the inputs, translate them, and draw."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder, made = Path(name, "faces"), Path(name, "made")
        write_faces(folder, FACES)
        photo = Image.fromarray(astronaut())
        photo.save(folder / "astronaut.png")
        subprocess.run([sys.executable, "-m", "facecycle_cli", "translate", folder, "--out", made], check=True)
        panels = {panel: Image.open(made / f"astronaut-{panel}.png") for panel in ("pasted", "frontal", "neutral")}
        pictures = {"before": photo.crop(SHOWN), "after": panels.pop("pasted").crop(SHOWN), **panels}
        strip(pictures).save(out / "strip.png", optimize=True)
        Image.open(made / "contact_sheet.png").save(out / "default.png", optimize=True)


if __name__ == "__main__":
    main()
