"""Hosts that mean this program, and those that another site made up."""

from __future__ import annotations

import pytest

from facecycle.serving.guard import is_loopback, is_ours

EVIL = (
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "",
    "[",
    "a b",
    "127.1",
    "2130706433",
    "[::1",
)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8008", "localhost:1", "LOCALHOST", "[::1]:8008", "127.0.0.2"])
@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0", "box.lan"])
def test_this_machine_is_ours(host: str, listening: str) -> None:
    assert is_ours(host, listening)


@pytest.mark.parametrize("listening", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "box.lan"])
def test_a_name_of_somebody_else_is_not(listening: str) -> None:
    assert [host for host in EVIL if is_ours(host, listening)] == []


def test_other_addresses_reach_what_listens_on_them() -> None:
    assert is_ours("192.168.1.7:8008", "0.0.0.0")
    assert is_ours("box.lan:8008", "box.lan")
    assert not is_ours("box.lan:8008", "0.0.0.0")
    assert not is_ours("192.168.1.7:8008", "127.0.0.1")


def test_loopback_is_told_from_other_addresses() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.3.2.1", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.7", "box.lan")] == [False] * 4
