"""Cases 15 to 25: nobody takes over, inherits, destroys or outlives another's session."""

from __future__ import annotations

import time
from typing import Any

import pytest
from arena import CHOIR, OURS, THEIRS, Arena
from gatekit import eventually
from raw_mqtt import Refused, Will

SESSION_EXPIRY = b"\x11\x00\x00\x00\x3c"
"""MQTT 5 property: keep the session for 60 s."""


def good_token(arena: Arena, sub: str = "s-evil") -> str:
    """A valid token of the attacker's."""
    return arena.broker.home.token(arena.broker.home.claims("lincoln", "student", sub, "MUSIC-1234"))


@pytest.mark.rule("ID-6")
@pytest.mark.rule("CRED-10")
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize(
    "victim",
    ["jefferson_s-vic", "jefferson_d-vic", "jefferson_t-vic", "lincoln_s-bob", "bandroom_rooms", "bandroom_tempo-0"],
)
def test_cases_15_16_17_19_client_id_of_another(arena: Arena, victim: str, clean: bool, version: int) -> None:
    """A good token under somebody else's client id is refused, to inherit or to destroy: the victim stays connected."""
    for suffix in ("", "_0", "_1", "_9"):
        arena.refused(victim + suffix, "lincoln/s-evil", good_token(arena), clean=clean, version=version)
        device = arena.broker.home.password("lincoln/d-evil/1")
        arena.refused(victim + suffix, "lincoln/d-evil/1", device, clean=clean, version=version)


@pytest.mark.rule("CRED-9")
@pytest.mark.parametrize("version", [4, 5])
def test_case_16_own_session_kept(arena: Arena, version: int) -> None:
    """A session to be kept is refused to everybody, to its owner as well."""
    more: dict[str, Any] = {"clean": False, "version": version, "properties": SESSION_EXPIRY if version == 5 else b""}
    arena.refused("lincoln_s-evil", "lincoln/s-evil", good_token(arena), **more)
    for connect in (arena.broker.teacher, arena.broker.device, arena.broker.service):
        with pytest.raises(Refused):
            connect(**more)


@pytest.mark.rule("CRED-10")
@pytest.mark.parametrize("version", [4, 5])
def test_case_18_bad_token_with_a_victims_id(arena: Arena, version: int) -> None:
    """A CONNECT that is refused does not throw out who has that client id."""
    for tenant, sub in (("jefferson", "s-vic"), ("lincoln", "s-bob"), ("bandroom", "rooms"), ("bandroom", "tempo-0")):
        for password in ("", "x", good_token(arena), None):
            for clean in (True, False):
                arena.refused(f"{tenant}_{sub}", f"{tenant}/{sub}", password, clean=clean, version=version)
    for password in ("a" * 26, ""):
        arena.refused("jefferson_d-vic", "jefferson/d-vic/1", password, version=version)


@pytest.mark.rule("ID-6")
@pytest.mark.parametrize("version", [4, 5])
def test_case_20_empty_client_id(arena: Arena, version: int) -> None:
    """The broker would give an id of its own making; it is not the credential's, so it is refused."""
    arena.refused("", "lincoln/s-evil", good_token(arena), version=version)
    arena.refused("", "lincoln/s-evil", good_token(arena), version=version, clean=False)


@pytest.mark.rule("ID-6")
@pytest.mark.parametrize(
    "client_id",
    [
        b"lincoln_s-evil_+",
        b"lincoln_s-evil_#",
        b"lincoln_+",
        b"#",
        b"+",
        b"$SYS",
        b"lincoln_s-evil\0",
        b"lincoln_s-evil\0_1",
        b"jefferson_s-vic\0lincoln_s-evil",
        b"lincoln_s-evil_10",
        b"lincoln_s-evil_a",
        b"lincoln_s-evil_",
        b"lincoln_s-evil__1",
        b"lincoln_s-evil_1_1",
        b"lincoln_s-evil ",
        b"lincoln_s-evil\n",
        b"LINCOLN_S-EVIL",
        b"lincoln/s-evil",
        b"lincoln.s-evil",
        b"lincoln_s-evi",
        b"lincoln_s-evill",
        b"lincoln_s-ev\xc4\xb1l",
        b"\xff\xfe",
        b"lincoln_s-evil" + b"x" * 60_000,
    ],
    ids=lambda value: repr(value[:30]),
)
def test_case_21_strange_client_ids(arena: Arena, client_id: bytes) -> None:
    """Wildcards, NUL, look-alikes and all but one digit behind the subject are refused."""
    for version in (4, 5):
        arena.refused(client_id, "lincoln/s-evil", good_token(arena), version=version)


@pytest.mark.rule("ACL-17")
def test_case_22_reconnect_with_less(arena: Arena) -> None:
    """Subscriptions of an earlier connection, with more rights, do not come back with the next one."""
    for version in (4, 5):
        rich = arena.broker.student(sub="s-evil3", version=version, properties=SESSION_EXPIRY if version == 5 else b"")
        assert rich.subscribe(f"{OURS}/beat", qos=1) == [1]
        rich.wait_message()
        poor = arena.broker.student(sub="s-evil3", room="CHOIR-0001", version=version)
        rich.wait_closed()
        arena.settle()
        assert poor.heard() == []
        assert poor.subscribe(f"{OURS}/beat", f"{CHOIR}/beat") == [0x80 if version == 4 else 0x87, 0]
        poor.disconnect()


