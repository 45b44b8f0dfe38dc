#!/usr/bin/env bash
# safetensors 0.8.0 writes a Fortran-ordered numpy array in another order than its shape says, without an error.
#
# The documentation asks for contiguous and dense arrays, and this one is. Its memory is written as it lies, and read
# back by rows. scipy.linalg.svd and scikit-learn's PCA (svd_solver="full") return such arrays, and so does the
# transpose of any matrix. Version 0.7.0 wrote the same array correctly. What to do: numpy.ascontiguousarray before
# saving.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import numpy as np
from safetensors.numpy import load, save

weights = np.arange(6, dtype=np.float32).reshape(2, 3)
fortran = np.asfortranarray(weights)
assert (fortran == weights).all() and fortran.flags.f_contiguous
print("saved:\n", fortran)
read = load(save({"weights": fortran}))["weights"]
print("read back:\n", read)
assert read.tolist() == [[0, 3, 1], [4, 2, 5]], "the behaviour has changed"
assert (load(save({"weights": np.ascontiguousarray(fortran)}))["weights"] == weights).all()
END
