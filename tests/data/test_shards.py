"""Shards: the same bytes every time, the pixels of the files, kills survived, and the same batches from everywhere."""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from facecycle_plugins.datasets.unlabelled.shards import HELD, Kept
from helpers.common import Command, picture
from helpers.forked import python, start

from facecycle.checkpoints import header
from facecycle.config.layers import preset_layers, resolve, set_layer
from facecycle.config.settings import RunConfig
from facecycle.data.batches import Batches
from facecycle.data.joined import JoinedTracks
from facecycle.data.pairs import POOL_SHARDS
from facecycle.data.shards.format import INDEX, SUMS
from facecycle.data.shards.write import JOURNAL, write_shards
from facecycle.errors import ConfigError, DataError, NotOffered, RunError
from facecycle.registry import build

SIZE = 16
SMALL_MB = 0.03
"""Shards of a handful of tracks."""


def make_tree(root: Path, tracks: int = 60) -> Path:
    for track in range(tracks):
        for frame in range(2 + track % 3):
            picture(root / f"id{track // 2}" / f"v{track % 2}" / f"{frame}.png", 10 * track + frame, (30, 20))
    return root


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("data") / "tree")


@pytest.fixture(scope="module")
def shards(tree: Path) -> Path:
    """More shards than are kept in memory."""
    written = write(tree, tree.parent / "shards")
    assert len(list(written.glob("*.tar"))) > HELD
    return written


def write(tree: Path, out: Path, size: int = SIZE, mb: float = SMALL_MB, **more: Any) -> Path:
    write_shards(build("dataset", "tracks", {"path": str(tree)}), out, size, mb, **more)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def opened(path: object) -> Any:
    return build("dataset", "shards", {"path": str(path)})


def config(*data: tuple[str, Path | str]) -> RunConfig:
    named = [{"name": name, "options": {"path": str(path)}} for name, path in data]
    return resolve([*preset_layers("small"), ("test", {"data": named}), set_layer(["size=16", "pairs=4"])])


def batches(*data: tuple[str, Path | str], stage: str = "direct") -> Batches:
    chosen = config(*data)
    joined = JoinedTracks([build("dataset", c.name, c.options) for c in chosen.data])
    return Batches(joined, chosen, stage, chosen.stages[stage])


def test_frames_in_shards_have_names(shards: Path) -> None:
    joined = JoinedTracks([opened(shards)])
    assert joined.name(0).endswith(" (shard-000000.tar: 00000000.000000.png)")
    last = sum(len(track.frames) for track in joined.tracks) - 1
    assert joined.name(last).startswith(joined.tracks[-1].name)


# --- writing ------------------------------------------------------------------------------------


def test_the_same_tree_gives_the_same_bytes(tree: Path, shards: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tree, tmp_path / "copy", copy_function=shutil.copyfile))  # other times
    assert contents(write(copy, tmp_path / "again")) == contents(shards)


def test_shards_are_what_other_programs_expect(tree: Path, shards: Path) -> None:
    import webdataset

    checked = subprocess.run(["sha256sum", "-c", SUMS], cwd=shards, capture_output=True, text=True)
    assert checked.returncode == 0
    assert checked.stdout.count(": OK") == len(list(shards.iterdir())) - 1
    files = sorted(map(str, shards.glob("*.tar")))
    found = {}
    for sample in webdataset.WebDataset(files, shardshuffle=False):
        about = json.loads(sample["json"])
        found[about["name"]] = (about["identity"], sum(key.endswith(".png") for key in sample))
    expected = build("dataset", "tracks", {"path": str(tree)}).tracks()
    assert found == {track.name: (track.identity, len(track.frames)) for track in expected}
    assert list(found) != sorted(found)  # a shard is a random sample


def test_frames_and_tracks_are_those_of_the_tree(tree: Path, shards: Path) -> None:
    source, kept = build("dataset", "tracks", {"path": str(tree)}), opened(shards)
    originals = {track.name: track for track in source.tracks()}
    index = json.loads((shards / INDEX).read_text())
    assert (index["format"], index["size"], index["licence"]) == (1, SIZE, source.licence)
    assert kept.licence == source.licence
    assert len(kept.tracks()) == len(originals)
    for track in kept.tracks():
        original = originals[track.name]
        assert track.identity == original.identity
        listed = index["shards"][track.shard]["tracks"]
        assert [track.name, track.identity, len(track.frames)] in listed
        found, bad = kept.images(track.frames, SIZE)
        assert torch.equal(found, source.images(original.frames, SIZE)[0])
        assert bad == [None] * len(track.frames)
    with pytest.raises(NotOffered):
        kept.labelled("pose")


