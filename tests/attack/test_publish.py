"""Cases 40 to 55: nobody speaks where they may not, at once, later, retained, by a Will or by a trick of MQTT 5."""

from __future__ import annotations

import contextlib
import itertools
import struct

import pytest
from arena import CHOIR, OURS, PING, THEIRS, Arena
from gatekit import eventually
from raw_mqtt import PUBLISH, PUBREC, PUBREL, Refused, Will, connect_packet, packet, text

EVIL = (b"evil-%d" % n for n in itertools.count())
"""Payloads by which a forbidden message would be known again."""

FORBIDDEN = {
    "40": [
        f"{OURS}/beat",
        f"{OURS}/tempo",
        f"{OURS}/room",
        f"{OURS}/member/s-evil",
        f"{OURS}/member/s-bob",
        f"{OURS}/clock/s-evil/r",
        f"{OURS}/clock/s-bob/r",
        f"{OURS}/clock/s-bob/q",
        f"{OURS}/feedback/s-evil",
        f"{OURS}/limit/s-evil",
        f"{OURS}/control/s-evil",
        f"{OURS}/control/t-kim",
        f"{OURS}/control/t-kim/reply",
        "tenant/lincoln/device/d-evil/room",
    ],
    "43": [
        f"{OURS}/note/s-bob",
        f"{OURS}/midi/s-bob",
        f"{OURS}/note/s-evi",
        f"{OURS}/note/s-evill",
        "tenant/lincoln/presence/s-bob",
        "tenant/jefferson/presence/s-evil",
        f"{THEIRS}/note/s-evil",
        f"{THEIRS}/note/s-vic",
        f"{CHOIR}/note/s-evil",
        "tenant/lincoln-2/music_room/MUSIC-1234/note/s-evil",
        "tenant/bandroom/presence/s-evil",
    ],
    "47": ["$CONTROL/dynamic-security/v1", "$CONTROL", "$CONTROL/"],
    "48": ["$SYS/broker/uptime", "$SYS/x", "$SYS", f"$share/g/{OURS}/note/s-evil"],
    "51": [
        f"{OURS}/note/s-evi\u0456",
        f"{OURS}/Note/s-evil",
        f"{OURS}/NOTE/s-evil",
        f"{OURS}/note/S-EVIL",
        f"{OURS.upper()}/note/s-evil",
        "tenant/l\u0456ncoln/music_room/MUSIC-1234/note/s-evil",
        "tenant/lincoln/music_room/music-1234/note/s-evil",
        f"{OURS}/note/s-evil\u200b",
        f"{OURS}/note/s\u2010evil",
        "\uff54enant/lincoln/music_room/MUSIC-1234/note/s-evil",
    ],
    "52": [
        f"{OURS}/../MUSIC-1234/note/s-evil",
        f"{OURS}/./note/s-evil",
        "tenant/lincoln/../jefferson/music_room/MUSIC-1234/note/s-evil",
        f"/{OURS}/note/s-evil",
        f"{OURS}//note/s-evil",
        f"{OURS}/note//s-evil",
        f"{OURS}/note/s-evil/",
        f"{OURS}/note/",
        f"{OURS}/note",
        "/",
        "//",
        "tenant",
        "tenant/lincoln",
        f"{OURS}" + "/x" * 190,
        f"{OURS}/note/" + "s" * 7000,
        "/" * 190,
    ],
    "59": [
        f"{OURS}/note/s-evil/beat",
        f"{OURS}/note/beat",
        f"{OURS}/beat/s-evil",
        f"{OURS}/note/s-evil/../../beat",
        f"{OURS}/beat ",
    ],
}
CASES = [(number, name) for number, names in FORBIDDEN.items() for name in names]


