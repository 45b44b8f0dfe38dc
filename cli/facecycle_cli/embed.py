"""`facecycle embed`: a folder of faces to a parquet file of codes."""

from pathlib import Path
from typing import Annotated

import typer

from facecycle_cli import flags
from facecycle_cli.console import occasionally, say


def embed(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The parquet file to write.")] = Path("codes.parquet"),
    checkpoint: flags.Checkpoint = None,
) -> None:
    """Write expression and identity codes of faces: path, status, and 256 numbers per code.

    Example: facecycle embed faces/ -o codes.parquet
    """
    import time

    from facecycle.distributed import join
    from facecycle.networks import load, origin
    from facecycle.probing.embed import embed_files
    from facecycle.translation.files import expand

    join()
    paths = expand(images, say)
    loaded = load(checkpoint)
    say(f"checkpoint: {origin(loaded.checkpoint)}")
    tell = occasionally()
    start = time.monotonic()
    bad = embed_files(loaded, paths, out, lambda done: tell(f"{done:,} of {len(paths):,} images"))
    for path, reason in bad.items():
        say(f"skipped {path}: {reason}")
    rate = len(paths) / (time.monotonic() - start)
    say(f"{out}: {len(paths) - len(bad):,} of {len(paths):,} images, {rate:.0f} per second")