def test_bad_frames_are_left_out_and_listed(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "t", 6)
    (root / "id0/v0/0.png").write_text("no image")
    for frame in (root / "id1/v0").iterdir():
        frame.write_text("no image")
    written = write_shards(build("dataset", "tracks", {"path": str(root)}), tmp_path / "s", SIZE, 1)
    assert set(written.index.bad_frames) == {"id0/v0/0.png", *(f"id1/v0/{n}.png" for n in range(4))}
    assert written.empty == 1
    kept = opened(tmp_path / "s")
    assert {track.name: len(track.frames) for track in kept.tracks()}["id0/v0"] == 1
    assert kept.images(range(len(kept.tracks())), SIZE)[1] == [None] * len(kept.tracks())
    for frame in root.rglob("*.png"):
        frame.write_text("no image")
    with pytest.raises(DataError, match="not one frame of 6 tracks can be read"):
        write(root, tmp_path / "none")


def test_a_killed_command_goes_on_where_it_was(tree: Path, shards: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from facecycle.data.shards.write import write_shards;"
        "from facecycle.registry import build; data = build('dataset', 'tracks', {'path': sys.argv[1]});"
        "stop = lambda done, total: os.kill(os.getpid(), 9) if done == 30 else None;"
        f"write_shards(data, Path(sys.argv[2]), {SIZE}, {SMALL_MB}, stop)"
    )
    killed = start(tmp_path / "said", python, code, tree, tmp_path / "s")
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not (tmp_path / "s" / INDEX).exists()
    (tmp_path / "s" / ".shard-000009.tar.1.tmp").write_text("half written")
    with (tmp_path / "s" / JOURNAL).open("a") as journal:
        journal.write('{"shard": {"file"')
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("*.tar")}
    assert 0 < len(before) < len(list(shards.glob("*.tar")))
    write(tree, tmp_path / "s")
    assert contents(tmp_path / "s") == contents(shards)
    assert all((tmp_path / "s" / name).stat().st_mtime_ns == time for name, time in before.items())


class Stop(Exception):
    """Raised in the middle of a call."""


def interrupt(done: int, total: int) -> None:
    if done == 30:
        raise Stop


