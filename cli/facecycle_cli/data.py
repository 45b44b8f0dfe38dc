"""How the command line names a data set, and `facecycle data check`, `data crop` and `data shard`."""

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from facecycle.errors import ConfigError, DataError, MalformedError
from facecycle_cli import flags
from facecycle_cli.console import occasionally, say

app = typer.Typer(
    help="Look at data sets before using them, align their faces, and write them as shards.", no_args_is_help=True
)
URL = re.compile(r"[a-z][a-z0-9+.-]+:")


def parse(text: str, default_kind: str, given: str = "--data") -> dict[str, Any]:
    """Turn a `--data` value into a component's name and options.

    Args:
        text: an existing path, `KIND:PATH`, `KIND:URL`, or `synthetic`.
        default_kind: the data set that reads a path without a kind.
        given: the flag or the argument that the value was given as.

    Raises:
        DataError: nothing by that name exists.
    """
    if os.path.exists(text):  # unlike Path.exists, false for what cannot be a path at all
        return {"name": default_kind, "options": {"path": str(Path(text))}}
    if text == "synthetic":
        return {"name": text, "options": {}}
    kind, colon, rest = text.partition(":")
    if not colon:
        raise DataError(f"{given} {text}: there is no file or folder of that name")
    if not URL.match(rest) and not os.path.exists(rest):  # a URL is the data set's own affair
        raise DataError(f"{given} {text}: there is no file or folder {rest}")
    return {"name": kind, "options": {"path": rest}}


def with_options(components: list[dict[str, Any]], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Give each data set the options it has; an option that none of them has is an error.

    Raises:
        ConfigError: nobody has an option.
    """
    if not options:
        return components
    from facecycle import registry

    fields = [registry.load(registry.find("dataset", c["name"])).Options.model_fields for c in components]
    for option in options:
        if not any(option in known for known in fields):
            names = " and ".join(c["name"] for c in components)
            raise ConfigError(
                f"{names} has no option {option!r}",
                hint=f"Options: {', '.join(dict.fromkeys(name for known in fields for name in known))}.",
            )
    return [
        {**c, "options": {**c["options"], **{k: v for k, v in options.items() if k in known}}}
        for c, known in zip(components, fields, strict=True)
    ]


def build(components: list[dict[str, Any]], options: dict[str, Any]) -> list[Any]:
    """Build data sets with the options they have.

    Raises:
        ConfigError: nobody has an option, or a value is wrong.
        DataError: the data cannot be used.
    """
    from facecycle import registry

    return [registry.build("dataset", c["name"], c["options"]) for c in with_options(components, options)]


def parse_options(assignments: list[str] | None, allow_missing: bool) -> dict[str, Any]:
    """Turn `--option key=value` and `--allow-missing` into options of a data set."""
    from facecycle.config.layers import set_layer

    given = set_layer(assignments, "--option", "min_frames=4")[1] if assignments else {}
    return {**given, **({"allow_missing": True} if allow_missing else {})}


@app.command()
def check(
    kind: Annotated[str, typer.Argument(help="A data set's name: raf-db, lfw, 300w-lp, tracks.")],
    path: Annotated[str | None, typer.Argument(help="Where it lies: a path, or what `--data KIND:` takes.")] = None,
    out: Annotated[Path, flags.out("Folder for the contact sheet.")] = Path("data-check"),
    option: flags.DataOptions = None,
    allow_missing: flags.AllowMissing = False,
) -> None:
    """Count a data set against what is published, draw a sheet of samples, and name every malformed row.

    Example: facecycle data check raf-db RAF-DB/basic
    """
    from facecycle.data.check import check_data
    from facecycle.data.frame_cache import limit

    component = {"name": kind, "options": {"path": path} if path is not None else {}}
    try:
        (dataset,) = build([component], parse_options(option, allow_missing))
        with limit(0):  # room for every frame would be reserved, for a sheet of a few
            lines, unreadable = check_data(dataset, out / f"{kind}.png")
    except MalformedError as error:
        for problem in error.problems:
            say(problem)
        count = len(error.problems)
        raise DataError(
            f"{path}: {count} {'row is' if count == 1 else 'rows are'} malformed; see above", hint=error.hint
        ) from error
    for line in lines:
        say(line)
    for name, reason in unreadable.items():
        say(f"unreadable  {name}: {reason}")
    say(f"samples: {out / f'{kind}.png'}")
    say(f"terms: {dataset.licence}")


@app.command()
def crop(
    folder: Annotated[Path, typer.Argument(help="Folder of photographs and videos, or a video.")],
    out: Annotated[Path, flags.out("Folder of the crops.")] = Path("crops"),
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side of the crops, in pixels.")] = 128,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per core.")] = None,
    detector: Annotated[str, typer.Option(help="What finds the faces: yunet, or a plugin's name.")] = "yunet",
    fps: Annotated[float, typer.Option(min=0.01, max=240, help="Frames per second that are taken of videos.")] = 5.0,
) -> None:
    """Find the largest face of every photograph, and cut it out as the networks expect faces.

    A video becomes a track: a folder of crops of its frames. Other folders and file names stay as they are, and
    faces.parquet says what was found. A command that was stopped goes on when it is repeated.

    Example: facecycle data crop photographs/ -o crops/
    """
    from facecycle.faces.crop_folder import crop_folder

    tell = occasionally()
    result = crop_folder(
        folder,
        out,
        size=size,
        detector=detector,
        fps=fps,
        workers=workers or os.cpu_count() or 1,
        tell=lambda done, total: tell(f"{done:,} of {total:,} files"),
    )
    for line in result.lines(folder, out):
        say(line)
    result.check(folder)


@app.command()
def shard(
    data: Annotated[str, typer.Argument(help="Folder of tracks or stills, list file, or KIND:PATH.")],
    out: Annotated[Path, flags.out("Folder of the shards.")] = Path("shards"),
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side of the frames, in pixels.")] = 64,
    shard_mb: Annotated[float, typer.Option(min=0.01, max=200, help="Largest size of a shard, in MiB.")] = 32,
    option: flags.DataOptions = None,
    allow_missing: flags.AllowMissing = False,
) -> None:
    """Write the tracks of a data set as tar files, to train from storage that is larger or slower than a disk.

    The same data gives the same files; a command that was stopped goes on when it is repeated.

    Example: facecycle data shard faces/ -o shards/ --size 64
    """
    from facecycle.data.frame_cache import limit
    from facecycle.data.shards.write import write_shards

    (dataset,) = build([parse(data, "tracks", "DATA")], parse_options(option, allow_missing))
    tell = occasionally()
    with limit(0):  # each frame is read once
        written = write_shards(dataset, out, size, shard_mb, lambda done, total: tell(f"{done:,} of {total:,} tracks"))
    index = written.index
    for name, reason in index.bad_frames.items():
        say(f"skipped {name}: {reason}")
    if index.bad_frames:
        say(f"left out: {len(index.bad_frames):,} images that cannot be read, {written.empty:,} tracks without another")
    tracks = sum(len(entry.tracks) for entry in index.shards)
    frames, size_mb = sum(entry.frames for entry in index.shards), sum(entry.bytes for entry in index.shards) / 1024**2
    before = f" ({written.kept:,} were there before)" if written.kept else ""
    say(f"{out}: {len(index.shards):,} shards{before}, {tracks:,} tracks, {frames:,} images, {size_mb:,.1f} MiB")
    say(f"terms: {index.licence}")