@pytest.mark.rule("CRED-3")
def test_case_23_expiry_while_connected(arena: Arena) -> None:
    """The connection ends with its token, whatever the client is doing."""
    client = arena.broker.student(sub="s-evil2", ttl=2)
    expires = time.time() + 2
    assert client.subscribe(f"{OURS}/beat") == [0]
    client.wait_closed(patience=5)
    assert expires - 1.1 <= time.time() <= expires + 1.5
    assert client.messages, "it heard beats until then"


@pytest.mark.rule("CRED-9")
def test_cases_24_25_nothing_waits_for_who_is_away(arena: Arena) -> None:
    """MQTT 5, clean start with a session to last: what was queued meanwhile is neither inherited nor delivered."""
    client = arena.broker.student(sub="s-evil2", version=5, properties=SESSION_EXPIRY, ttl=2)
    assert client.subscribe(f"{OURS}/tempo", f"{OURS}/note/+", qos=1) == [1, 1]
    client.vanish()
    waits = Arena.RETAINED[f"{OURS}/tempo"]
    for _ in range(3):  # QoS 1, as the subscription: it is queued for the session left behind
        assert arena.rooms.publish(f"{OURS}/tempo", waits, 1, True) == 0
    time_out = time.time() + 2
    for clean, version in ((False, 5), (False, 4)):
        arena.refused("lincoln_s-evil2", "lincoln/s-evil2", good_token(arena, "s-evil2"), clean=clean, version=version)
        arena.refused("lincoln_s-evil2", "lincoln/s-evil", good_token(arena), clean=clean, version=version)
    eventually(lambda: time.time() > time_out, "the first token's expiry")
    arena.refused("lincoln_s-evil2", "lincoln/s-evil2", good_token(arena, "s-evil2"), clean=False, version=5)
    fresh = arena.broker.student(sub="s-evil2", version=5)
    assert fresh.heard() == []
    assert fresh.subscribe(f"{OURS}/tempo", qos=1) == [1]
    assert [(m.payload, m.retained) for m in fresh.heard()] == [(waits, True)], "what is retained, and nothing queued"
    fresh.disconnect()


@pytest.mark.rule("REV-1")
@pytest.mark.rule("REV-2")
@pytest.mark.rule("REV-4")
@pytest.mark.rule("REV-6")
@pytest.mark.parametrize("verb", ["kick", "revoke", "revokejti"])
def test_withdrawn_while_connected(arena: Arena, verb: str) -> None:
    """Kicked or withdrawn: out within 150 ms of the entry; a withdrawn token does not come back, a good one does. The
    Will says that they are gone."""
    home = arena.broker.home
    sub = f"s-evil-{verb}"
    claims = home.claims("lincoln", "student", sub, "MUSIC-1234")
    token = home.token(claims)
    presence = f"tenant/lincoln/presence/{sub}"
    client = arena.broker.open(f"lincoln_{sub}", f"lincoln/{sub}", token, will=Will(presence))
    entry = {
        "kick": f"kick lincoln {sub}",
        "revoke": f"revoke lincoln {sub} {claims['iat']} {claims['exp']}",
        "revokejti": f"revokejti lincoln {claims['jti']} {claims['exp']}",
    }[verb]
    arena.log(entry)
    began = time.monotonic()
    client.wait_closed(patience=2)
    assert time.monotonic() - began < 0.5, "the entry is in force within 150 ms; the rest is this machine's"
    service = arena.victims["the service"]
    eventually(lambda: service.payloads(presence) == [b"lost 0"], "the Will of who was put out")
    arena.rooms.publish(presence, b"", 1, True)
    if verb == "kick":
        arena.broker.open(f"lincoln_{sub}", f"lincoln/{sub}", token).disconnect()
    else:
        arena.refused(f"lincoln_{sub}", f"lincoln/{sub}", token)
    later = home.token(home.claims("lincoln", "student", sub, "MUSIC-1234") | {"iat": claims["iat"] + 1})
    arena.broker.open(f"lincoln_{sub}", f"lincoln/{sub}", later).disconnect()


@pytest.mark.rule("PRES-2")
@pytest.mark.rule("PRES-3")
def test_presence_is_for_service_and_teachers(arena: Arena) -> None:
    """A client's presence and its Will reach the tenant's teachers and the service; pupils may not ask for them."""
    teacher = arena.broker.teacher()
    assert teacher.subscribe("tenant/lincoln/presence/+") == [0]
    teacher.heard()
    for sub, end in (("s-evil", "vanish"), ("s-evil4", "disconnect")):
        client = arena.attacker(sub, will=Will(f"tenant/lincoln/presence/{sub}"))
        assert client.subscribe("tenant/lincoln/presence/+", f"tenant/lincoln/presence/{sub}") == [0x80, 0x80]
        client.publish(f"tenant/lincoln/presence/{sub}", b"ready 0", 1, True)
        assert teacher.wait_message().payload == b"ready 0"
        if end == "vanish":
            client.vanish()
            assert teacher.wait_message().payload == b"lost 0"
        else:
            client.publish(f"tenant/lincoln/presence/{sub}", b"disconnected 0", 1, True)
            client.disconnect()
            assert teacher.wait_message().payload == b"disconnected 0"
        arena.rooms.publish(f"tenant/lincoln/presence/{sub}", b"", 1, True)
        teacher.wait_message()
    teacher.disconnect()


@pytest.mark.rule("CRED-11")
def test_reload_with_everybody_connected(arena: Arena) -> None:
    """SIGHUP to the broker, again and again, with all victims connected: nobody notices."""
    import signal

    watcher = arena.attacker()
    for _ in range(5):
        arena.broker.process.send_signal(signal.SIGHUP)
        watcher.settle()
    assert watcher.subscribe(f"{OURS}/beat", f"{THEIRS}/beat") == [0, 0x80]
    watcher.disconnect()
