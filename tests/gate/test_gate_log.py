"""Control without a door: what the service writes into the log is in force at once, and nothing bad gets in by it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gatekit import Broker, GateHome, eventually, line_with_checksum
from raw_mqtt import Client, Refused

ROOM = "tenant/lincoln/music_room/MUSIC-1234"
IN_FORCE_S = 0.15


def read_to(broker: Broker) -> None:
    """Waits until the gate has read the log to its end, at most the contract's 150 ms (doubled: two shared cores)."""
    eventually(
        lambda: broker.home.status()["log"].endswith(f" {broker.home.seq}"), "the log to be read", 2 * IN_FORCE_S
    )


def hears(speaker: Client, topic: str, hearer: Client) -> bool:
    speaker.publish(topic, b"x")
    speaker.settle()
    return bool(hearer.heard())


@pytest.mark.rule("ACL-9")
def test_mute_and_unmute(broker: Broker) -> None:
    """A mute of one, or of all, denies notes and MIDI and nothing else, in the broker, until it is taken back."""
    ann, bob, teacher = broker.student(), broker.student(sub="s-bob"), broker.teacher()
    assert bob.subscribe(f"{ROOM}/note/+", f"{ROOM}/midi/+") == [0, 0]
    note = f"{ROOM}/note/s-ann"
    assert hears(ann, note, bob)
    for mute, unmute in (
        ("mute lincoln MUSIC-1234 s-ann", "unmute lincoln MUSIC-1234 s-ann"),
        ("muteall lincoln MUSIC-1234", "unmuteall lincoln MUSIC-1234"),
    ):
        broker.home.log(mute)
        read_to(broker)
        assert not hears(ann, note, bob)
        assert not hears(ann, f"{ROOM}/midi/s-ann", bob)
        assert hears(teacher, f"{ROOM}/note/t-kim", bob)
        assert ann.publish("tenant/lincoln/presence/s-ann", b"ready 0", 1, True) == 0
        again = broker.student(digit=1)  # reconnecting does not help
        assert not hears(again, note, bob)
        again.disconnect()
        broker.home.log(unmute)
        read_to(broker)
        assert hears(ann, note, bob)
    broker.home.log("mute lincoln MUSIC-1234 s-ann", "close lincoln MUSIC-1234", "open lincoln MUSIC-1234")
    read_to(broker)
    assert hears(ann, note, bob), "closing a room forgets its mutes"


@pytest.mark.rule("REV-6")
def test_room_opened_a_moment_ago(broker: Broker) -> None:
    """The log is read before a CONNECT and a SUBSCRIBE are judged: who was just let in is never refused."""
    for n in range(20):
        room = f"NEW-{n:04}"
        broker.home.log(f"open lincoln {room}")
        pupil = broker.student(room=room)
        broker.home.log(f"close lincoln {room}", f"open lincoln {room}")
        assert pupil.subscribe(f"tenant/lincoln/music_room/{room}/beat") == [0]
        pupil.disconnect()


@pytest.mark.rule("REV-6")
def test_a_mute_that_is_told_is_in_force(broker: Broker) -> None:
    """Who plays at once when the service tells of their mute is not heard any more."""
    ann, bob, rooms = broker.student(), broker.student(sub="s-bob"), broker.service()
    assert ann.subscribe(f"{ROOM}/room", qos=1) == [1]
    assert bob.subscribe(f"{ROOM}/note/+") == [0]
    for n in range(20):
        broker.home.log("mute lincoln MUSIC-1234 s-ann")
        rooms.publish(f"{ROOM}/room", b"%d" % n, 1, True)
        assert ann.wait_message().payload == b"%d" % n
        assert not hears(ann, f"{ROOM}/note/s-ann", bob)
        broker.home.log("unmute lincoln MUSIC-1234 s-ann")
        rooms.publish(f"{ROOM}/room", b"", 1, True)
        assert ann.wait_message().payload == b""
        assert hears(ann, f"{ROOM}/note/s-ann", bob)


