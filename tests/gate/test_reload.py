"""SIGHUP and keys: nobody who is connected notices, and keys change without a gap."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable

import pytest
from gatekit import Broker, GateHome, SigningKey, Will, eventually
from raw_mqtt import Refused

ROOM = "tenant/lincoln/music_room/MUSIC-1234"


@pytest.mark.rule("CRED-11")
@pytest.mark.rule("CRED-6")
def test_reload_with_hundreds_connected(broker: Broker) -> None:
    """SIGHUP asks again about every client: all stay, speak and hear, whatever their role and door, and whichever keys
    come and go: those of the first are gone at the end. (Thousands: make bench ARGS="gate --parts reload".)
    """
    broker.home.log("assign lincoln d-drum MUSIC-1234")
    hearers = [
        broker.student(),
        broker.teacher(),
        broker.device(),
        broker.person("lincoln", "viewer", "v-wall", "MUSIC-1234"),
    ]
    hearers += [broker.student(sub=f"s-x{n}") for n in range(300)]
    tempo, rooms = broker.service("tempo-0"), broker.service()
    for hearer in hearers:
        assert hearer.subscribe(f"{ROOM}/beat") == [0]
    home, first = broker.home, broker.home.people
    for n in range(3):
        new = SigningKey("teacher,student,viewer")
        home.people, old = new, home.people
        home.masters = {key: value for key, value in home.masters.items() if key > n} | {n + 2: secrets.token_bytes(32)}
        home.write_keys(old.line)
        os.kill(broker.process.pid, signal.SIGHUP)
        tempo.publish(f"{ROOM}/beat", b"{}")
        tempo.settle()
        eventually(lambda key=new: key.kid in home.status()["keys"], "the new key")
    assert first.kid not in home.status()["keys"]
    tempo.publish(f"{ROOM}/beat", b"last")
    tempo.settle()
    rooms.settle()
    for hearer in hearers:
        assert [m.payload for m in hearer.heard()] == [b"{}"] * 3 + [b"last"]


@pytest.mark.rule("CRED-11")
@pytest.mark.rule("CRED-6")
def test_key_rotation(broker: Broker) -> None:
    """A second key, for people and for devices, is taken at SIGHUP; tokens of either open; of the dropped, none."""
    home, old = broker.home, broker.home.people
    old_drum, old_token = (
        home.password("lincoln/d-drum/1"),
        home.token(home.claims("lincoln", "student", "s-ann", "MUSIC-1234")),
    )
    before = broker.student(sub="s-bob")
    new = SigningKey("teacher,student,viewer")
    home.masters[2] = secrets.token_bytes(32)
    home.write_keys(new.line)
    os.kill(broker.process.pid, signal.SIGHUP)
    eventually(lambda: new.kid in broker.home.status()["keys"], "the new key")
    broker.open("lincoln_s-ann", "lincoln/s-ann", old_token).disconnect()
    broker.open(
        "lincoln_s-ann", "lincoln/s-ann", home.token(home.claims("lincoln", "student", "s-ann", "MUSIC-1234"), new)
    ).disconnect()
    broker.open("lincoln_d-drum", "lincoln/d-drum/1", old_drum).disconnect()
    broker.device().disconnect()
    home.masters[3] = secrets.token_bytes(32)
    home.people = new
    home.write_keys()
    os.kill(broker.process.pid, signal.SIGHUP)
    eventually(lambda: old.kid not in broker.home.status()["keys"], "the old key to go")
    with pytest.raises(Refused):
        broker.open("lincoln_s-ann", "lincoln/s-ann", old_token)
    with pytest.raises(Refused):
        broker.open("lincoln_d-drum", "lincoln/d-drum/1", old_drum)
    before.settle()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bandroom-keys 2\n",
        "bandroom-keys 1\nrsa x\n",
        "bandroom-keys 1\nec 00000000 student AAAA\n",
        "bandroom-keys 1\nmaster 1 00\n",
        "bandroom-keys 1",
    ],
)
def test_bad_keys(text: str, broker: Broker, start_broker: Callable[..., Broker]) -> None:
    """A bad keys file at SIGHUP: the old keys stay, log and status say so, naming the line. At a start: refused."""
    (broker.home.dir / "keys").write_text(text)
    os.kill(broker.process.pid, signal.SIGHUP)
    eventually(lambda: broker.home.status()["error"].startswith("keys: line"), "the error")
    broker.student().disconnect()
    second = start_broker(wait=False)
    assert second.process.wait(10) != 0
    assert "gate: cannot start: keys: line" in second.log


@pytest.mark.parametrize("name", ["keys", "clock", "log"])
def test_missing_file_at_start(name: str, home: GateHome, start_broker: Callable[..., Broker]) -> None:
    """Without keys, clock or log the broker does not start, and says which is missing."""
    (home.dir / name).unlink()
    refused = start_broker(wait=False)
    assert refused.process.wait(10) != 0
    assert "No such file" in refused.log


def test_clock_of_another_boot(home: GateHome, start_broker: Callable[..., Broker]) -> None:
    """A clock file from before the last boot would give a wrong time: the broker does not start."""
    (home.dir / "clock").write_text(f"00000000-0000-0000-0000-000000000000 {home.offset_us}\n")
    refused = start_broker(wait=False)
    assert refused.process.wait(10) != 0
    assert "written before this machine last started" in refused.log


@pytest.mark.rule("CRED-9")
def test_reload_with_sessions_left_behind(broker: Broker) -> None:
    """25: sessions that v5 clients left, and Wills still to come, survive nothing and break nothing at SIGHUP."""
    rooms = broker.service()
    for n in range(10):
        will = Will("tenant/lincoln/presence/s-ann", delay_s=1) if n % 2 else None
        left = broker.student(digit=n, version=5, will=will, properties=b"\x11\x00\x00\x00\x02")
        assert left.subscribe(f"{ROOM}/beat", f"{ROOM}/tempo", qos=1) == [1, 1]
        left.vanish()
    for _ in range(3):
        os.kill(broker.process.pid, signal.SIGHUP)
        assert rooms.publish(f"{ROOM}/tempo", b"{}", 1, True) == 0
        rooms.settle()
    for n in range(5):
        with pytest.raises(Refused):
            broker.student(digit=n, version=5, clean=False)
        heir = broker.student(digit=n, version=5)
        assert heir.heard() == []
    late = time.monotonic() + 3.5  # until the other sessions have expired
    while time.monotonic() < late:
        rooms.settle()
        time.sleep(0.1)
