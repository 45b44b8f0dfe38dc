"""Several processes train as one does: the same losses, the same run, one writer; and they share out an embedding."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from helpers.common import Command, picture
from helpers.forked import ended, facecycle, start, two_do
from helpers.losses_of_a_batch import write_losses
from helpers.training import Quiet, tiny
from safetensors.torch import load_file

from facecycle.data.batches import Batches
from facecycle.errors import ConfigError
from facecycle.pretraining.run import Pretraining
from facecycle.pretraining.run_folder import RunFolder
from facecycle.pretraining.videos import joined_tracks

TINY = [
    *("pretrain", "--preset", "small", "--encoder", "facecycle", "--cache-gb", "0"),
    *("--set", "method.options={width=4, motion_width=16, generator_blocks=1, renormalizer_blocks=1}"),
    *("--set", "data=[{name='synthetic', options={identities=6, test_identities=20, takes=2, frames=2}}]"),
    *("--set", "pairs=4", "--set", "size=32", "--set", "log_every=1", "--set", "checkpoint_every=3"),
    *("--set", "stages.direct.steps=5", "--set", "stages.expression.steps=3", "--set", "stages.identity.steps=3"),
]


def torchrun(folder: Path) -> list[str]:
    """Return how a command of two processes begins; torchrun makes a folder for logs, which goes with this one."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [*launcher, "--log-dir", str(folder / "logs")]


