"""A whole school announces itself in the same moment: the roster is right in the end, whatever had to be dropped."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from typing import Any

import pytest
from bandroom.mqtt import packets
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Presence
from bandroom.wire.topics import Room, presence

from .conftest import School

PUPILS = 150
"""More than the broker keeps for a subscriber who does not read: 20 on their way and 100 waiting."""
WITHIN_S = 20.0


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def ready(school: School, room: Room) -> int:
    """How many the roster shows as there."""
    members = school.http.get(f"/api/tenants/{school.tenant}/rooms/{room.room}").json()["members"]
    return sum(member["state"] == "ready" for member in members)


@pytest.mark.rule("PRES-5")
def test_more_presences_at_once_than_the_broker_keeps(school: School) -> None:
    """150 pupils announce themselves while the service is held up: once they have said it again, the roster has all.

    The broker drops what is beyond its queue, and acknowledges it; that every client repeats itself makes up for it.
    """
    room = school.room()
    tokens: list[Any] = [school.token(f"s-storm-{n}", room) for n in range(PUPILS)]
    topics = [packets.string(presence(school.tenant, Subject(f"s-storm-{n}")).name) for n in range(PUPILS)]
    said = Presence("ready", error_us=500).encode()
    with ExitStack() as stack:
        socks: list[socket.socket] = []
        for token in tokens:
            sock = stack.enter_context(socket.create_connection(school.stack.mqtt))
            sock.sendall(packets.connect(token["client_id"], token["username"], token["token"], keepalive_s=600))
            socks.append(sock)
        for sock in socks:
            assert sock.recv(4)[3] == 0
        with paused(school.stack.info.pids.service):
            for sock, topic in zip(socks, topics, strict=True):
                sock.sendall(packets.publish_qos1(topic, said, 1, retain=True))
            for sock in socks:
                assert sock.recv(4)[0] == 0x40, "each is acknowledged"
        deadline = time.monotonic() + WITHIN_S
        while ready(school, room) < 100:
            assert time.monotonic() < deadline, "what the broker kept is on the roster"
        everybody = cycle(zip(socks, topics, strict=True))
        while (there := ready(school, room)) < PUPILS:
            assert time.monotonic() < deadline, f"{there} of {PUPILS} are on the roster"
            for sock, topic in islice(everybody, 50):  # not all at once: each client has a time of its own
                sock.sendall(packets.publish_qos1(topic, said, 2, retain=True))
                assert sock.recv(4)[0] == 0x40
