"""Videos among the data of a run: their faces are cropped once, to tracks in the cache, and those are trained on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from facecycle import registry
from facecycle.api import Dataset
from facecycle.cache import cache_home
from facecycle.config.settings import Choice, RunConfig
from facecycle.data.folders import TABLE
from facecycle.data.joined import JoinedTracks
from facecycle.errors import OnlyVideos
from facecycle.faces.crop_folder import crop_folder, fingerprint

SIZE = 128
"""Side of the crops, in pixels, where the networks read no larger ones."""


def joined_tracks(config: RunConfig, say: Callable[[str], None] = lambda text: None) -> JoinedTracks:
    """Build the data sets of a run and join their tracks; the configuration goes on naming the videos.

    Args:
        config: the run's.
        say: told where the tracks of videos lie, and what cannot be read or shows no face.

    Raises:
        DataError: the data cannot be used, or no video shows a face.
        ConfigError: videos need PyAV, which is not installed.
    """
    return JoinedTracks([_built(choice, config.size, say) for choice in config.data])


def _built(choice: Choice, size: int, say: Callable[[str], None]) -> Dataset:
    try:
        built: Dataset = registry.build("dataset", choice.name, choice.options)
    except OnlyVideos as found:
        tracks = _cropped(found.path, max(SIZE, size), say)
        built = registry.build("dataset", choice.name, {**choice.options, "path": str(tracks)})
    return built


def _cropped(videos: Path, size: int, say: Callable[[str], None]) -> Path:
    """Crop the faces of videos, where that is not done yet, and return the folder of their tracks."""
    out = cache_home() / "crops" / fingerprint(videos, size)
    if (out / TABLE).exists():
        say(f"{videos}: its faces were cropped before, to the tracks in {out}; what has changed is cropped now")
    else:
        say(f"{videos}: its faces are cropped once, to tracks in {out}; a command that is stopped goes on")

    def tell(done: int, total: int) -> None:
        if 10 * done // total > 10 * (done - 1) // total:
            say(f"{done:,} of {total:,} videos are cropped")

    # Every process of a run comes here, and other runs do.
    result = crop_folder(videos, out, size=size, workers=os.cpu_count() or 1, own=True, waiting=say, tell=tell)
    for line in result.lines(videos, out):
        say(line)
    result.check(videos)
    return out