def launch(launcher: list[str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*launcher, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").open()]


def test_two_processes_with_half_a_batch_each_have_the_losses_and_gradients_of_one(tmp_path: Path) -> None:
    write_losses(str(tmp_path / "one"))
    two_do(tmp_path, write_losses, tmp_path / "two")
    one, two = load_file(tmp_path / "one"), load_file(tmp_path / "two")
    assert len(one) == len(two) == 13
    for name, expected in one.items():
        assert expected.norm() > 0, name
        assert (two[name] - expected).norm() <= 1e-9 * expected.norm(), name


def test_the_same_command_trains_on_one_process_or_two(tmp_path: Path, inside: Command) -> None:
    passes = ["--set", "accumulate=2"]
    said = launch(torchrun(tmp_path), "-m", "facecycle_cli", *TINY, *passes, "--out", tmp_path / "two").stdout
    assert said.count("stage direct") == 1, "one process speaks"
    assert inside(*TINY, "--out", tmp_path / "one").returncode == 0
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert [row["step"] for row in two] == list(range(11))
    # The direct stage has no noise, of which every process draws its own. Step 0 differs by the rounding of float32
    # sums alone; Adam then divides gradients by their size, and makes steps of those that are nothing but rounding.
    for step, (a, b) in enumerate(zip(one[:5], two, strict=False)):
        assert b["total"] == pytest.approx(a["total"], rel=1e-3 if step else 1e-5)
    assert two[0]["gradient_norm"] == pytest.approx(one[0]["gradient_norm"], rel=1e-2)
    names = [sorted(path.name for path in (tmp_path / run / "checkpoints").iterdir()) for run in ("one", "two")]
    assert names[0] == names[1]
    last = tmp_path / "two" / "checkpoints" / "step-000011"
    assert json.loads((last / "state.json").read_text())["processes"] == 2
    assert all(v.isfinite().all() for v in load_file(last / "model.safetensors").values() if v.is_floating_point())
    refused = two_do(tmp_path, facecycle, *TINY, "--out", tmp_path / "two", code=2)
    assert f"error: {tmp_path / 'two'} already holds a run" in refused
    assert "error: another process of the run has ended" in refused
    assert "Traceback" not in refused, "the process that was left alone prints none"


def wait_for_steps(run: Path, steps: int) -> None:
    deadline = time.monotonic() + 120
    while not ((run / "metrics.jsonl").exists() and len(metrics(run)) >= steps):
        assert time.monotonic() < deadline, f"{run} took no {steps} steps"
        time.sleep(0.1)


def test_processes_that_are_told_to_stop_save_and_one_goes_on(tmp_path: Path) -> None:
    out, streams = tmp_path / "run", {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    # The processes that prepare batches are signalled with the rest.
    long = [*TINY, "--set", "stages.direct.steps=5000", "--set", "workers=1", "--out", str(out)]
    command = [*torchrun(tmp_path), "-m", "facecycle_cli", *long]
    with subprocess.Popen(command, text=True, **streams) as running:  # type: ignore[call-overload]
        try:
            wait_for_steps(out, 5)
        finally:
            running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=120)
    assert "stopped by signal 15, saved after step" in said
    done = len(metrics(out))
    assert max(path.name for path in (out / "checkpoints").glob("step-*")) == f"step-{done:06d}"
    resumed = start(tmp_path / "said", facecycle, "pretrain", "--resume", "--out", out)
    try:
        wait_for_steps(out, done + 2)
    finally:
        resumed.terminate()
        ended(resumed)
    goes_on = "the run had 2 processes of 1 passes and goes on with 1 processes of 1 passes"
    assert goes_on in (tmp_path / "said").read_text()
    assert resumed.exitcode == 143


def test_each_process_has_its_rows_of_the_batch() -> None:
    config = tiny("pairs=6")
    data, (name, stage) = joined_tracks(config), next(iter(config.stages.items()))
    whole = Batches(data, config, name, stage).batch(3)
    parts = [Batches(data, config, name, stage, rank=rank, world=3).batch(3) for rank in range(3)]
    assert torch.allclose(torch.cat([part.first for part in parts]), whole.first, atol=1e-5)
    assert torch.allclose(torch.cat([part.second for part in parts]), whole.second, atol=1e-5)


def test_a_batch_in_several_passes_has_the_gradient_of_one_pass(tmp_path: Path) -> None:
    norms = []
    for passes in (1, 2):
        config = tiny(f"accumulate={passes}", "log_every=1", "encoder.name=facecycle", "pairs=4")
        stages = {"direct": config.stages["direct"].model_copy(update={"steps": 2})}
        run = Pretraining(config.model_copy(update={"stages": stages}), RunFolder(tmp_path / str(passes)), Quiet())
        run.run()
        norms.append([row["gradient_norm"] for row in metrics(tmp_path / str(passes))])
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)


def test_processes_that_do_not_come_first_write_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", writes=False)
    folder.lock()
    folder.create(tiny())
    folder.open_logs(0)
    folder.log({"step": 0, "stage": "direct"})
    folder.list_bad_frames({"a.jpg": "cut short"})
    folder.close()
    assert not list(tmp_path.iterdir())


def test_pairs_that_cannot_be_dealt_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pairs = 4 cannot be shared out evenly: 1 processes of 3 passes"):
        Pretraining(tiny("accumulate=3", "pairs=4"), RunFolder(tmp_path), Quiet())
    with pytest.raises(ConfigError, match=r"stages\.identity\.pairs = 2 cannot be shared out evenly"):
        Pretraining(tiny("accumulate=3", "pairs=3", "stages.identity.pairs=2"), RunFolder(tmp_path), Quiet())


def test_two_processes_embed_what_one_does(tmp_path: Path, inside: Command) -> None:
    few = ("--set", "stages.direct.steps=1", "--set", "stages.expression.steps=1", "--set", "stages.identity.steps=1")
    assert inside(*TINY, *few, "--out", tmp_path / "run").returncode == 0
    for number in range(5):
        picture(tmp_path / "faces" / f"{number}.png", number)
    (tmp_path / "faces" / "2.png").write_bytes(b"no picture")
    embed = ["embed", tmp_path / "faces", "--checkpoint", tmp_path / "run", "-o"]
    assert inside(*embed, tmp_path / "one.parquet").returncode == 0
    said = two_do(tmp_path, facecycle, *embed, tmp_path / "two.parquet")
    assert "4 of 5 images" in said
    one, two = (pq.read_table(tmp_path / f"{number}.parquet") for number in ("one", "two"))
    assert two.schema.equals(one.schema, check_metadata=True)
    assert two.select(["path", "status"]) == one.select(["path", "status"])
    for code in ("expression", "identity"):
        # Each process has another number of images in a batch, and matrix products round by that number.
        found, wanted = (torch.tensor([row for row in table[code].to_pylist() if row]) for table in (two, one))
        assert torch.allclose(found, wanted, rtol=0, atol=1e-5)
    assert not list(tmp_path.glob("*.part-*"))


def test_two_processes_probe_what_one_does(tmp_path: Path, inside: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        folder = tmp_path / "classes" / ("light" if number % 2 else "dark")
        picture(folder / f"{number}.png", number)
    data = ["--data", tmp_path / "classes", "--option", "folds=2"]
    probe = ["probe", "--task", "emotion", "--encoder", "pixels", *data, "--out"]
    said = two_do(tmp_path, facecycle, *probe, tmp_path / "two")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert inside(*probe, tmp_path / "one").returncode == 0
    assert said.count("report: ") == 1
    one, two = (json.loads((tmp_path / run / "result.json").read_text()) for run in ("one", "two"))
    assert [row["feature"] for row in two["rows"]] == [row["feature"] for row in one["rows"]]
    for a, b in zip(one["rows"], two["rows"], strict=True):
        assert b["metrics"] == pytest.approx(a["metrics"])
