"""`facecycle translate`: photographs to neutral, frontalised and swapped faces."""

from pathlib import Path
from typing import Annotated

import typer

from facecycle_cli import flags
from facecycle_cli.console import say


def translate(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of images.")],
    driver: Annotated[Path | None, typer.Option(help="A second face: swap expressions and identities with it.")] = None,
    checkpoint: flags.Checkpoint = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("translations"),
    crop: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="Face region in pixels; the centre square when left out."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generator's noise.")] = 0,
    runtime: flags.Runtime = None,
) -> None:
    """Neutralise faces, turn them to the front, and swap what they wear.

    Example: facecycle translate img.jpg --driver other.jpg
    """
    from facecycle.data.images import parse_crop
    from facecycle.machine import keep_pages
    from facecycle.runtimes.choose import choose
    from facecycle.translation.files import expand, translate_files

    region = parse_crop(crop) if crop is not None else None
    keep_pages()
    paths = expand(images, say)  # a wrong path is named before networks are loaded
    chosen, why = choose(checkpoint, runtime)
    result = translate_files(chosen, paths, out, driver=driver, crop=region, seed=seed)
    say(f"checkpoint: {chosen.origin}\nruntime: {why}")
    if result.missing:
        say(f"left out {', '.join(result.missing)}: the checkpoint did not train the cycle they need")
    for name, reason in result.skipped.items():
        say(f"skipped {name}: {reason}")
    for sheet in result.sheets:
        say(f"contact sheet: {sheet}")
    if result.gallery is not None:
        say(f"gallery: {result.gallery}")
    say(f"{len(result.pictures)} pictures in {out}")
