"""`facecycle embed`: a folder of faces to a parquet file of codes."""

from pathlib import Path
from typing import Annotated

import typer

from facecycle.errors import DataError
from facecycle_cli import flags
from facecycle_cli.console import occasionally, say


def embed(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of images.")],
    out: Annotated[Path, flags.out("The file to write: .parquet, .csv, or .npy with the names beside it.")] = Path(
        "codes.parquet"
    ),
    feature: Annotated[
        list[str] | None,
        typer.Option(help="expression, identity, conv, identity_conv; the codes when left out. Repeats."),
    ] = None,
    checkpoint: flags.Checkpoint = None,
    runtime: flags.Runtime = None,
) -> None:
    """Write expression and identity codes of faces, or other features: path, status, and the numbers.

    Example: facecycle embed faces/ -o codes.parquet
    """
    import time

    from facecycle.distributed import join
    from facecycle.machine import keep_pages
    from facecycle.probing.embed import check_output, embed_files
    from facecycle.runtimes.choose import choose
    from facecycle.translation.files import expand

    keep_pages()
    join()
    check_output(out)
    paths = expand(images, say, "Make images of their faces first: facecycle data crop FOLDER -o crops/")
    chosen, why = choose(checkpoint, runtime)
    say(f"checkpoint: {chosen.origin}\nruntime: {why}")
    tell = occasionally()
    start = time.monotonic()
    bad = embed_files(chosen, paths, out, feature or [], lambda done: tell(f"{done:,} of {len(paths):,} images"))
    for path, reason in bad.items():
        say(f"skipped {path}: {reason}")
    rate = len(paths) / (time.monotonic() - start)
    say(f"{out}: {len(paths) - len(bad):,} of {len(paths):,} images, {rate:.0f} per second")
    if len(bad) == len(paths):
        raise DataError(f"{out} holds no features, because none of the images has any", hint="Its rows say why.")
