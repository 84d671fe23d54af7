"""Ports: the one that was asked for or none; a default gives way; a reserved one stays ours."""

from __future__ import annotations

import socket

import pytest
from bandroom.runstate import http_url
from bandroom.supervisor.errors import InTheWay, StartError
from bandroom.supervisor.ports import accepts, listen, reserve

HOST = "127.0.0.1"


def test_taken_and_asked_for() -> None:
    """A taken port that was asked for is refused by number."""
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        for take in (reserve, listen):
            with pytest.raises(InTheWay, match=str(port)):
                take("MQTT", HOST, port, asked_for=True)


def test_taken_default_gives_way() -> None:
    """A taken port that is only the default gives way to another."""
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        got = reserve("MQTT", HOST, port, asked_for=False)
        got.socket.close()
        assert got.port not in (0, port)


def test_reserved_port_is_nobody_elses() -> None:
    """Reserved means: refused to others, while a listener that sets SO_REUSEADDR (the broker) comes and goes on it."""
    mine = reserve("MQTT", HOST, 0, asked_for=True)
    try:
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind((HOST, mine.port))
        for _ in range(2):
            with socket.socket() as broker:
                broker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                broker.bind((HOST, mine.port))
                broker.listen()
                assert accepts(HOST, mine.port)
            assert not accepts(HOST, mine.port)
    finally:
        mine.socket.close()


def test_listening_waits_for_its_server() -> None:
    """A connection made while the part that answers is away waits instead of being refused."""
    mine = listen("the web", HOST, 0, asked_for=True)
    try:
        assert accepts(HOST, mine.port)
    finally:
        mine.socket.close()


def test_not_our_address() -> None:
    """An address that this machine does not have is named."""
    with pytest.raises(StartError, match=r"192\.0\.2\.7"):
        reserve("MQTT", "192.0.2.7", 0, asked_for=True)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),  # noqa: S104 (not bound)
        ("::1", "http://[::1]:8080"),
        ("::", "http://[::1]:8080"),
        ("band.local", "http://band.local:8080"),
    ],
)
def test_url(host: str, url: str) -> None:
    """A listening address becomes one that can be reached, in brackets where it must be."""
    assert http_url(host, 8080) == url