def test_another_plan_starts_over(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    with pytest.raises(Stop):
        write(tree, out, tell=interrupt)
    (out / "notes.txt").write_text("mine")
    write(tree, out, size=32, mb=1)
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    assert contents(out) == contents(write(tree, tmp_path / "clean", size=32, mb=1))


def test_shards_of_others_are_left_alone(tree: Path, shards: Path, tmp_path: Path) -> None:
    before = contents(shards)
    with pytest.raises(RunError, match="already holds finished shards"):
        write(tree, shards)
    assert contents(shards) == before
    (tmp_path / "shard-000000.tar").write_text("someone's")
    with pytest.raises(RunError, match="were not written here"):
        write(tree, tmp_path)
    assert contents(tmp_path) == {"shard-000000.tar": b"someone's"}


def test_a_full_disk_is_said_once_and_gone_on_from(tree: Path, shards: Path, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(Stop):
        write(tree, tmp_path / "s", tell=interrupt)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(RunError, match=r"cannot write .*tar: .*too large"):
            write(tree, tmp_path / "s")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    write(tree, tmp_path / "s")
    assert contents(tmp_path / "s") == contents(shards)


# --- reading ------------------------------------------------------------------------------------


def test_a_damaged_or_missing_shard_is_named(shards: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(shards, tmp_path / "s"))
    whole = (copy / "shard-000001.tar").read_bytes()
    first = next(track.frames[0] for track in opened(copy).tracks() if track.shard == 1)
    for damaged, message in (
        (whole[:700] + bytes([whole[700] ^ 1]) + whole[701:], "damaged"),
        (whole[:-512], "damaged"),
        (whole + b"x", "larger"),
    ):
        (copy / "shard-000001.tar").write_bytes(damaged)
        with pytest.raises(DataError, match=rf"shard-000001\.tar .*{message}"):
            opened(copy).images([first], SIZE)
    (copy / "shard-000001.tar").unlink()
    dataset = opened(copy)
    with pytest.raises(DataError, match=r"shard-000001\.tar cannot be read: No such file"):
        dataset.images([first], SIZE)
    assert dataset.images([0], SIZE)[1] == [None]
    (copy / "shard-000001.tar").write_bytes(whole)
    assert dataset.images([first], SIZE)[1] == [None]  # mended, it is read
    (copy / INDEX).unlink()
    with pytest.raises(DataError, match=r"there is no index\.json beside .*shard-000000\.tar"):
        opened(copy)


def test_tar_files_of_another_program_are_told_from_shards(tmp_path: Path, shards: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"index\.json cannot be read: No such file") as caught:
        opened(tmp_path / "empty")
    assert "that `facecycle data shard` writes" in str(caught.value)
    (tmp_path / "wds").mkdir()
    with tarfile.open(tmp_path / "wds" / "000000.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("000000000.jpg"))
    for path in (tmp_path / "wds", tmp_path / "wds" / "000000.tar"):
        with pytest.raises(DataError, match=r"no index\.json beside .*000000\.tar[\s\S]*Shards of other programs"):
            opened(path)
    with pytest.raises(DataError, match=r"one shard of several\nGive their folder: shards:"):
        opened(next(shards.glob("*.tar")))


def test_no_more_shards_are_kept_than_stated() -> None:
    loaded: list[int] = []
    kept = Kept(lambda number: loaded.append(number) or number)  # type: ignore[func-returns-value]
    for number in range(HELD + 1):
        assert kept.get(number) == number
    kept.get(1)
    assert loaded == list(range(HELD + 1))
    kept.get(0)  # it made room for the last one
    assert loaded[HELD + 1 :] == [0]
    kept.get(1)  # used since, so 2 made room for 0
    assert loaded[HELD + 1 :] == [0]


def test_a_data_set_without_tracks_is_refused(tmp_path: Path) -> None:
    data = build("dataset", "synthetic", {"identities": 1, "test_identities": 20})
    data.tracks = list
    with pytest.raises(DataError, match="no tracks"):
        write_shards(data, tmp_path, SIZE, 1)


def test_a_process_forked_after_shards_were_read_reads_its_own() -> None:
    kept = Kept(lambda number: number)
    assert [kept.get(number) for number in range(HELD)] == list(range(HELD))
    worker = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(kept.get(HELD) != HELD), daemon=True)
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0


def test_a_prefetch_keeps_what_it_names() -> None:
    loaded: list[int] = []
    kept = Kept(lambda number: loaded.append(number) or number)  # type: ignore[func-returns-value]
    current, following = list(range(POOL_SHARDS)), list(range(POOL_SHARDS, 2 * POOL_SHARDS))
    kept.prefetch(current)
    for number in range(100, 100 + POOL_SHARDS):  # those of the pool before
        kept.get(number)
    kept.prefetch([*current, *following])
    assert [kept.get(number) for number in [*following, *current]] == [*following, *current]
    assert all(count == 1 for count in Counter(loaded).values())


# --- training -----------------------------------------------------------------------------------


class Handler(SimpleHTTPRequestHandler):
    """Serves files, counts them, and cuts the first answers short where it was told to."""

    served: Counter[str]
    cut: Counter[str]

    def do_GET(self) -> None:
        name = Path(self.path.partition("?")[0]).name
        self.served[name] += 1
        if self.cut[name] > 0:
            self.cut[name] -= 1
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"half of it")
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(shards: Path) -> Iterator[tuple[str, type[Handler]]]:
    if shutil.which("curl") is None:
        pytest.skip("webdataset reads URLs by curl, which is not installed")

    class Counting(Handler):
        served: Counter[str] = Counter()
        cut: Counter[str] = Counter()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(shards))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/", Counting
        http.shutdown()
        thread.join()


def test_an_epoch_reads_each_shard_of_a_server_once(shards: Path, server: tuple[str, type[Handler]]) -> None:
    url, handler = server
    remote, local = batches(("shards", url + "?token=1")), batches(("shards", shards))
    steps = len(local.data.tracks) // 4
    for (_, there), (_, here) in zip(remote.iterate(0, steps), local.iterate(0, steps), strict=True):
        assert torch.equal(there.first, here.first)
        assert torch.equal(there.second, here.second)
    remote.batch(0)  # for the samples: nothing is fetched again
    following = remote.visits.pools(steps)[0][0]
    ahead = {f"shard-{number:06d}.tar" for number in following.shards}
    assert {name for name in handler.served if name.endswith(".tar")} == {path.name for path in shards.glob("*.tar")}
    assert all(count == 1 for name, count in handler.served.items() if name not in ahead)
    assert all(count <= 2 for count in handler.served.values())


