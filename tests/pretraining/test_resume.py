"""A run that is stopped, killed or misconfigured goes on to the same weights, or says why it cannot."""

from __future__ import annotations

import json
import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from helpers.common import picture
from helpers.forked import facecycle, start
from helpers.training import Quiet, tiny, train, weights
from kill import TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from facecycle.checkpoints import header
from facecycle.checkpoints.folders import latest_folder
from facecycle.config.layers import resolve, set_layer
from facecycle.config.settings import TAKEN_ON_RESUME, RunConfig
from facecycle.data.batches import Batches
from facecycle.data.joined import JoinedTracks
from facecycle.errors import CheckpointError, ConfigError, RunError
from facecycle.networks import build_method
from facecycle.pretraining.non_finite import replay
from facecycle.pretraining.resume import continued, newest_run, own_layers
from facecycle.pretraining.run import Pretraining
from facecycle.pretraining.run_folder import RunFolder
from facecycle.registry import build


def begin(out: Path, *arguments: str) -> BaseProcess:
    return start(out.with_suffix(".said"), facecycle, "pretrain", "--out", out, *arguments)


def stopped(process: BaseProcess, out: Path, steps: int, number: int) -> int | None:
    """Send a signal once a run has logged so many steps; return its status."""
    assert process.pid is not None
    metrics = out / "metrics.jsonl"
    while process.is_alive() and (not metrics.exists() or metrics.read_text().count("\n") < steps):
        time.sleep(0.005)
    os.kill(process.pid, number)
    process.join(120)
    return process.exitcode


def test_a_command_that_is_killed_and_stopped_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    # Two steps an epoch, and a signal in each stage.
    settings = [*TINY, *(f"--set=stages.{stage}.steps=15" for stage in ("direct", "expression", "identity"))]
    whole = begin(tmp_path / "whole", *settings)
    out = tmp_path / "parts"
    assert stopped(begin(out, *settings), out, 4, signal.SIGKILL) == -signal.SIGKILL
    assert stopped(begin(out, *settings, "--resume"), out, 17, signal.SIGTERM) == 143
    assert latest_folder(out).name == f"step-{len((out / 'metrics.jsonl').read_text().splitlines()):06d}"
    assert stopped(begin(out, "--resume", "--set", "workers=2", "--keep", "2"), out, 32, signal.SIGINT) == 130
    for run, name in ((begin(out, "--resume"), "parts"), (whole, "whole")):
        run.join(120)
        assert run.exitcode == 0, (tmp_path / f"{name}.said").read_text()
    one, two = weights(tmp_path / "whole"), weights(out)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    kept = sorted(p.name for p in (out / "checkpoints").iterdir())
    assert kept == ["latest", "step-000042", "step-000045"]
    records = [[json.loads(line) for line in (p / "metrics.jsonl").open()] for p in (tmp_path / "whole", out)]
    assert [r["total"] for r in records[0]] == [r["total"] for r in records[1]]


# --- settings -----------------------------------------------------------------------------------


def test_the_keys_that_a_resumed_run_takes() -> None:
    taken = {key for key, field in RunConfig.model_fields.items() if TAKEN_ON_RESUME in field.metadata}
    every = {"log_every", "sample_every", "checkpoint_every"}
    assert taken == {"accumulate", "keep", "workers", "bad_share", "non_finite_limit", *every}


