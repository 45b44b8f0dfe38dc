"""Training learns, repeats bit for bit, survives being stopped, and gets past bad images."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from helpers.common import picture
from helpers.training import Quiet, tiny, train, weights

from facecycle.api import Pairs
from facecycle.atomic import file_sha256
from facecycle.checkpoints import header, places
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.config.settings import LOGGED
from facecycle.data.batches import Batches
from facecycle.data.joined import JoinedTracks
from facecycle.errors import CheckpointError, ConfigError, DataError, RunError
from facecycle.networks import build_method, load
from facecycle.pretraining.optimizer import learning_rate
from facecycle.pretraining.run import Pretraining
from facecycle.pretraining.run_folder import RunFolder
from facecycle.pretraining.step import Objective, training_step
from facecycle.registry import build


def test_a_stage_may_have_its_own_number_of_pairs(tmp_path: Path) -> None:
    # 8 people, 2 takes each: an epoch of one pair per track is 8 steps of 2 pairs, or 4 steps of 4.
    epochs = [f"stages.{name}.{setting}" for name in ("direct", "identity") for setting in ("steps=none", "epochs=1")]
    train(tiny(*epochs, "stages.expression=none", "stages.identity.pairs=4"), tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [r["stage"] for r in records] == ["direct"] * 8 + ["identity"] * 4


def test_a_run_writes_everything_it_promises(tmp_path: Path) -> None:
    run = train(tiny(), tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == list(range(9))
    assert [r["stage"] for r in records] == ["direct"] * 4 + ["expression"] * 3 + ["identity"] * 2
    # Each stage has a cycle of learning rates of its own.
    optimizers = [(stage.optimizer, stage.steps) for stage in run.config.stages.values()]
    rates = [learning_rate(optimizer, step, steps, 1) for optimizer, steps in optimizers for step in range(steps or 0)]
    assert [r["lr"] for r in records] == rates
    losses = {"total", *(label for stage in run.config.stages.values() for label in stage.losses)}
    assert {key for r in records for key in r if not key.startswith("deviation/")} - losses == LOGGED
    assert all(r["deviation/flow"] > 0 for r in records[:7])
    assert resolve([("file", json.loads((tmp_path / "run" / "config.json").read_text()))]) == run.config
    assert len(list((tmp_path / "run" / "samples").glob("*.png"))) == 3
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    found = header.read(tmp_path / "run")
    assert found.trained == {"expression", "identity"}
    components = json.loads(found.metadata["components"])
    assert components["encoder:timm:mobilenetv3_small_050"]["distribution"] == "facecycle"
    loaded = load(tmp_path / "run")
    assert not any(p.requires_grad for p in loaded.method.parameters())


def test_one_seed_gives_one_run_and_stopping_changes_nothing(tmp_path: Path) -> None:
    train(tiny(), tmp_path / "whole")
    for stop_after in (2, 5):
        out = tmp_path / f"stopped{stop_after}"
        stopped = train(tiny(), out, Quiet(stop_after))
        assert stopped.outcome.stopped_by == signal.SIGTERM  # type: ignore[attr-defined]
        resumed = Pretraining(tiny(), RunFolder(out), Quiet())
        resumed.resume()
        resumed.run()
        whole, parts = weights(tmp_path / "whole"), weights(out)
        assert all(torch.equal(whole[name], parts[name]) for name in whole)
        # Header and all: who publishes a digest can be checked by training again.
        assert len({file_sha256(places.find(run)) for run in (tmp_path / "whole", out)}) == 1
        lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", out.name)]
        totals = [[json.loads(line)["total"] for line in each] for each in lines]
        assert totals[0] == totals[1]


def test_bfloat16_is_chosen_said_and_kept_out_of_the_checkpoint(tmp_path: Path) -> None:
    listener = Quiet()
    said: list[str] = []
    listener.note = said.append  # type: ignore[method-assign]
    run = train(tiny("precision=bfloat16"), tmp_path / "approximate", listener)
    assert run.approximate
    assert any("approximate" in text for text in said)
    found = weights(tmp_path / "approximate")
    assert {t.dtype for t in found.values()} <= {torch.float32, torch.int64}
    assert all(bool(torch.isfinite(t).all()) for t in found.values())
    exact = train(tiny(), tmp_path / "exact")
    assert not exact.approximate
    assert any(not torch.equal(found[name], tensor) for name, tensor in weights(tmp_path / "exact").items())


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    short = ["stages.expression=none", "stages.identity=none"]
    for name, seed in {"a": 0, "again": 0, "b": 1}.items():
        train(tiny(*short, f"seed={seed}"), tmp_path / name)
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert any(not torch.equal(a[name], b[name]) for name in a)
    digests = [file_sha256(places.find(tmp_path / name)) for name in ("a", "again", "b")]
    assert digests[0] == digests[1] != digests[2]


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    only_direct = ["stages.expression=none", "stages.identity=none", "stages.direct.steps=120", "pairs=8"]
    train(tiny(*only_direct, "stages.direct.optimizer.lr=1e-3"), tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first, last = records[:10], records[-10:]
    for loss in ("photometric", "ssim", "symmetry"):
        assert sum(r[loss] for r in last) < sum(r[loss] for r in first)


def test_the_identity_stage_leaves_the_expression_networks_alone(tmp_path: Path) -> None:
    train(tiny("stages.identity=none"), tmp_path / "one")
    config = tiny("stages.direct=none", "stages.expression=none")
    run = Pretraining(config, RunFolder(tmp_path / "two"), Quiet(), weights_follow=True)
    run.start_from(tmp_path / "one")
    run.folder.create(run.config)
    run.run()
    before, after = weights(tmp_path / "one"), weights(tmp_path / "two")
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"identity", "renormalizer"}
    assert header.read(tmp_path / "two").metadata["parent"] == header.read(tmp_path / "one").sha256()


def test_weights_keep_the_terms_of_those_they_began_with(tmp_path: Path) -> None:
    parent = Pretraining(tiny(), RunFolder(tmp_path / "one"), Quiet())
    parent.licence = "for research"
    parent.folder.create(parent.config)
    parent.run()
    run = Pretraining(tiny(), RunFolder(tmp_path / "two"), Quiet())
    own = run.licence
    run.start_from(tmp_path / "one")
    assert header.read(tmp_path / "two").metadata["licence"] == f"for research; {own}"


def test_weights_of_another_method_are_named(tmp_path: Path) -> None:
    train(tiny("stages.direct.steps=1", "stages.expression=none", "stages.identity=none"), tmp_path / "one")
    config = resolve([*preset_layers("simclr"), set_layer(["encoder.name='timm:mobilenetv3_small_050'"])])
    config = config.model_copy(update={"data": tiny().data})
    with pytest.raises(CheckpointError, match="holds weights of the method facecycle, and this run trains simclr"):
        Pretraining(config, RunFolder(tmp_path / "two"), Quiet()).start_from(tmp_path / "one")


def test_a_cycle_whose_every_step_was_skipped_is_not_called_trained(tmp_path: Path) -> None:
    config = tiny("stages.direct.losses.photometric.weight=1e39", "non_finite_limit=2")
    run = Pretraining(config, RunFolder(tmp_path / "run"), Quiet())
    run.folder.create(config)
    with pytest.raises(RunError, match="not finite"):
        run.run()
    assert run.trained == set()


def test_bad_images_are_replaced_and_named(tmp_path: Path) -> None:
    for number in range(8):
        picture(tmp_path / "t" / f"{number // 2}" / f"{number}.jpg", number)
    (tmp_path / "t" / "0" / "0.jpg").write_text("no image")
    broken = tmp_path / "t" / "1"
    for path in broken.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    data = JoinedTracks([build("dataset", "tracks", {"path": str(tmp_path / "t")})])
    config = tiny("pairs=4")
    batches = Batches(data, config, "direct", config.stages["direct"])
    for _, batch in batches.iterate(0, 12):
        for image in (*batch.first, *batch.second):
            assert image.std() > 0.01
    assert set(batches.tally.names) == {"0/0.jpg", "1/2.jpg", "1/3.jpg"}


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_text("no image")
    config = tiny()
    data = JoinedTracks([build("dataset", "tracks", {"path": str(tmp_path)})])
    with pytest.raises(DataError, match="none of the 4 images"):
        Batches(data, config, "direct", config.stages["direct"]).batch(0)


def test_several_data_sets_are_joined_frame_by_frame(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "stills" / f"{number}.png", number)
        picture(tmp_path / "clips" / "a" / f"{number}.png", 10 + number)
    sets = [build("dataset", "tracks", {"path": str(tmp_path / name)}) for name in ("stills", "clips")]
    joined = JoinedTracks(sets)
    assert [tuple(t.frames) for t in joined.tracks] == [(0,), (1,), (2,), (3, 4, 5)]
    pixels, _ = joined.images([4, 1], 16)
    assert torch.equal(pixels[0], sets[1].images([1], 16)[0][0])
    assert torch.equal(pixels[1], sets[0].images([1], 16)[0][0])


def test_a_loss_that_stays_non_finite_stops_the_run(tmp_path: Path) -> None:
    config = tiny("stages.direct.steps=30", "stages.direct.losses.photometric.weight=1e39")  # more than float32 holds
    listener = Quiet()
    with pytest.raises(RunError, match="not finite for 10 steps in a row"):
        train(config, tmp_path / "run", listener)
    assert len(listener.notes) >= 9


def test_a_gradient_that_is_not_finite_moves_nothing(tmp_path: Path) -> None:
    run = Pretraining(tiny("non_finite_limit=2"), RunFolder(tmp_path / "run"), Quiet())
    before = {name: tensor.clone() for name, tensor in run.method.state_dict().items()}
    next(run.method.motion.parameters()).register_hook(lambda gradient: gradient * float("nan"))
    run.folder.create(run.config)
    with pytest.raises(RunError, match="not finite for 2 steps"):
        run.run()
    assert all(torch.equal(before[name], tensor) for name, tensor in run.method.state_dict().items())


def test_noise_differs_by_step_and_process_and_repeats() -> None:
    config = tiny("pairs=2")
    run_method = build_method(config)
    objective = Objective(config, "expression", run_method)
    pairs = Pairs(*torch.randn(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    run_method.eval()
    totals = [
        float(training_step(run_method, objective, pairs, config, step, process, False)[0]["total"])
        for step, process in ((0, 0), (0, 0), (1, 0), (0, 1))
    ]
    assert totals[0] == totals[1]
    assert len(set(totals)) == 3


def test_a_collapsed_code_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facecycle.pretraining.run_folder.COLLAPSED", 1e9)
    monkeypatch.setattr("facecycle.pretraining.run_folder.COLLAPSE_PATIENCE", 1)
    listener = Quiet()
    train(tiny("stages.expression=none", "stages.identity=none"), tmp_path / "run", listener)
    assert len([note for note in listener.notes if "collapsed" in note]) == 1


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    RunFolder(tmp_path).create(tiny())
    with pytest.raises(ConfigError, match="already holds a run"):
        RunFolder(tmp_path).create(tiny())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stages.direct.losses.photometric.views={neutrall=1.0}", "Did you mean neutral"),
        ("stages.direct.losses.photometric.name=l2", "there is no loss 'l2'"),
        ("stages.direct.cycle=expresion", "Did you mean expression"),
        ("encoder.name=resnt18", "Did you mean resnet18"),
        ("warper.name=fusd", "there is no warper"),
        ("stages.identity.losses.photometric.views={neutral=1.0}", "the identity cycle has no such view"),
        ("stages.identity.losses.photometric.name=l2", "there is no loss 'l2'"),
        ("stages.direct.losses.ssim.views.direct=none", "losses.ssim looks at no view"),
        ("stages.direct.losses.ssim={name='perceptual', options={network='hf-hub:a/b'}}", "network"),
        ("stages.identity.losses.ssim.options={windw=3}", "option 'windw' of the loss 'ssim' does not exist"),
    ],
)
def test_wrong_names_in_a_configuration_are_explained(tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        Pretraining(tiny(setting), RunFolder(tmp_path / "run"), Quiet())


def test_a_stage_whose_losses_were_all_removed_is_refused_before_the_first(tmp_path: Path) -> None:
    removed = [f"stages.identity.losses.{name}=none" for name in tiny().stages["identity"].losses]
    with pytest.raises(ConfigError, match=r"stages\.identity has no loss left"):
        Pretraining(tiny(*removed), RunFolder(tmp_path / "run"), Quiet())
