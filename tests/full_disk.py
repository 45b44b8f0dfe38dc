"""Train on a small disk until it is full, then log, draw and save on it: unshare -rm python tests/full_disk.py FOLDER.

Mounts a tmpfs at FOLDER, which the namespace of `unshare` makes possible, and prints what came of it as JSON.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from facecycle_cli.main import run as command
from kill import TINY
from PIL import Image

from facecycle.checkpoints import header
from facecycle.config.layers import preset_layers, resolve
from facecycle.errors import RunError
from facecycle.pictures import write_picture
from facecycle.pretraining.resume import newest_whole
from facecycle.pretraining.run_folder import RunFolder


def train(out: Path) -> int:
    """Run the command until the disk is full; return its exit status."""
    sys.argv = ["facecycle", "pretrain", "--out", str(out), *TINY, "--set", "checkpoint_every=1"]
    with contextlib.redirect_stdout(sys.stderr):
        try:
            command()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def refusal(work: Callable[[], object]) -> str:
    """Return the error that a full disk gives."""
    try:
        work()
    except RunError as error:
        return str(error)
    return "no error"


def fill(folder: Path) -> None:
    """Write until nothing more fits."""
    with contextlib.suppress(OSError), (folder / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def log(logs: RunFolder) -> None:
    """Log until the disk refuses: TensorBoard's thread is late to say so."""
    for step in range(1000):
        logs.log({"step": step, "stage": "direct", "total": 1.0})


def main(disk: Path) -> None:
    """Print what the command and the parts of a run say on a full disk."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    status = train(disk / "run")
    notes: list[str] = []
    whole = newest_whole(disk / "run", notes.append)
    assert whole is not None
    logs = RunFolder(disk / "logs")
    logs.create(resolve(preset_layers("small")))
    logs.open_logs(0)
    fill(disk)
    said = {"metrics": refusal(lambda: log(logs)), "closing": refusal(logs.close)}
    (disk / "ballast").unlink()
    board = RunFolder(disk / "board")
    board.create(resolve(preset_layers("small")))
    (disk / "board" / "metrics.jsonl").symlink_to(disk.parent / "elsewhere.jsonl")  # only TensorBoard is refused
    board.open_logs(0)
    fill(disk)
    said["tensorboard"] = refusal(lambda: log(board))
    said["samples"] = refusal(lambda: write_picture(disk / "run" / "samples" / "x.png", Image.new("RGB", (500, 500))))
    said["bad frames"] = refusal(lambda: logs.list_bad_frames({"a.jpg": "not an image" * 9999}))
    print(json.dumps({"status": status, "newest": whole.name, "notes": notes, "said": said}))
    assert header.read(whole).trained


if __name__ == "__main__":
    main(Path(sys.argv[1]))