def test_what_leaves_the_mathematics_alone_is_taken(tmp_path: Path) -> None:
    kept = tiny()
    settings = ["log_every=7", "sample_every=9", "checkpoint_every=8", "workers=3", "keep=2", "bad_share=0.9"]
    assert continued(kept, tiny(*settings), tmp_path) == tiny(*settings)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("precision=bfloat16", "precision: 'auto' in the run, 'bfloat16' asked for"),
        ("stages.direct.optimizer.lr=1e-4", "stages.direct.optimizer.lr: 0.0005 in the run, 0.0001 asked for"),
        ("stages.direct.losses.ssim=none", "stages.direct.losses.ssim: {"),
        ("augmentation.mirror_probability=0", "augmentation.mirror_probability: 0.5 in the run, 0.0 asked for"),
        ("encoder.name=resnet18", "encoder.name: 'timm:mobilenetv3_small_050' in the run, 'resnet18' asked for"),
        ("size=64", "size: 32 in the run, 64 asked for"),
        ("cycle=expression", "cycle: 'both' in the run, 'expression' asked for"),
        ("steps=7", "steps: none in the run, 7 asked for"),
        ("perceptual=none", "perceptual: 'auto' in the run, 'none' asked for"),
    ],
)
def test_what_changes_the_mathematics_is_refused_by_name_and_values(tmp_path: Path, setting: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        continued(tiny(), tiny(setting), tmp_path)
    assert said in str(error.value)


def test_what_is_not_asked_for_is_the_runs_own(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(tiny("pairs=3", "keep=4", "stages.identity=none"))
    assert resolve(own_layers(run.path, "small")) == run.config()
    assert resolve([*own_layers(run.path, None), set_layer(["keep=1"])]).keep == 1
    with pytest.raises(ConfigError, match="preset: 'small' in the run, 'paper' asked for"):
        continued(run.config(), resolve(own_layers(run.path, "paper")), run.path)
    with pytest.raises(ConfigError, match="there is no run in"):
        own_layers(tmp_path, None)
    assert newest_run(tmp_path) == run.path


def test_the_newest_run_is_the_one_that_was_trained_last_whatever_was_exported_since(tmp_path: Path) -> None:
    for number, name in enumerate(("b", "a"), 1):
        folder = tmp_path / name / "checkpoints" / "step-000010"
        folder.mkdir(parents=True)
        for file in (tmp_path / name / "config.json", folder / "state.json"):
            file.write_text("{}")
            os.utime(file, (number, number))
    (tmp_path / "b" / "checkpoints" / "step-000010" / "model.onnx").touch()
    assert newest_run(tmp_path) == tmp_path / "a"
    os.utime(tmp_path / "b" / "checkpoints" / "step-000010" / "state.json", (3, 3))
    assert newest_run(tmp_path) == tmp_path / "b"


# --- moments ------------------------------------------------------------------------------------


def test_a_run_without_a_checkpoint_starts_again_and_with_its_parents_weights(tmp_path: Path) -> None:
    short = tiny("stages.expression=none", "stages.identity=none")
    train(short, tmp_path / "whole")
    RunFolder(tmp_path / "killed").create(short)
    again = Pretraining(short, RunFolder(tmp_path / "killed"), Quiet())
    again.resume()
    again.run()
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(first[name], second[name]) for name in first)
    child = Pretraining(tiny("seed=1"), RunFolder(tmp_path / "child"), Quiet(), weights_follow=True)
    child.licence = "ask ann"
    child.start_from(tmp_path / "whole")
    child.folder.create(child.config)
    child.folder.close()  # as the end of its process would
    resumed = Pretraining(tiny("seed=1"), RunFolder(tmp_path / "child"), Quiet(), weights_follow=True)
    resumed.resume()
    assert resumed.parent == header.read(tmp_path / "whole").sha256()
    assert resumed.licence == child.licence != "ask ann"
    assert all(torch.equal(first[name], tensor) for name, tensor in resumed.method.state_dict().items())


def test_two_processes_do_not_write_to_one_run(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    first.lock()
    with pytest.raises(RunError, match="another process is writing"):
        RunFolder(tmp_path).open_logs(0)
    first.close()
    RunFolder(tmp_path).lock()


def test_batches_do_not_depend_on_the_workers(tmp_path: Path) -> None:
    for number in range(12):
        picture(tmp_path / f"{number // 3}" / f"{number}.png", number)
    (tmp_path / "0" / "1.png").write_text("no image")
    results = []
    for workers in (0, 1, 2):
        config = tiny("pairs=4", f"workers={workers}")
        data = JoinedTracks([build("dataset", "tracks", {"path": str(tmp_path)})])
        batches = Batches(data, config, "direct", config.stages["direct"])
        steps, pairs = zip(*batches.iterate(2, 15), strict=True)
        assert steps == tuple(range(2, 15))
        results.append((torch.stack([torch.cat([p.first, p.second]) for p in pairs]), batches.tally))
    assert all(torch.equal(images, results[0][0]) and tally == results[0][1] for images, tally in results)
    assert results[0][1].bad > 0


def test_a_loss_that_is_not_finite_moves_nothing_and_leaves_its_batch(tmp_path: Path) -> None:
    config = tiny("stages.direct.losses.photometric.weight=1e39", "stages.direct.steps=30", "non_finite_limit=3")
    with pytest.raises(RunError, match=r"3 steps in a row; the last, step 2, read .*, .*, ") as error:
        train(config, tmp_path / "run")
    folder = tmp_path / "run" / "non_finite" / "direct-000002"
    assert f"python -m facecycle.pretraining.non_finite {folder}" in str(error.value)
    kept, untouched = weights(folder), build_method(config).state_dict()
    assert any("running_mean" in name for name in kept)
    assert [name for name in kept if not torch.equal(kept[name], untouched[name])] == []
    values = replay(folder)
    assert values["total"] == float("inf")
    assert 0 < values["ssim"] < 10
    assert len(json.loads((folder / "batch.json").read_text())["images"]) == 2 * config.pairs
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert [r["skipped_steps"] for r in records] == [1, 2, 3]
    (folder / "batch.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="holds no batch"):
        replay(folder)


def test_a_kept_batch_gives_the_losses_of_its_step(tmp_path: Path) -> None:
    from facecycle.pretraining import non_finite

    config = tiny("stages.direct.steps=1", "stages.expression=none", "stages.identity=none")
    run = Pretraining(config, RunFolder(tmp_path / "run"), Quiet())
    batches = Batches(run.data, config, "direct", config.stages["direct"])
    record = {"stage": "direct", "step": 0, "process": 0, "bfloat16": False, "images": batches.names(0)}
    non_finite.stop(tmp_path, run.method, run._metadata(), batches.batch(0), record, 1)
    run.folder.create(config)
    run.run()
    logged = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    for name, value in replay(tmp_path / "non_finite" / "direct-000000").items():
        assert value == pytest.approx(logged[name], rel=1e-4), name


def test_steps_that_are_taken_again_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Files of one second are read by the number of their writer in this process, as text: the 10th before the 9th.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))
    for first, last in ((0, 5), (3, 6)):  # the second time from a checkpoint after three steps
        folder = RunFolder(tmp_path)
        folder.open_logs(first)
        for step in range(first, last):
            folder.log({"stage": "direct", "step": step, "total": float(last)})
        folder.close()
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    found = [(event.step, event.value) for event in board.Scalars("direct/total")]
    assert found == [(0, 5), (1, 5), (2, 5), (3, 6), (4, 6), (5, 6)]