@pytest.mark.rule("ACL-8")
@pytest.mark.rule("ACL-15")
@pytest.mark.rule("ACL-16")
@pytest.mark.rule("TOP-2")
@pytest.mark.parametrize(("number", "name"), CASES, ids=[f"{number}-{name[:70]!r}" for number, name in CASES])
def test_cases_40_to_52_forbidden_topics(arena: Arena, number: str, name: str) -> None:
    """At every QoS, retained and not, live and as a Will, in 3.1.1 and 5: it reaches nobody and changes nothing."""
    evil = next(EVIL)
    name = name.replace("s-evil", arena.me)
    for version in (4, 5):
        for qos, retain in itertools.product((0, 1), (False, True)):
            client = arena.attacker(version=version)
            reason = client.publish(name, evil, qos, retain)
            assert reason in ((None,) if qos == 0 else (0,) if version == 4 else (0x87,))
            client.settle()
            client.disconnect()
            with contextlib.suppress(Refused):  # a broker may refuse such a Will at once
                arena.attacker(version=version, will=Will(name, evil, qos, retain)).vanish()
    arena.nobody_heard(evil)


@pytest.mark.rule("ACL-8")
@pytest.mark.parametrize("name", [*Arena.RETAINED])
def test_cases_41_42_retained_maps(arena: Arena, name: str) -> None:
    """A pupil, a device and a teacher can neither replace nor clear a retained message, of their school or another."""
    clients = [arena.attacker(), arena.broker.device(sub="d-evil"), arena.broker.teacher(sub="t-evil")]
    for client in clients:
        for payload, qos in itertools.product((b"", b"evil retained"), (0, 1)):
            client.publish(name, payload, qos, True)
        client.settle()
        client.disconnect()
    arena.nobody_heard(b"evil retained")


@pytest.mark.rule("ACL-16")
@pytest.mark.parametrize(
    "name", [f"{THEIRS}/note/s-vic", f"{THEIRS}/beat", "tenant/jefferson/presence/s-vic", f"{OURS}/beat"]
)
@pytest.mark.parametrize("delay", [0, 1])
def test_cases_44_45_47_wills(arena: Arena, name: str, delay: int) -> None:
    """A Will to another school or to the beat is not sent: by a cut connection, a takeover, or after a delay."""
    evil = next(EVIL)
    will = Will(name, evil, delay_s=delay)
    more = {"version": 5, "properties": b"\x11\x00\x00\x00\x02"} if delay else {}
    denied = arena.denied_publishes()
    arena.attacker("s-evil5", will=will, **more).vanish()
    first = arena.attacker("s-evil5", will=will, **more)
    second = arena.attacker("s-evil5", will=will, **more)  # takes the first one's place
    first.wait_closed()
    second.send(b"\x00\x00")  # no MQTT packet: put out, and its Will is due
    second.wait_closed()
    # Who comes back in time calls a delayed Will off.
    eventually(lambda: arena.denied_publishes() >= denied + (1 if delay else 3), "the Wills to be judged")
    arena.nobody_heard(evil)


@pytest.mark.rule("ACL-16")
@pytest.mark.parametrize("delay", [0, 1])
def test_a_will_is_for_presence_alone(arena: Arena, delay: int) -> None:
    """Who has left plays no note, though the same client might have played it while connected."""
    evil = next(EVIL)
    more = {"version": 5, "properties": b"\x11\x00\x00\x00\x02"} if delay else {}
    denied = arena.denied_publishes()
    arena.attacker(will=Will(f"{OURS}/note/{arena.me}", evil, 0, False, delay), **more).vanish()
    eventually(lambda: arena.denied_publishes() > denied, "the Will to be judged")
    arena.nobody_heard(evil)


@pytest.mark.rule("ACL-16")
@pytest.mark.rule("REV-1")
@pytest.mark.rule("REV-2")
@pytest.mark.parametrize("withdrawn", ["the subject", "the token", "nothing"])
def test_case_46_delayed_will_after_revocation(arena: Arena, withdrawn: str) -> None:
    """A delayed Will is not sent, not even to its own presence: its credential may have been withdrawn meanwhile."""
    evil, home = next(EVIL), arena.broker.home
    sub = {"the subject": "s-evil7", "the token": "s-evil8", "nothing": "s-evil9"}[withdrawn]
    claims = home.claims("lincoln", "student", sub, "MUSIC-1234")
    denied = arena.denied_publishes()
    wire = arena.broker.open(
        f"lincoln_{sub}",
        f"lincoln/{sub}",
        home.token(claims),
        will=Will(f"tenant/lincoln/presence/{sub}", evil, delay_s=1),
        version=5,
        properties=b"\x11\x00\x00\x00\x3c",
    )
    wire.vanish()
    if withdrawn == "the subject":
        arena.log(f"revoke lincoln {sub} 9999999999 9999999999")
    elif withdrawn == "the token":
        arena.log(f"revokejti lincoln {claims['jti']} {claims['exp']}")
    eventually(lambda: arena.denied_publishes() > denied, "the Will to be judged")
    arena.nobody_heard(evil)


