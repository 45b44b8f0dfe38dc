"""The command as a process: how it starts and ends, and that it writes nothing and asks nobody.

Python's own doings are watched by an audit hook. Native libraries escape that, so files are looked for as well, and
connections in /proc.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.common import Command, refused
from helpers.serving import Client, encoded, no_face, one_face, weights_of

WATCHED = """
import json, os, sys
SEEN = []
KINDS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen"}

def hook(event, arguments):
    if event in KINDS:
        SEEN.append((event, repr(arguments)))
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        SEEN.append((event, repr(arguments)))

sys.addaudithook(hook)
sys.dont_write_bytecode = True
from facecycle_cli.main import run
try:
    run()
finally:
    heavy = [name for name in ("torch", "torchvision", "timm") if name in sys.modules]
    print(json.dumps([SEEN, heavy]), flush=True)
"""


@contextmanager
def started(*arguments: str, cwd: Path) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED, "serve", "--port", "0", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(cwd))},
    )
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if " is open" in line)
        yield process, Client(int(line.split("/ is open")[0].rpartition(":")[2]))
    finally:
        process.kill()
        process.wait()


def ports(process: int) -> set[int]:
    """Return this machine's ports of all sockets that a process has open."""
    open_ones = set()
    for file in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed while we look
            open_ones.add(os.readlink(file))
    families = ("tcp", "tcp6", "udp", "udp6")
    lines = [line for name in families for line in Path(f"/proc/{process}/net/{name}").read_text().splitlines()[1:]]
    fields = [line.split() for line in lines]
    return {int(each[1].rpartition(":")[2], 16) for each in fields if f"socket:[{each[9]}]" in open_ones}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_keeps_nothing_asks_nobody_and_ends_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    photograph = encoded(one_face())
    with started(cwd=tmp_path) as (process, client):
        assert client.ask("GET", "/")[0] == 200
        assert client.ask("POST", "/api/find", photograph)[0] == 200
        query = f"face=0&strength=1&photograph={len(photograph)}"
        assert client.ask("POST", f"/api/translate?{query}", photograph * 2)[0] == 200
        assert client.ask("POST", "/api/find", b"no picture")[0] == 422
        assert client.ask("POST", "/api/find", encoded(no_face()))[0] == 422
        assert ports(process.pid) == {client.port}  # it listens there, and asks nobody
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err == ""
    seen, heavy = json.loads(out.splitlines()[-1])
    assert seen == []
    assert heavy == []
    assert out.count("\n") == 1  # the request, and its picture, are nowhere in it
    assert list(tmp_path.iterdir()) == []


def test_it_ends_well_in_its_first_moment_too(tmp_path: Path) -> None:
    with started(cwd=tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_a_port_in_use_is_one_message(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused(command("serve", "--port", port), f"port {port} of 127.0.0.1 is in use", "--port 0")


def test_an_address_of_another_machine_is_one_message(inside: Command) -> None:
    refused(inside("serve", "--host", "192.0.2.1"), "--host 192.0.2.1 --port 8008: ")
    refused(inside("serve", "--host", "no.such.name.invalid"), "--host no.such.name.invalid")


def test_without_the_extra_it_says_how_to_get_it(inside: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uvicorn" else find(name))
    refused(inside("serve"), "serve needs uvicorn", "pip install 'facecycle[web]'")


def test_missing_weights_are_one_message(inside: Command) -> None:
    refused(inside("serve", "--port", 0, "--checkpoint", "runs/none"), "there is no checkpoint at runs/none")


def test_weights_that_make_no_pictures_are_one_message(inside: Command, tmp_path: Path) -> None:
    weights = weights_of(tmp_path)
    refused(inside("serve", "--port", 0, "--checkpoint", weights), f"{weights}: these weights make no pictures")


def test_another_address_comes_with_a_warning(tmp_path: Path) -> None:
    with started("--host", "0.0.0.0", cwd=tmp_path) as (process, client):
        assert client.ask("GET", "/")[0] == 200
        assert client.ask("GET", "/", Host="evil.example")[0] == 421
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
