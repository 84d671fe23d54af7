"""What the service writes, the gate reads: its keys, tokens, passwords, clock and log; and the status back."""

from __future__ import annotations

import time
from collections.abc import Callable

from bandroom.auth.devices import password
from bandroom.auth.keys import add_keys, ensure_keys, write_gate_keys
from bandroom.auth.service_credential import service_credential
from bandroom.auth.tokens import mint
from bandroom.clock import ServerClock, ensure_clock_file
from bandroom.paths import Home
from bandroom.rooms.gate_log import GateLog, has_read, known_keys
from bandroom.wire.gate_log import Assign, Mute, Open
from bandroom.wire.ids import ClientId, Role, RoomId, Subject, TenantId, UserName
from gatekit import Broker, GateHome, eventually

TENANT, ROOM = TenantId("lincoln"), RoomId("MUSIC-1234")
NAME = f"tenant/{TENANT}/music_room/{ROOM}"


def test_the_service_and_the_gate_understand_each_other(home: GateHome, start_broker: Callable[..., Broker]) -> None:
    """Credentials of every kind open, the log's entries are in force, server time is the same, status is understood."""
    own = Home(home.path)
    own.create()
    for path in (own.gate_keys, own.gate_clock, own.gate_log):
        path.unlink(missing_ok=True)
    keys = ensure_keys(own)
    ensure_clock_file(own.gate_clock)
    log = GateLog(own.gate_log)
    log.compact([Open(TENANT, ROOM)])
    broker = start_broker()

    ann, drum = Subject("s-ann"), Subject("d-drum")
    log.append([Assign(TENANT, drum, ROOM)])
    minted = mint(keys, TENANT, ann, ROOM, now_s=int(time.time()), ttl_s=60)
    pupil = broker.open(str(minted.client_id), str(minted.username), minted.token)
    user = UserName.of(TENANT, drum, 1)
    device = broker.open(str(ClientId.of(TENANT, drum)), str(user), password(keys, user))
    for role, number in ((Role.ROOMS, None), (Role.TEMPO, 0)):
        credential = service_credential(own, role, number)
        broker.open(credential.client_id, credential.username, credential.password(), local=True).disconnect()

    assert device.subscribe(f"{NAME}/note/+") == [0]
    pupil.publish(f"{NAME}/note/s-ann", b"1")
    pupil.settle()
    log.append([Mute(TENANT, ROOM, ann)])
    eventually(lambda: has_read(own.gate_status, *log.position), "the gate to have read the log")
    pupil.publish(f"{NAME}/note/s-ann", b"2")
    pupil.settle()
    assert [m.payload for m in device.heard()] == [b"1"]

    assert pupil.subscribe(f"{NAME}/clock/s-ann/r") == [0]
    clock = ServerClock.from_file(own.gate_clock)
    before = clock.now_us()
    pupil.publish(f"{NAME}/clock/s-ann/q", b"abcdefgh 00 0000000000000000")
    assert before <= int(pupil.wait_message().payload[12:]) <= clock.now_us()

    assert known_keys(own.gate_status) == {keys.signs_people.kid, keys.signs_service.kid, "master-1"}
    write_gate_keys(own, add_keys(own, masters=False))
    broker.reload()
    eventually(lambda: len(known_keys(own.gate_status)) == 5, "the new keys")
