#!/usr/bin/env bash
# Pillow 13.0.0 turns a 16-bit grey PNG nearly white, where the same picture as 16-bit colour looks right.
#
# A ramp from black to white, once as grey and once as RGB. The grey file opens as I;16, and convert("RGB") cuts every
# value above 255 to 255. The colour file opens as RGB, with the high byte of each value. Depth and near-infrared
# cameras write such grey files. What to do: divide an I;16 image by 257 before converting it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import io
import struct
import zlib

import numpy as np
from PIL import Image

ramp = np.linspace(0, 65535, 6).astype(">u2")


def png(channels, colour_type):
    """One row of 16-bit pixels as a PNG file."""
    row = b"\0" + np.repeat(ramp, channels).tobytes()
    header = struct.pack(">IIBBBBB", len(ramp), 1, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row)), (b"IEND", b""))
    body = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(body))


grey, colour = Image.open(png(1, 0)), Image.open(png(3, 2))
seen = [np.asarray(image.convert("RGB"))[0, :, 0].tolist() for image in (grey, colour)]
print(f"grey, opened as {grey.mode}: {seen[0]}\ncolour, opened as {colour.mode}: {seen[1]}")
assert (grey.mode, seen[0]) == ("I;16", [0, 255, 255, 255, 255, 255]), "the behaviour has changed"
assert (colour.mode, seen[1]) == ("RGB", [0, 51, 102, 153, 204, 255]), "the behaviour has changed"
END
