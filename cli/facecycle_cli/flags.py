"""Flags that several commands have."""

from enum import StrEnum
from typing import Annotated, Any

import typer

NAMES = r"Run folder, .safetensors file, hf-hub:OWNER/NAME\[@REVISION] or local-dir:PATH"
"""What weights are named by, in the markup of Typer. It stays text for it: a `Path` would change `hf-hub:a//b`."""
Checkpoint = Annotated[
    str | None, typer.Option(metavar="NAME", help=f"{NAMES}; facecycle's own weights when left out.")
]


def out(help: str) -> Any:
    """Return the option that says where a command writes, with what the help says of it."""
    return typer.Option("--out", "-o", help=help)


class RuntimeName(StrEnum):
    """What can compute."""

    torch = "torch"
    onnx = "onnx"


Runtime = Annotated[
    RuntimeName | None,
    typer.Option(help="What computes. Default: onnx, which starts at once, on a CPU where the weights have a graph."),
]
DataOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="KEY=VALUE",
        help="An option of the data set, key=value; `facecycle plugins show KIND` lists them. Repeats.",
    ),
]
AllowMissing = Annotated[
    bool,
    typer.Option(
        "--allow-missing", help="Leave out what the data set's lists name and the disk lacks, and say how much that is."
    ),
]
