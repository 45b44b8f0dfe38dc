#!/usr/bin/env bash
# SciPy 1.17.1 reads a MATLAB matrix of doubles as bytes, so that differences of landmarks wrap around.
#
# MATLAB stores a double matrix of small whole numbers as bytes to save space, and says `double` in its header. loadmat
# returns the stored type unless mat_dtype=True. Landmarks and boxes of face data sets come in such files. 10 - 20 is
# then 246. SciPy's own savemat does not store numbers so, so a test that writes its files with SciPy never sees it.
# What to do: mat_dtype=True, or astype(float).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scipy==1.17.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import io
import struct

import numpy as np
from scipy.io import loadmat

INT8, UINT8, INT32, UINT32, MATRIX, DOUBLE_CLASS = 1, 2, 5, 6, 14, 6


def element(kind, data):
    """A data element of a level 5 MAT-file, padded to 8 bytes."""
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


points = np.array([[10, 20], [30, 5]], np.uint8)
body = element(UINT32, struct.pack("<II", DOUBLE_CLASS, 0)) + element(INT32, struct.pack("<ii", *points.shape))
body += element(INT8, b"points") + element(UINT8, points.tobytes(order="F"))
file = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM") + element(MATRIX, body)

read = loadmat(io.BytesIO(file))["points"]
right = loadmat(io.BytesIO(file), mat_dtype=True)["points"]
print(f"{read.dtype}: x - y = {(read[:, 0] - read[:, 1]).tolist()}")
print(f"{right.dtype}: x - y = {(right[:, 0] - right[:, 1]).tolist()}")
assert read.dtype == np.uint8 and (read[:, 0] - read[:, 1]).tolist() == [246, 25], "the behaviour has changed"
assert right.dtype == np.float64 and (right[:, 0] - right[:, 1]).tolist() == [-10, 25]
END