@pytest.mark.rule("CRED-5")
@pytest.mark.parametrize("who", ["rooms", "tempo-0", "tempo-1"])
@pytest.mark.parametrize("version", [4, 5])
def test_case_48_service_token_over_tcp(arena: Arena, who: str, version: int) -> None:
    """A real token of the service, stolen, opens nothing at the TCP port."""
    with pytest.raises(Refused):
        arena.broker.service(who, local=False, version=version)


@pytest.mark.rule("ACL-13")
@pytest.mark.parametrize("who", ["rooms", "tempo-1"])
def test_case_48_not_even_the_service(arena: Arena, who: str) -> None:
    """`$SYS` and `$CONTROL` are for nobody, and a service role has its own topics alone."""
    evil = next(EVIL)
    client = arena.broker.service(who, **({"digit": 7} if who == "rooms" else {}))
    for name in ("$SYS/broker/uptime", "$CONTROL/dynamic-security/v1", "elsewhere", f"{OURS}/nothing"):
        for qos, retain in itertools.product((0, 1), (False, True)):
            client.publish(name, evil, qos, retain)
    assert client.subscribe("$SYS/#", "#", "$CONTROL/#", "$share/g/tenant/#") == [0x80] * 4
    if who == "rooms":
        client.publish(f"{THEIRS}/beat", evil)
    else:
        client.publish(f"{THEIRS}/tempo", evil, 1, True)
        client.publish(f"{THEIRS}/note/s-vic", evil)
    client.settle()
    client.disconnect()
    arena.nobody_heard(evil)


@pytest.mark.rule("ACL-9")
def test_case_49_topic_alias(arena: Arena) -> None:
    """An alias set while it was allowed is judged at each use, and is unknown on the next connection."""
    evil, fine = next(EVIL), b"fine through an alias"
    sub = "s-evil9"
    alias = b"\x23\x00\x01"
    topic = f"{OURS}/note/{sub}"
    client = arena.attacker(sub, version=5)
    client.publish(topic, fine, properties=alias)
    client.publish("", fine, properties=alias)
    client.settle()
    bob = arena.victims["classmate"]
    eventually(lambda: bob.payloads(topic).count(fine) == 2, "two notes")
    arena.log(f"mute lincoln MUSIC-1234 {sub}")
    arena.broker.home.status()
    assert client.subscribe(f"{OURS}/tempo") == [0]  # the log is read before a SUBSCRIBE is judged
    client.publish("", evil, properties=alias)
    client.publish("", evil, qos=1, properties=alias)
    client.settle()
    arena.log(f"unmute lincoln MUSIC-1234 {sub}")
    client.disconnect()
    again = arena.attacker(sub, version=5)
    again.send(packet(PUBLISH, text("") + bytes([len(alias)]) + alias + evil))
    again.wait_closed()  # an alias that was never set is a protocol error
    arena.nobody_heard(evil)


def test_case_49_alias_of_a_forbidden_topic(arena: Arena) -> None:
    """An alias set by a refused message opens nothing."""
    evil = next(EVIL)
    alias = b"\x23\x00\x02"
    client = arena.attacker(version=5)
    for topic in (f"{THEIRS}/beat", f"{OURS}/beat", "$CONTROL/x"):
        client.publish(topic, evil, properties=alias)
        try:
            client.publish("", evil, properties=alias)
            client.settle()
        except (ConnectionError, OSError):
            client = arena.attacker(version=5)
    client.disconnect()
    arena.nobody_heard(evil)


