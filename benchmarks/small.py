"""The `small` preset: seconds a step by width, and the share of a stage spent on other than waiting for data.

python benchmarks/small.py [DATA], 16 pairs, two cores. Where DATA holds `tracks` and `stills` to train on, and
`tracks/pose.csv` and `emotions` to probe, each width is trained for a few hundred steps and probed as well, and the
preset's own is trained with a frozen random stem beside the trained one.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from common import Result, seconds
from data import write_tracks
from embed import peak
from step import Step, config_of
from torch.utils.flop_counter import FlopCounterMode

from facecycle.api import Pairs
from facecycle.machine import keep_pages
from facecycle.pretraining.optimizer import make_optimizer
from facecycle.pretraining.run import Pretraining
from facecycle.pretraining.run_folder import METRICS, RunFolder
from facecycle.pretraining.step import take_step

WIDTHS = (8, 12, 16, 32)
STEP_SECONDS = 0.7
ROUNDS = 5
STEPS = 300
"""Of each stage, where widths are trained."""
STEM_STEPS = 100


class Silent:
    """A listener that prints nothing."""

    def stage(self, name: str, first: int, total: int) -> None: ...

    def step(self, name: str, done: int, losses: dict[str, float], images_per_second: float) -> None: ...

    def note(self, text: str) -> None: ...


def expression_step(width: int) -> Callable[[], object]:
    """Return a step of the expression stage, generator and optimizer included, that has run once."""
    made = Step(config_of("small", f"method.options.width={width}"))
    optimizer = make_optimizer(made.config.stages["expression"].optimizer, made.parameters)
    pairs = Pairs(*made.images().chunk(2))

    def step() -> object:
        return take_step(made.method, made.objective, optimizer, pairs, made.config, 0, False)

    step()
    return step


def busy_share(folder: Path, cached: bool) -> Result:
    """Train on JPEG files of 224 pixels, and return the share of the time that was not spent waiting for them."""
    data = f'[{{name = "tracks", options = {{path = "{folder / "tracks"}"}}}}]'
    config = config_of("small", "cycle=expression", "stages.direct=none", "steps=20", "log_every=1", f"data={data}")
    run = Pretraining(config, RunFolder(folder / f"run-{cached}"), Silent())
    if cached:
        run.data.images(range(sum(len(track.frames) for track in run.data.tracks)), config.size)
    run.folder.create(config)
    run.run()
    lines = (folder / f"run-{cached}" / METRICS).read_text().splitlines()
    shares = [1 - json.loads(line)["waiting_for_data"] for line in lines[1:]]  # nothing is prepared before the first
    name = f"small: not waiting for data, {'cached' if cached else 'first epoch'}"
    return Result(name, statistics.mean(shares), min(shares), max(shares), 0.99)


def probes(width: int, data: Path, out: Path) -> str:
    """Train one width on real faces, and return what the code and the conv feature are worth."""
    run = out / f"width-{width}"
    train = ["--preset", "small", "--cycle", "expression", "--steps", STEPS, "--out", run]
    train += ["--data", data / "tracks", "--data", data / "stills", "--set", f"method.options.width={width}"]
    _facecycle("pretrain", *train)
    found = []
    for task, source in (("pose", data / "tracks" / "pose.csv"), ("emotion", data / "emotions")):
        _facecycle("probe", "--task", task, "--data", source, "--checkpoint", run, "--out", out / f"{task}-{width}")
        rows = json.loads((out / f"{task}-{width}" / "result.json").read_text())["rows"]
        found += [
            f"{task} {row['feature']} {row['metrics']}" for row in rows if row["feature"] in {"expression", "conv"}
        ]
    return "; ".join(found)


def stem_losses(data: Path, out: Path) -> str:
    """Train the expression stage with a trained and with a frozen random stem; return time and last losses of each."""
    sources = ", ".join(f'{{name = "tracks", options = {{path = "{data / name}"}}}}' for name in ("tracks", "stills"))
    config = config_of("small", "cycle=expression", "stages.direct=none", f"steps={STEM_STEPS}", f"data=[{sources}]")
    found = []
    for stem in ("trained", "frozen"):
        run = Pretraining(config, RunFolder(out / stem), Silent())
        if stem == "frozen":  # the method freezes pretrained stems alone, and none is as narrow
            run.method.options = run.method.options.model_copy(update={"stem": "random"})
        run.folder.create(config)
        taken = seconds(run.run)
        last = [json.loads(line) for line in (out / stem / METRICS).read_text().splitlines()[-10:]]
        losses = ", ".join(
            f"{name} {statistics.mean(line[name] for line in last):.3f}" for name in ("photometric", "ssim", "total")
        )
        found.append(f"{stem} stem: {taken / STEM_STEPS:.2f} s a step, {losses}")
    return "\n".join(found)


def _facecycle(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "facecycle_cli", *map(str, arguments)], check=True, capture_output=True)


def measure() -> list[Result]:
    """Time a step of the preset's own width, and training from files."""
    keep_pages()
    step = expression_step(config_of("small").method.options["width"])
    with FlopCounterMode(display=False) as counter:
        step()
    taken, peaks = zip(*((seconds(step), peak()) for _ in range(ROUNDS)), strict=True)
    median, least = statistics.median(taken), counter.get_total_flops() / max(peaks)
    print(f"a step of small: {median:.2f} s; {least:.2f} s if all of it ran at {max(peaks) / 1e9:.0f} GFLOP/s")
    ratios = [STEP_SECONDS / t for t in (median, max(taken), min(taken))]
    with tempfile.TemporaryDirectory() as name:
        write_tracks(Path(name) / "tracks", 100)
        shares = [busy_share(Path(name), cached) for cached in (False, True)]
    return [
        Result("small: 0.7 s over a step", *ratios, target=1, floor=STEP_SECONDS / least),
        *shares,
    ]


def main() -> None:
    """Print the widths, with probes where there is data."""
    for result in measure():
        print(result.line())
    for width in WIDTHS:
        step = expression_step(width)
        median = statistics.median(seconds(step) for _ in range(ROUNDS))
        print(f"width {width:3}: {median:.2f} s a step", flush=True)
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as name:
            for width in WIDTHS:
                print(f"width {width:3}: {probes(width, Path(sys.argv[1]).resolve(), Path(name))}", flush=True)
            print(stem_losses(Path(sys.argv[1]).resolve(), Path(name)))


if __name__ == "__main__":
    main()