@pytest.mark.rule("ACL-11")
@pytest.mark.rule("ACL-17")
def test_closed_room(broker: Broker) -> None:
    """A closed room grants nothing, to speak, to subscribe or to hear; and everything again once it is open."""
    ann, bob = broker.student(), broker.student(sub="s-bob")
    assert bob.subscribe(f"{ROOM}/note/+") == [0]
    broker.home.log("close lincoln MUSIC-1234")
    read_to(broker)
    assert not hears(ann, f"{ROOM}/note/s-ann", bob)
    assert not hears(broker.service(), f"{ROOM}/note/s-ann", bob)
    assert ann.subscribe(f"{ROOM}/beat") == [0x80]
    assert broker.teacher().subscribe(f"{ROOM}/beat") == [0x80]
    broker.home.log("open lincoln MUSIC-1234")
    assert ann.subscribe(f"{ROOM}/beat") == [0]
    assert hears(ann, f"{ROOM}/note/s-ann", bob)


@pytest.mark.rule("ACL-6")
def test_assignment(broker: Broker) -> None:
    """A device speaks and hears in the room that it is assigned to, and is told which that is."""
    drum, rooms = broker.device(), broker.service()
    assert drum.subscribe("tenant/lincoln/device/d-drum/room", f"{ROOM}/beat") == [0, 0x80]
    assert rooms.publish("tenant/lincoln/device/d-drum/room", b"MUSIC-1234", 1, True) == 0
    assert [m.payload for m in drum.heard()] == [b"MUSIC-1234"]
    broker.home.log("assign lincoln d-drum MUSIC-1234")
    assert drum.subscribe(f"{ROOM}/note/+") == [0]
    ann = broker.student()
    assert hears(ann, f"{ROOM}/note/s-ann", drum)
    broker.home.log("assign lincoln d-drum CHOIR-0001")
    read_to(broker)
    assert not hears(ann, f"{ROOM}/note/s-ann", drum)
    broker.home.log("assign lincoln d-drum -")
    read_to(broker)
    assert drum.subscribe("tenant/lincoln/music_room/CHOIR-0001/beat") == [0x80]


@pytest.mark.rule("REV-1")
@pytest.mark.rule("REV-2")
@pytest.mark.rule("REV-4")
@pytest.mark.rule("REV-6")
@pytest.mark.parametrize(
    "entry", ["kick lincoln s-ann", "revoke lincoln s-ann {now} {later}", "revokejti lincoln {jti} {later}"]
)
def test_thrown_out(entry: str, broker: Broker) -> None:
    """Kick, and the withdrawal of a subject's tokens or of one token: out within 150 ms; others stay."""
    home, now = broker.home, int(time.time())
    claims = home.claims("lincoln", "student", "s-ann", "MUSIC-1234")
    ann = broker.open("lincoln_s-ann", "lincoln/s-ann", home.token(claims))
    bob = broker.student(sub="s-bob")
    home.log(entry.format(now=now, later=now + 9999, jti=claims["jti"]))
    begin = time.monotonic()
    ann.wait_closed()
    assert time.monotonic() - begin < 2 * IN_FORCE_S
    bob.settle()
    if entry.startswith("kick"):
        broker.student().disconnect()
    else:
        with pytest.raises(Refused):
            broker.open("lincoln_s-ann", "lincoln/s-ann", home.token(claims))
        newer = home.token(home.claims("lincoln", "student", "s-ann", "MUSIC-1234") | {"iat": now + 5})
        broker.open("lincoln_s-ann", "lincoln/s-ann", newer).disconnect()


@pytest.mark.rule("REV-3")
def test_floor(broker: Broker) -> None:
    """A higher generation makes the lower ones void, at once."""
    old = broker.device(generation=1)
    broker.home.log("floor lincoln d-drum 2")
    old.wait_closed()
    with pytest.raises(Refused):
        broker.device(generation=1)
    broker.device(generation=2).settle()


