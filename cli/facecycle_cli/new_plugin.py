"""The package that `facecycle plugins new` writes."""

from __future__ import annotations

import re
from pathlib import Path

from facecycle.atomic import write_text
from facecycle.discovery import canonical
from facecycle.errors import ConfigError, RunError

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"
description = "An encoder for facecycle"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["facecycle", "torch"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points."facecycle.encoders"]
{name} = "{module}.encoder:{cls}"

[tool.hatch.build.targets.wheel]
packages = ["src/{module}"]
"""

ENCODER = '''\
"""The encoder `{name}`: four strided convolutions."""

from __future__ import annotations

from facecycle.api import Options as BaseOptions
from pydantic import Field
from torch import Tensor, nn


class {cls}Options(BaseOptions):
    """Options of the encoder."""

    width: int = Field(32, ge=1)
    """Channels of the first convolution; each further one has twice as many."""


class {cls}(nn.Module):
    """Images (B, 3, H, W) to features (B, 8 * width, H / 16, W / 16)."""

    facecycle_api = (1, 0)
    Options = {cls}Options
    stride = 16

    def __init__(self, options: {cls}Options) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in (options.width * 2**i for i in range(4)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.channels = inputs

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images to a feature map."""
        return self.layers(images)
'''

TEST = '''\
"""The encoder keeps the promises of facecycle's encoder protocol."""

from facecycle.testing import EncoderContract


class TestEncoder(EncoderContract):
    name = "{name}"
'''

README = """\
# {name}

An encoder plugin for facecycle.

    pip install -e ".[test]"
    pytest
    facecycle plugins show {name}
    facecycle pretrain --encoder {name}
"""


def write_package(name: str, folder: Path) -> Path:
    """Write the package `name` into a new folder.

    Raises:
        ConfigError: the name cannot be a package's, or the folder is in use.
        RunError: the folder cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ConfigError(
            f"{name!r} cannot name a package",
            hint="Use lower-case letters, digits and single hyphens: my-encoder.",
        )
    if canonical(name) == "facecycle":
        raise ConfigError(f"{name!r} is this package's own name", hint="Choose another.")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} exists and is not empty", hint="Choose another folder with --out.")
    except OSError as error:
        raise RunError(f"cannot use {folder}: {error.strerror}") from error
    module = name.replace("-", "_")
    cls = "".join(part.capitalize() for part in name.split("-"))
    files = {
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        f"src/{module}/__init__.py": '"""An encoder plugin for facecycle."""\n',
        f"src/{module}/encoder.py": ENCODER,
        "tests/test_contract.py": TEST,
    }
    for path, text in files.items():
        write_text(folder / path, text.format(name=name, module=module, cls=cls))
    return folder
