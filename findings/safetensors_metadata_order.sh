#!/usr/bin/env bash
# safetensors 0.8.0 writes the metadata in a random order, so the same checkpoint has another digest each time.
#
# Tensors are sorted, and without metadata the bytes repeat. With six metadata entries, 20 files have nearly 20 digests.
# So the sha256 of a file says nothing about whether two runs ended with the same weights. What to do: digest the
# tensors and the sorted metadata, not the file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import hashlib

import numpy as np
from safetensors.numpy import save

tensors = {"weight": np.zeros(4, np.float32)}
metadata = {key: key for key in ("format", "config", "trained", "step", "parent", "licence")}


def digests(**options):
    return {hashlib.sha256(save(tensors, **options)).hexdigest() for _ in range(20)}


bare, described = len(digests()), len(digests(metadata=metadata))
print(f"20 files without metadata: {bare} digest; with six entries: {described} digests")
assert bare == 1, "the behaviour has changed"
assert described > 5, "the behaviour has changed"
END