@pytest.mark.rule("CRED-3")
def test_token_expires_while_connected(broker: Broker) -> None:
    """23: the connection ends with its token; a service's outlives it."""
    rooms = broker.person("bandroom", "rooms", "rooms", ttl=2, local=True)
    ann, bob = broker.student(ttl=2), broker.student(sub="s-bob")
    begin = time.monotonic()
    ann.wait_closed()
    assert 0.9 < time.monotonic() - begin < 4
    bob.settle()
    rooms.settle()


def test_renewal(broker: Broker) -> None:
    """Make before break: the second connection, with the next digit, is there before the first one ends."""
    first = broker.student(ttl=2, digit=0)
    second = broker.student(digit=1)
    assert second.subscribe(f"{ROOM}/beat") == [0]
    first.wait_closed()
    assert hears(broker.service("tempo-0"), f"{ROOM}/beat", second)


@pytest.mark.rule("REV-7")
def test_compaction_replaces_the_state(broker: Broker) -> None:
    """A new file renamed over the log is read whole; connections that it no longer allows end, the others stay."""
    ann, bob = broker.student(), broker.student(sub="s-bob")
    assert bob.subscribe(f"{ROOM}/note/+") == [0]
    broker.home.log("mute lincoln MUSIC-1234 s-ann")
    read_to(broker)
    now = int(time.time())
    file_id = broker.home.write_log(
        ["open lincoln MUSIC-1234", f"revoke lincoln s-eve {now} {now + 99}", "kick lincoln s-bob"]
    )
    eventually(lambda: broker.home.status()["log"] == f"{file_id} 3", "the new log")
    assert hears(ann, f"{ROOM}/note/s-ann", bob), "the mute is not in the new log; its kick is history"
    broker.home.write_log([f"revoke lincoln s-ann {now + 9} {now + 99}"])
    ann.wait_closed()
    assert broker.student(sub="s-eve").subscribe(f"{ROOM}/beat") == [0x80]


@pytest.mark.rule("REV-7")
def test_a_new_log_that_says_nothing(broker: Broker) -> None:
    """What only the old file said is not in force any more, for who is connected either."""
    ann, bob = broker.student(), broker.student(sub="s-bob")
    assert bob.subscribe(f"{ROOM}/note/+") == [0]
    assert hears(ann, f"{ROOM}/note/s-ann", bob)
    file_id = broker.home.write_log([])
    eventually(lambda: broker.home.status()["log"] == f"{file_id} 0", "the new log")
    assert not hears(ann, f"{ROOM}/note/s-ann", bob)
    assert not hears(broker.service(), f"{ROOM}/note/s-ann", bob)


BROKEN: dict[str, Callable[[GateHome], str]] = {
    "wrong checksum": lambda h: f"{h.seq + 1} close lincoln MUSIC-1234 00000000\n",
    "wrong sequence": lambda h: line_with_checksum(f"{h.seq + 2} close lincoln MUSIC-1234"),
    "the same again": lambda h: line_with_checksum(f"{h.seq} close lincoln MUSIC-1234"),
    "unknown verb": lambda h: line_with_checksum(f"{h.seq + 1} shut lincoln MUSIC-1234"),
    "bad name": lambda h: line_with_checksum(f"{h.seq + 1} close LINCOLN MUSIC-1234"),
    "missing argument": lambda h: line_with_checksum(f"{h.seq + 1} close lincoln"),
    "garbage": lambda _: "\0\1\2\n",
    "endless line": lambda _: "x" * 100_000,
}