def test_the_next_pool_is_fetched_while_this_one_is_used(server: tuple[str, type[Handler]]) -> None:
    url, handler = server
    remote = batches(("shards", url))
    next(remote.iterate(0, 1))
    _, following = remote.visits.pools(0)
    assert following is not None
    wanted = {f"shard-{number:06d}.tar" for number in following.shards}
    give_up = time.monotonic() + 60
    while not wanted <= handler.served.keys() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert wanted <= handler.served.keys()


def test_a_failed_transfer_is_tried_again(server: tuple[str, type[Handler]]) -> None:
    url, handler = server
    dataset = opened(url)
    handler.cut["shard-000000.tar"] = 1
    assert dataset.images([0], SIZE)[1] == [None]
    handler.cut["shard-000001.tar"] = 9
    first = next(track.frames[0] for track in dataset.tracks() if track.shard == 1)
    with pytest.raises(DataError, match=r"shard-000001\.tar cannot be read, tried 3 times: exit code 18 \(cut short\)"):
        dataset.images([first], SIZE)
    with pytest.raises(DataError, match=r"nowhere/index\.json cannot be read, tried 3 times: exit code 22"):
        opened(f"{url}nowhere")


def test_shards_come_out_of_a_command(shards: Path) -> None:
    piped = opened(f"pipe:cat '{shards}'/{{}}")
    assert torch.equal(piped.images([0, 9], SIZE)[0], opened(shards).images([0, 9], SIZE)[0])
    with pytest.raises(ConfigError, match="does not say where"):
        opened(f"pipe:cat {shards}/index.json")
    with pytest.raises(ConfigError, match="cannot be read from ftp7:"):
        opened("ftp7://host/shards")


def test_urls_need_an_extra_and_folders_do_not(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "webdataset"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "webdataset", None)
    assert len(opened(shards).tracks()) == 60
    with pytest.raises(ConfigError, match="needs webdataset") as caught:
        opened("http://127.0.0.1:1/")
    assert caught.value.hint == "pip install facecycle[shards]"


@pytest.mark.parametrize("stage", ["direct", "identity"])
def test_batches_are_the_same_wherever_training_starts(shards: Path, stage: str) -> None:
    whole = list(batches(("shards", shards), stage=stage).iterate(0, 20))  # more than an epoch
    later = list(batches(("shards", shards), stage=stage).iterate(13, 20))
    for (step, before), (again, after) in zip(whole[13:], later, strict=True):
        assert step == again
        assert torch.equal(before.first, after.first)
        assert torch.equal(before.second, after.second)


def test_shards_and_folders_are_joined(tree: Path, shards: Path, tmp_path: Path) -> None:
    other = write(make_tree(tmp_path / "t", 8), tmp_path / "s")
    joined = batches(("shards", shards), ("tracks", tree), ("shards", other)).data
    parts = [track.shard for track in joined.tracks]
    count, more = (len(list(folder.glob("*.tar"))) for folder in (shards, other))
    assert parts[60:120] == [None] * 60
    assert {*parts[:60]} == {*range(count)}
    assert {*parts[120:]} == {*range(count, count + more)}
    by_name = {track.name: track for track in joined.tracks[60:120]}
    for track in (joined.tracks[0], joined.tracks[50], joined.tracks[-1]):
        found, _ = joined.images([track.frames[-1], by_name[track.name].frames[-1]], SIZE)
        assert torch.equal(found[0], found[1])
    joined.prefetch([0, count, count + more - 1])


def test_the_command_writes_shards_and_trains_on_them(
    inside: Command, tree: Path, shards: Path, server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    checked = inside("data", "check", "shards", server[0])
    assert checked.returncode == 0, checked.stderr
    result = inside("data", "shard", tree, "-o", "shards", "--size", SIZE, "--shard-mb", SMALL_MB)
    assert result.returncode == 0, result.stderr
    assert "60 tracks, 180 images" in result.stdout
    assert contents(tmp_path / "shards") == contents(shards)
    trained = inside(
        *("pretrain", "--data", f"shards:{server[0]}", "--encoder", "timm:mobilenetv3_small_050", "--steps", 2),
        *("--set=method.options={width=4, motion_width=16, generator_blocks=1, renormalizer_blocks=1}",),
        *("--set=pairs=2", "--set=size=32", "--set=stages.expression=none", "--set=stages.identity=none"),
        *("--out", "run"),
    )
    assert trained.returncode == 0, trained.stderr
    assert "the frames have 16 pixels a side and are enlarged to 32" in trained.stdout
    assert header.read(tmp_path / "run").metadata["licence"] == "as the images' own terms say"