def test_case_50_response_topic(arena: Arena) -> None:
    """A response topic in another school is a word in a message: nobody publishes there because of it."""
    evil = next(EVIL)
    client = arena.attacker("s-evil", version=5)
    properties = b"\x08" + text(f"{THEIRS}/beat") + b"\x09" + text(evil)
    client.publish(f"{OURS}/note/s-evil", b"{}", properties=properties)
    client.publish(f"{OURS}/clock/s-evil/q", PING, properties=properties)
    client.settle()
    client.disconnect()
    arena.nobody_heard(evil)


@pytest.mark.parametrize("size", [2_000, 8_200, 20_000, 65_535])
def test_case_52_topics_over_the_packet_size(arena: Arena, size: int) -> None:
    """A topic of more levels, or more bytes, than the broker takes: the connection ends, and no other."""
    client = arena.attacker()
    name = (f"{OURS}/note/s-evil" + "/" * size)[:size]
    client.send(packet(PUBLISH, text(name) + b"x"))
    client.wait_closed()


@pytest.mark.parametrize("level", [0x83, 0x84, 0x85, 3, 0, 6, 255])
def test_case_53_bridge_flag(arena: Arena, level: int) -> None:
    """The bridge bit of the protocol level, and levels that do not exist, give no further rights."""
    home = arena.broker.home
    token = home.token(home.claims("lincoln", "student", "s-evil", "MUSIC-1234"))
    connect = bytearray(connect_packet("lincoln_s-evil", "lincoln/s-evil", token))
    at = connect.index(b"MQTT") + 4
    connect[at] = level
    if level in (0x83, 3):  # MQIsdp
        body = connect[connect.index(b"\x00\x04MQTT") + 6 :]
        connect = bytearray(packet(1, text("MQIsdp") + bytes(body)))
    from raw_mqtt import Client

    evil = next(EVIL)
    try:
        client = Client.open(("127.0.0.1", arena.broker.port), bytes(connect))
    except Refused:
        return
    try:
        client.subscribe("#", f"{THEIRS}/beat", "$SYS/#", f"{OURS}/#")  # MQTT 3.1 cannot say that it is refused
        client.publish(f"{THEIRS}/beat", evil)
        client.publish(f"{OURS}/tempo", evil, 1, True)
        arena.nobody_heard(evil)
        assert client.heard() == []
        client.disconnect()
    except (ConnectionError, OSError):
        arena.nobody_heard(evil)


@pytest.mark.rule("ACL-8")
@pytest.mark.parametrize("version", [4, 5])
def test_case_54_qos_2(arena: Arena, version: int) -> None:
    """QoS 2, completed after a mute or a withdrawal, is no way round: PUBREL finds nothing to release."""
    evil = next(EVIL)
    sub = f"s-evil1{version}"
    client = arena.attacker(sub, version=version)
    properties = b"\0" if version == 5 else b""
    for name in (f"{OURS}/note/{sub}", f"{OURS}/beat", f"{THEIRS}/note/s-vic"):
        body = text(name) + struct.pack(">H", 77) + properties + evil
        client.send(packet(PUBLISH, body, 2 << 1))
        client.until(PUBREC)
        arena.log(f"mute lincoln MUSIC-1234 {sub}")
        client.send(packet(PUBREL, struct.pack(">H", 77), 2))
    arena.log(f"revoke lincoln {sub} 9999999999 9999999999")
    client.wait_closed()
    arena.nobody_heard(evil)