@pytest.mark.rule("REV-5")
@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_broken_line(text: Callable[[GateHome], str], broker: Broker, start_broker: Callable[..., Broker]) -> None:
    """A bad line: the last good state stays, status says what is wrong, a compaction mends it; at a start: refused."""
    ann, bob = broker.student(), broker.student(sub="s-bob")
    assert bob.subscribe(f"{ROOM}/note/+") == [0]
    with (broker.home.dir / "log").open("a") as file:
        file.write(text(broker.home) + line_with_checksum(f"{broker.home.seq + 2} close lincoln MUSIC-1234"))
    eventually(lambda: broker.home.status()["error"] != "-", "the error")
    assert f"line {broker.home.seq + 2}" in broker.home.status()["error"]
    assert hears(ann, f"{ROOM}/note/s-ann", bob)
    second = start_broker(wait=False)
    assert second.process.wait(10) != 0
    assert "gate: cannot start: gate log: line" in second.log
    broker.home.write_log(["open lincoln MUSIC-1234"])
    eventually(lambda: broker.home.status()["error"] == "-", "the error to go")
    assert hears(ann, f"{ROOM}/note/s-ann", bob)


@pytest.mark.rule("REV-5")
def test_half_a_line_waits(broker: Broker) -> None:
    """A line that is still being written is not an error, and takes effect when it is whole."""
    ann, bob = broker.student(), broker.student(sub="s-bob")
    assert bob.subscribe(f"{ROOM}/note/+") == [0]
    line = line_with_checksum(f"{broker.home.seq + 1} mute lincoln MUSIC-1234 s-ann")
    with (broker.home.dir / "log").open("a") as file:
        for part in (line[:7], line[7:20], line[20:]):
            assert hears(ann, f"{ROOM}/note/s-ann", bob)
            assert broker.home.status()["error"] == "-"
            file.write(part)
            file.flush()
    broker.home.seq += 1
    read_to(broker)
    assert not hears(ann, f"{ROOM}/note/s-ann", bob)


def test_missing_foreign_or_shrunk_file(broker: Broker, start_broker: Callable[..., Broker]) -> None:
    """Missing at the start, or foreign: refused with the reason. Later: the last good state is kept and reported."""
    ann, bob, log = broker.student(), broker.student(sub="s-bob"), broker.home.dir / "log"
    assert bob.subscribe(f"{ROOM}/note/+") == [0]

    def breaks(change: Callable[[], object], word: str) -> None:
        good = log.read_text()
        change()
        eventually(lambda: word in broker.home.status()["error"], f"an error with {word!r}")
        assert hears(ann, f"{ROOM}/note/s-ann", bob)
        refused = start_broker(wait=False)
        assert refused.process.wait(10) != 0
        assert "gate: cannot start: gate log" in refused.log
        new = Path(f"{log}.new")
        new.write_text(good)
        new.rename(log)
        eventually(lambda: broker.home.status()["error"] == "-", "the error to go")

    def foreign() -> None:
        new = Path(f"{log}.new")
        new.write_text("hello\n")
        new.rename(log)

    breaks(log.unlink, "No such file")
    breaks(foreign, "not the first line")
    breaks(lambda: os.truncate(log, 5), "shrunk")


def test_long_log(home: GateHome, start_broker: Callable[..., Broker]) -> None:
    """100,000 lines are read at a start within a second or so, and followed without a stall."""
    home.write_log([f"open lincoln ROOM-{n % 10000:04}" for n in range(99_999)] + ["open lincoln MUSIC-1234"])
    begin = time.monotonic()
    broker = start_broker()
    assert time.monotonic() - begin < 5
    ann = broker.student()
    home.log(*(f"mute lincoln MUSIC-1234 s-x{n}" for n in range(10_000)))
    read_to(broker)
    ann.settle()


def test_status_names_keys_and_counts(broker: Broker) -> None:
    """The status file is 4096 bytes, closed to other users, and tells of keys, connections and refusals."""
    status = broker.home.dir / "status"
    ann = broker.student()
    ann.publish(f"{ROOM}/beat")
    with pytest.raises(Refused):
        broker.open("x", "y", "z")
    eventually(lambda: broker.home.status()["denied_publishes"] == "1", "the count")
    found = broker.home.status()
    assert status.stat().st_size == 4096
    assert status.stat().st_mode & 0o077 == 0
    assert found["keys"].split() == [broker.home.people.kid, broker.home.service.kid]
    assert (found["connections"], found["refused_connects"]) == ("1", "1")
