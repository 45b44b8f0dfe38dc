#!/usr/bin/env bash
# safetensors 0.8.0 writes files that only their owner may read, whatever the umask says.
#
# With umask 022 every other file of a run is readable by the group and others (0644), and the weights are 0600. A
# colleague, or a server that runs as another user, finds a run folder whose weights it may not open. Version 0.7.0
# wrote 0644. What to do: chmod after saving.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import os
import stat

import numpy as np
from safetensors.numpy import save_file

os.umask(0o022)
tensors = {"weight": np.zeros(4, np.float32)}
np.savez("weights.npz", **tensors)
save_file(tensors, "weights.safetensors")
modes = {name: oct(stat.S_IMODE(os.stat(name).st_mode)) for name in ("weights.npz", "weights.safetensors")}
print(modes)
assert modes == {"weights.npz": "0o644", "weights.safetensors": "0o600"}, "the behaviour has changed"
END
