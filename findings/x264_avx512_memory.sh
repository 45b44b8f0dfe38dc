#!/usr/bin/env bash
# PyAV 18.1.0's x264 makes other bytes of the same frames, depending on what lay in memory, on processors with AVX-512.
#
# One expects the same bytes, because x264 is deterministic by default. It is met by whoever compares videos by their
# digest, or joins parts that were compressed at different times. It shows where a row has a number of macroblocks that
# does not fill the widest registers, as 160 pixels have, and goes with `mbtree=0` or without AVX-512. What to do: set
# x264-params to asm=AVX2 where the processor has AVX-512. Without it nothing is seen, and the script says so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if ! grep -q avx512f /proc/cpuinfo; then
    echo "this processor has no AVX-512, so nothing is to be seen"
    exit 0
fi
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat > "$folder/encode.py" <<'END'
import hashlib
import sys
from fractions import Fraction

import av
import numpy as np

encoder = av.CodecContext.create("libx264", "w")
encoder.width, encoder.height, encoder.pix_fmt = 160, 144, "yuv420p"
encoder.time_base = Fraction(1, 25)
encoder.options = {"crf": "18", "preset": "veryfast", "x264-params": sys.argv[1]}
rows, columns = np.mgrid[:144, :160]
digest = hashlib.sha256()
for number in range(8):
    waves = 127 + 60 * np.sin(rows / 9 + number / 2) + 60 * np.sin(columns / 7 - number / 3)
    frame = av.VideoFrame.from_ndarray(np.repeat(waves.astype(np.uint8)[..., None], 3, axis=2), format="rgb24")
    frame.pts = number
    for packet in encoder.encode(frame):
        digest.update(bytes(packet))
for packet in encoder.encode(None):
    digest.update(bytes(packet))
print(digest.hexdigest()[:16])
END
seen() { # what glibc fills memory with before it lends it
    for filling in 1 90 170; do
        MALLOC_PERTURB_=$filling "$folder/venv/bin/python" "$folder/encode.py" "$1"
    done | sort -u | wc -l
}
usual=$(seen "asm=auto") narrower=$(seen "asm=AVX2")
echo "different results of three runs: $usual, and $narrower without AVX-512"
[ "$usual" -gt 1 ] && [ "$narrower" -eq 1 ] || { echo "the behaviour has changed" >&2; exit 1; }