@pytest.mark.rule("ACL-8")
def test_case_55_retained_traces_of_who_left(arena: Arena) -> None:
    """A note cannot be retained; presence of who left says so by the Will, and can be set by nobody else."""
    sub = "s-evil20"
    client = arena.attacker(sub, will=Will(f"tenant/lincoln/presence/{sub}"))
    client.publish(f"{OURS}/note/{sub}", b"kept", 0, True)
    client.publish(f"{OURS}/clock/{sub}/q", PING, 0, True)
    client.publish(f"{OURS}/midi/{sub}", b"\x90\x40\x40", 0, True)
    client.publish(f"tenant/lincoln/presence/{sub}", b"ready 0", 1, True)
    client.vanish()
    service = arena.victims["the service"]
    eventually(lambda: b"lost 0" in service.payloads(f"tenant/lincoln/presence/{sub}"), "the Will")
    other = arena.attacker()
    other.publish(f"tenant/lincoln/presence/{sub}", b"ready 0", 1, True)
    late = arena.broker.service(digit=3)
    assert late.subscribe("tenant/lincoln/#", qos=1) == [1]
    kept = {m.topic: m.payload for m in late.heard() if m.retained and sub in m.topic}
    assert kept == {f"tenant/lincoln/presence/{sub}": b"lost 0"}
    late.disconnect()
    other.disconnect()
    arena.rooms.publish(f"tenant/lincoln/presence/{sub}", b"", 1, True)


@pytest.mark.rule("CLK-2")
@pytest.mark.rule("TIME-1")
def test_clock_pings_are_answered_for_the_asker(arena: Arena) -> None:
    """A ping comes back to its sender with server time: CLOCK_BOOTTIME plus the offset of the clock file."""
    home = arena.broker.home
    client, other = arena.attacker("s-evil"), arena.attacker("s-evil21")
    assert client.subscribe(f"{OURS}/clock/s-evil/r") == [0]
    assert other.subscribe(f"{OURS}/clock/s-evil21/r") == [0]
    for seq in range(50):
        before = home.server_time_us()
        client.publish(f"{OURS}/clock/s-evil/q", b"abcdefgh %02x 0000000000000000" % seq)
        answer = client.wait_message()
        assert (answer.topic, answer.payload[:12]) == (f"{OURS}/clock/s-evil/r", b"abcdefgh %02x " % seq)
        assert before <= int(answer.payload[12:]) <= home.server_time_us()
    assert other.heard() == []
    for one in (client, other):
        one.disconnect()


@pytest.mark.rule("CLK-2")
def test_pings_by_topic_alias(arena: Arena) -> None:
    """The answer is written over the ping, never over what its alias stands for: each use of it is a ping again."""
    client = arena.attacker(version=5)
    assert client.subscribe(f"{OURS}/clock/{arena.me}/r") == [0]
    alias = b"\x23\x00\x01"
    for n, topic in enumerate((f"{OURS}/clock/{arena.me}/q", "", "")):
        client.publish(topic, b"abcdefgh %02x 0000000000000000" % n, properties=alias)
        answer = client.wait_message()
        assert (answer.topic, answer.payload[:12]) == (f"{OURS}/clock/{arena.me}/r", b"abcdefgh %02x " % n)
        assert int(answer.payload[12:]) > 0
    client.disconnect()


@pytest.mark.rule("CLK-3")
@pytest.mark.parametrize(
    ("payload", "qos", "retain"),
    [
        (PING, 1, False),
        (PING, 0, True),
        (PING, 2, False),
        (b"", 0, False),
        (PING[:-1], 0, False),
        (PING + b"0", 0, False),
        (b"abcdefgh 0f 0000000000000001", 0, False),
        (b"abcdefgh zz 0000000000000000", 0, False),
        (b"abcdefgh0000000000000000000x", 0, False),
        (b"\0" * 28, 0, False),
        (b"0" * 28, 0, False),
        (b"x" * 8000, 0, False),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_pings_of_another_form(arena: Arena, payload: bytes, qos: int, retain: bool) -> None:
    """A ping that is retained, above QoS 0 or of another form is not answered, reaches nobody and leaves nothing."""
    client = arena.attacker(sub="s-evil22")
    assert client.subscribe(f"{OURS}/clock/s-evil22/r") == [0]
    client.publish(f"{OURS}/clock/s-evil22/q", payload, qos, retain)
    assert client.heard() == []
    service = arena.victims["the service"]
    arena.settle()
    assert not service.payloads(f"{OURS}/clock/s-evil22/q")
    assert not service.payloads(f"{OURS}/clock/s-evil22/r")
    client.disconnect()
