"""What the log says holds before the next CONNECT and SUBSCRIBE, through compactions, and for who is leaving."""

from __future__ import annotations

import contextlib
import struct
import time

import pytest
from gatekit import Broker, Will, eventually
from raw_mqtt import PUBLISH, SUBACK, SUBSCRIBE, Refused, packet, text

ROOM = "tenant/lincoln/music_room/MUSIC-1234"
PRESENCE = "tenant/lincoln/presence/s-ann"


@pytest.mark.rule("REV-1")
@pytest.mark.rule("REV-6")
def test_withdrawn_a_moment_ago(broker: Broker) -> None:
    """The log is read before a CONNECT is judged: a credential that was withdrawn just now opens nothing."""
    for n in range(20):
        sub, until = f"s-x{n}", int(time.time()) + 99
        broker.home.log(f"revoke lincoln {sub} {until} {until}")
        with pytest.raises(Refused):
            broker.student(sub=sub)


@pytest.mark.rule("REV-2")
@pytest.mark.rule("REV-6")
def test_nothing_is_granted_between_the_entry_and_the_end(broker: Broker) -> None:
    """From the SUBSCRIBE that made the gate read of its sender's withdrawal, nothing is granted to it or taken from it,
    though its connection ends only a moment later.
    """
    bob = broker.student(sub="s-bob")
    assert bob.subscribe(f"{ROOM}/note/+") == [0]
    answers: list[int] = []
    for n in range(10):
        sub = f"s-x{n}"
        client = broker.student(sub=sub)
        asks = packet(SUBSCRIBE, struct.pack(">H", 1) + text(f"{ROOM}/beat") + b"\0", 2)
        notes = packet(PUBLISH, text(f"{ROOM}/note/{sub}") + b"late") * 20
        broker.home.log(f"revoke lincoln {sub} 9999999999 9999999999")
        with contextlib.suppress(ConnectionError):
            client.send(asks + notes)
            answers += client.until(SUBACK).body[2:]
        client.wait_closed()
    assert set(answers) == {0x80}
    assert bob.heard() == []


@pytest.mark.rule("REV-7")
@pytest.mark.rule("ACL-11")
def test_what_a_compaction_leaves_out_is_gone(broker: Broker) -> None:
    """A new log that no longer opens a room closes it for who is in it, also where it says nothing of that school."""
    ann, other = broker.student(), broker.student(tenant="other")
    theirs = "tenant/other/music_room/MUSIC-1234"
    assert other.subscribe(f"{theirs}/note/+") == [0]
    file_id = broker.home.write_log(["open lincoln MUSIC-1234"])
    eventually(lambda: broker.home.status()["log"] == f"{file_id} 1", "the new log")
    other.publish(f"{theirs}/note/s-ann", b"from a room that is closed")
    assert other.heard() == []
    assert broker.service().publish(f"{theirs}/note/s-x", b"into it") is None
    assert other.heard() == []
    assert ann.subscribe(f"{ROOM}/beat") == [0]


@pytest.mark.rule("REV-5")
def test_a_bad_compaction_changes_nothing(broker: Broker) -> None:
    """A foreign file in the log's place: rooms, mutes and withdrawals stay in force, also for who comes."""
    home = broker.home
    ann, bob = broker.student(), broker.student(sub="s-bob")
    assert bob.subscribe(f"{ROOM}/note/+") == [0]
    home.log("mute lincoln MUSIC-1234 s-ann", "revoke lincoln s-eve 9999999999 9999999999")
    eventually(lambda: home.status()["log"].endswith(f" {home.seq}"), "the log to be read")
    new = home.dir / "log.new"
    new.write_text("bandroom-gate 2 0123456789abcdef\n")
    new.rename(home.dir / "log")
    eventually(lambda: "not the first line" in home.status()["error"], "the error")
    ann.publish(f"{ROOM}/note/s-ann", b"muted")
    ann.settle()
    assert bob.heard() == []
    with pytest.raises(Refused):
        broker.student(sub="s-eve")
    late = broker.student(sub="s-late")
    assert late.subscribe(f"{ROOM}/beat") == [0]
    late.publish(f"{ROOM}/note/s-late", b"heard")
    assert bob.wait_message().payload == b"heard"


@pytest.mark.rule("LIM-2")
@pytest.mark.rule("ACL-16")
def test_wills_of_takeovers_are_counted(broker: Broker) -> None:
    """Who takes over from oneself again and again sends no more Wills than its allowance of presence."""
    broker.home.log("limit lincoln presence_msgs 1 5")
    ear = broker.service()
    assert ear.subscribe("tenant/lincoln/presence/+") == [0]
    began = time.monotonic()
    for version in (4, 5):
        clients = [broker.student(version=version, will=Will(PRESENCE)) for _ in range(15)]
        for client in clients[:-1]:
            client.wait_closed()
        clients[-1].disconnect()
    assert 5 <= len(ear.heard()) <= 6 + time.monotonic() - began


@pytest.mark.rule("LIM-1")
def test_one_code_in_two_schools_has_two_allowances(broker: Broker) -> None:
    """A room whose namesake in another school is used up has all of its own."""
    broker.home.log("limit lincoln room_msgs 1 10")
    theirs = "tenant/other/music_room/MUSIC-1234"
    ear = broker.service()
    assert ear.subscribe(f"{theirs}/note/+", f"{ROOM}/note/+") == [0, 0]
    for tenant, room, passes in (("lincoln", ROOM, 10), ("other", theirs, 60)):
        client = broker.student(tenant=tenant)
        client.send(packet(PUBLISH, text(f"{room}/note/s-ann") + b"x") * 60)
        client.settle()
        assert passes <= len(ear.heard()) <= passes + 1


def connections(broker: Broker) -> str:
    """How many the gate says there are. It writes its status once a second, and whenever the log has something new."""
    broker.home.log("unmuteall lincoln MUSIC-1234")
    eventually(lambda: broker.home.status()["log"].endswith(f" {broker.home.seq}"), "the log to be read")
    return broker.home.status()["connections"]


def test_sessions_left_behind_are_not_counted_as_connections(broker: Broker) -> None:
    """MQTT 5 with a session expiry: gone is gone, for the gate's table of connections, too."""
    for version, properties in ((4, b""), (5, b"\x11\x00\x00\x00\x3c")):
        for polite in (False, True):
            client = broker.student(version=version, properties=properties)
            assert connections(broker) == "1"
            if polite:
                client.disconnect()
            else:
                client.vanish()
            eventually(lambda: connections(broker) == "0", "no connection")
