"""`facecycle export web`: a folder that turns faces in a browser, without a server that computes."""

from pathlib import Path
from typing import Annotated

import typer

from facecycle_cli import flags
from facecycle_cli.console import say

app = typer.Typer(help="Write what runs elsewhere: a page that computes in the browser.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command()
def web(
    out: Annotated[Path, typer.Argument(help="Folder to write. One that this command wrote is replaced.")],
    checkpoint: flags.Checkpoint = None,
    runtime_folder: Annotated[
        Path, typer.Option(metavar="DIR", help="The npm package onnxruntime-web, unpacked.")
    ] = Path("node_modules/onnxruntime-web"),
) -> None:
    """Write a page that turns faces in the browser alone. A photograph never leaves the machine.

    Example: facecycle export web site/ --runtime-folder package
    """
    from facecycle.serving.export_folder import export_folder

    export_folder(checkpoint, runtime_folder, out)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    say(f"page: {out / 'index.html'}, {size / 1e6:.0f} MB\nserve it: python -m http.server --directory {out}")
