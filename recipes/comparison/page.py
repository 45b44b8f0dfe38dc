"""The page of a comparison: what was trained, a table per probe, the differences, and the curves in one picture."""

from __future__ import annotations

import json
from pathlib import Path

from scores import Scores
from training import CHANGES, FINISHED, STILLS

from facecycle.atomic import write_atomically, write_text
from facecycle.config.settings import RunConfig
from facecycle.pages import drawable, plain
from facecycle.probing.protocols import PROTOCOLS
from facecycle.probing.result import Difference, Result

READING = "## What it says"
"""From this heading on a page is a person's, and is kept."""
CHANGED = "*The numbers have changed since this was written.*"
OURS = "facecycle"


def write_page(
    page: Path,
    minutes: float,
    seeds: int,
    schedules: dict[str, RunConfig],
    runs: dict[str, Path],
    scores: dict[str, Scores],
) -> None:
    """Write the page and, beside it, the picture of the curves; what a person wrote at its end stays."""
    kept = page.read_text("utf-8") if page.exists() else ""
    reading = kept[kept.index(READING) :] if READING in kept else f"{READING}\n\nNobody has read these numbers yet.\n"
    curves = page.with_suffix(".png")
    write_atomically(curves, lambda temporary: draw_curves(runs, temporary))
    times = "once" if seeds == 1 else f"{seeds} times"
    encoders = dict.fromkeys(config.encoder.name for config in schedules.values())
    parts = [
        "# Methods compared\n",
        f"    python recipes/comparison/compare.py DATA OUT --minutes {minutes:g} --seeds {seeds}\n",
        f"Each method was trained for {minutes:g} minutes, {times}, with the encoder {', '.join(encoders)} "
        "without its last stage\nand its own preset otherwise. The time is that of the steps: of all processors "
        "together, or of a GPU. Brackets hold 95 % confidence\nintervals over test people, or over folds of pairs. "
        "They hold nothing of how runs differ"
        f"{', so the number of every seed stands beside them' if seeds > 1 else ''}.\n",
        _training(schedules, runs),
        f"![total loss of every run]({curves.name})\n",
        *(_probed(name, each) for name, each in scores.items()),
    ]
    numbers = "\n".join(parts)
    if READING in kept and not kept.startswith(numbers) and CHANGED not in reading:
        reading = reading.replace(READING, f"{READING}\n\n{CHANGED}", 1)
    write_text(page, f"{numbers}\n{reading}")


def _markdown(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *([plain(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _training(schedules: dict[str, RunConfig], runs: dict[str, Path]) -> str:
    """Say what was trained: on what, in how many steps of how many images, in which time."""
    rows = []
    for method, config in schedules.items():
        stages = config.trained_stages.values()
        images = sum((stage.steps or 0) * stage.frames * (stage.pairs or config.pairs) for stage in stages)
        steps = ", ".join(f"{name} {stage.steps:,}" for name, stage in config.trained_stages.items())
        own = [run for label, run in runs.items() if label.rpartition("-")[0] == method]
        found = [json.loads((run / FINISHED).read_text()) for run in own]
        times = ", ".join("resumed" if each["resumed"] else f"{each['seconds'] / 60:.1f}" for each in found)
        stills = "tracks and stills" if method in STILLS else "tracks"
        preset = ", ".join([config.preset or "-", *CHANGES.get(method, [])])
        rows.append([method, preset, stills, steps, f"{images:,}", times])
    return _markdown(
        ["method", "preset", "learns from", "steps", "images drawn", "minutes, with start and saving"], rows
    )


def _probed(name: str, scores: Scores) -> str:
    """Write the tables of a probe."""
    result = scores.result
    protocol = PROTOCOLS[result.protocol]
    headline = protocol.metrics[protocol.headline]
    titles, rows = result.table()
    scale = 100 if headline.percent else 1
    if max(map(len, scores.seeds.values())) > 1:
        titles = [*titles, f"{headline.title}, each seed"]
        for row in rows:
            found = scores.seeds[row[0]]
            each = ", ".join(f"{scale * value:.{headline.decimals}f}" for value in found)
            row.append(each if len(found) > 1 else "")
    parts = [
        f"## {name[0].upper()}{name[1:]}\n",
        f"Protocol `{result.protocol}`. {plain(result.split)}.\n",
        _markdown(titles, rows),
        "What a method has learned, A, less its random twin, B:\n",
        _differences(result, scores.learned),
    ]
    if result.differences:
        ours = [each for each in result.differences if OURS in {_method(each.one), _method(each.other)}]
        parts += [
            f"Methods less each other{', as far as ours is one of them' if ours else ''}. `best` marks the best "
            "feature of each, chosen by this very table:\n",
            _differences(result, ours or result.differences),
        ]
    return "\n".join(parts)


def _differences(result: Result, differences: list[Difference]) -> str:
    return _markdown(*result.model_copy(update={"differences": differences}).differences_table())


def _method(feature: str) -> str:
    return feature.partition(": ")[0]


def draw_curves(runs: dict[str, Path], file: Path) -> None:
    """Draw the total loss of every run against its steps, a panel per method. Losses of two methods do not compare."""
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(label.rpartition("-")[0] for label in runs))
    columns = min(4, len(methods))
    figure = Figure(figsize=(3.5 * columns, 2.8 * -(-len(methods) // columns)), layout="constrained")
    panels = figure.subplots(-(-len(methods) // columns), columns, squeeze=False).flatten().tolist()
    for axes, method in zip(panels, methods, strict=False):
        for label, run in runs.items():
            if label.rpartition("-")[0] == method:
                lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
                points = [(line["step"], line["total"]) for line in lines if "total" in line]
                axes.plot(*zip(*points, strict=True), linewidth=1, label=drawable(label))
        axes.set(title=drawable(method), xlabel="step", ylabel="total loss")
        axes.legend(fontsize=7)
    for axes in panels[len(methods) :]:
        axes.set_axis_off()
    figure.savefig(file, format="png", dpi=100)
