"""The gate in a real broker: connecting, speaking, hearing."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack

import pytest
from gatekit import Broker

ROOM = "tenant/lincoln/music_room/MUSIC-1234"


def test_note_reaches_the_room(broker: Broker) -> None:
    """A pupil's note is heard by pupil, teacher and device of the room and nobody else."""
    broker.home.log("assign lincoln d-drum MUSIC-1234")
    hearers = [broker.student(sub="s-bob"), broker.teacher(), broker.device()]
    for hearer in hearers:
        assert hearer.subscribe(f"{ROOM}/note/+", f"{ROOM}/beat") == [0, 0]
    other = broker.student(tenant="other", sub="s-bob")
    assert other.subscribe("tenant/other/music_room/MUSIC-1234/note/+") == [0]
    ann = broker.student()
    ann.publish(f"{ROOM}/note/s-ann", b'{"on":60}')
    ann.settle()
    for hearer in hearers:
        assert [m.payload for m in hearer.heard()] == [b'{"on":60}']
    assert other.heard() == []


@pytest.mark.rule("ACL-3")
def test_beat_from_the_socket(broker: Broker) -> None:
    """A tempo worker on the Unix socket publishes beats; the rooms service hears presence."""
    rooms, tempo = broker.service(), broker.service("tempo-0")
    assert rooms.subscribe("tenant/+/presence/+") == [0]
    ann = broker.student()
    assert ann.subscribe(f"{ROOM}/beat") == [0]
    tempo.publish(f"{ROOM}/beat", b"{}")
    tempo.settle()
    assert [m.topic for m in ann.heard()] == [f"{ROOM}/beat"]
    ann.publish("tenant/lincoln/presence/s-ann", b"ready 0", qos=1, retain=True)
    assert rooms.wait_message().payload == b"ready 0"


@pytest.mark.rule("TIME-1")
@pytest.mark.rule("CLK-2")
def test_ping_is_answered_in_place(broker: Broker) -> None:
    """A clock ping comes back on .../r with server time in the place of its zeros."""
    ann = broker.student()
    assert ann.subscribe(f"{ROOM}/clock/s-ann/r") == [0]
    before = broker.home.server_time_us()
    ann.publish(f"{ROOM}/clock/s-ann/q", b"abcdefgh 0f 0000000000000000")
    answer = ann.wait_message()
    after = broker.home.server_time_us()
    assert answer.topic == f"{ROOM}/clock/s-ann/r"
    assert answer.payload[:12] == b"abcdefgh 0f "
    assert before <= int(answer.payload[12:]) <= after


def test_hundreds_may_wait_at_the_door(broker: Broker) -> None:
    """While the broker is busy the kernel lets far more than Mosquitto's own 100 connections wait to be accepted."""
    broker.student()  # so the broker has ticked
    with ExitStack() as waiting:
        broker.process.send_signal(signal.SIGSTOP)
        waiting.callback(broker.process.send_signal, signal.SIGCONT)
        for _ in range(400):
            # One that the kernel turns away tries again after a second, and then two: it would not be there in three.
            waiting.enter_context(socket.create_connection(("127.0.0.1", broker.port), timeout=2.5))
