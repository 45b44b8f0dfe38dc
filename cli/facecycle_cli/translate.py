"""`facecycle translate`: photographs and videos to the same with frontal and re-expressed faces."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facecycle.errors import ConfigError, DataError
from facecycle_cli import flags
from facecycle_cli.console import occasionally, say

if TYPE_CHECKING:
    from facecycle.runtimes.base import Runtime
    from facecycle.translation.files import Translation, Wanted


class Format(StrEnum):
    """Formats of pictures."""

    png = "png"
    jpg = "jpg"
    webp = "webp"


def translate(
    images: Annotated[list[Path], typer.Argument(help="Photographs, folders of them, or videos.")],
    driver: Annotated[
        Path | None, typer.Option(help="A second face: the first one wears its expression, and identities are swapped.")
    ] = None,
    checkpoint: flags.Checkpoint = None,
    out: Annotated[Path, flags.out("Folder for the pictures.")] = Path("translations"),
    face: Annotated[
        str, typer.Option(metavar="N|all", help="Which face of a photograph: 1 is the largest; or all.")
    ] = "1",
    crop: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="Where the face of each photograph is."),
    ] = None,
    detector: Annotated[
        str, typer.Option(help="What finds faces: yunet, centre (the middle square), or a plugin's name.")
    ] = "yunet",
    strength: Annotated[
        list[float] | None,
        typer.Option(help="How far faces move: 0 not at all, 1 as learned, at most 1.5. Repeats, for a sheet of each."),
    ] = None,
    format: Annotated[Format, typer.Option(help="Format of pictures at the photograph's resolution.")] = Format.png,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Quality of jpg and webp.")] = 95,
    seed: Annotated[int, typer.Option(min=-(2**62), max=2**62, help="Seed of the generator's noise.")] = 0,
    runtime: flags.Runtime = None,
) -> None:
    """Turn faces to the front, within their photographs; make them neutral, and let them wear another's expression.

    Example: facecycle translate img.jpg --driver other.jpg
    """
    from facecycle.data.images import parse_crop, reason
    from facecycle.data.video import is_video
    from facecycle.machine import keep_pages
    from facecycle.runtimes.choose import choose
    from facecycle.translation.files import Wanted, expand, translate_files

    strengths = strength or [1.0]
    wanted = Wanted(
        detector=detector,
        crop=None if crop is None else parse_crop(crop),
        face=_which(face),
        strength=strengths[0],
        strengths=sorted(strengths) if len(strengths) > 1 else (),
        suffix=format.value,
        quality=quality,
        seed=seed,
    )
    keep_pages()
    videos = [path for path in images if is_video(path)]
    photographs = [path for path in images if path not in videos]
    if photographs and driver is not None and is_video(driver):
        raise ConfigError(f"--driver {driver} is a video, which drives videos alone", hint="Name a photograph.")
    _check_videos(videos, driver)
    one_by_one = "A video is translated when it is named itself: facecycle translate FOLDER/NAME.mp4"
    paths = expand(photographs, say, one_by_one, out)  # a wrong path is named before networks are loaded
    chosen, why = choose(checkpoint, runtime)
    say(f"checkpoint: {chosen.origin}\nruntime: {why}")
    if paths:
        _say_what_was_made(translate_files(chosen, paths, out, wanted, driver), wanted.face, out)
    failed: dict[Path, DataError] = {}
    for path in videos:
        try:
            _translate_video(chosen, path, out, wanted, driver)
        except DataError as error:
            if len(paths) + len(videos) == 1:
                raise
            failed[path] = error
            say(f"skipped {path}: {reason(path, error)}" + (f". {error.hint}" if error.hint else ""))
    if failed and len(failed) == len(videos) and not paths:
        first = failed[videos[0]]
        raise DataError(
            f"none of the videos could be translated; {videos[0]}: {reason(videos[0], first)}", hint=first.hint
        )


def _check_videos(videos: list[Path], driver: Path | None) -> None:
    if not videos:
        return
    from facecycle.translation.video import written_as

    written = [written_as(path) for path in videos]
    if twice := [name for name in written if written.count(name) > 1]:
        raise ConfigError(
            f"two videos would be written to one file, {twice[0]}",
            hint="Translate one after the other, each with an --out of its own.",
        )
    for path in [*videos, *([driver] if driver else [])]:
        if not path.exists():
            raise DataError(f"there is no file {path}")


def _translate_video(runtime: Runtime, path: Path, out: Path, wanted: Wanted, driver: Path | None) -> None:
    from facecycle.translation.video import translate_video

    # A video takes minutes. Whoever ends it is told that it goes on.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    made = translate_video(runtime, path, out, wanted, driver, occasionally(), say)
    if made.cut_short:
        say(f"{path}: it was cut short, {made.cut_short:.1f} s of pictures are missing")
    if made.moved < made.frames:
        say(f"{path}: {made.frames - made.moved:,} frames show no face, and stay as they are")
    say(f"video: {made.path}, {made.frames:,} frames in {sum(made.seconds.values()):.0f} s")


def _say_what_was_made(result: Translation, face: int | str, out: Path) -> None:
    if result.missing:
        say(f"left out {', '.join(result.missing)}: the checkpoint did not train the cycle they need")
    for name, reason in result.skipped.items():
        say(f"skipped {name}: {reason}")
    for name, doubts in result.doubts.items():
        say(f"{name}: {'; '.join(doubts)}")
    several = {name: count for name, count in result.faces.items() if count > 1 and face == 1}
    for name, count in several.items():
        say(f"{name}: the largest of {count} faces was taken; --face N or --face all takes others")
    for sheet in result.sheets:
        say(f"contact sheet: {sheet}")
    if result.gallery is not None:
        say(f"gallery: {result.gallery}")
    say(f"{len(result.pictures)} pictures in {out}")


def _which(face: str) -> int | str:
    if face == "all":
        return face
    if not (face.isascii() and face.isdigit() and int(face) >= 1):
        raise ConfigError(f"--face {face!r} is neither a number from 1 nor all", hint="1 is the largest face.")
    return int(face)
