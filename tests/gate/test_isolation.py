"""Schools and classmates apart: what is refused is refused, and the victim notices nothing."""

from __future__ import annotations

import contextlib
import struct

import pytest
from gatekit import Broker, Will, eventually
from raw_mqtt import PUBLISH, Client, Refused, packet, text

ROOM = "tenant/lincoln/music_room/MUSIC-1234"
OTHER = "tenant/other/music_room/MUSIC-1234"

FORBIDDEN_FILTERS = [
    "#", "+/#", "+/+/+/+/+", "tenant/#", "tenant/+/music_room/#", "tenant/lincoln/#", f"{ROOM}/#", f"{ROOM}/+",
    f"{ROOM}", f"{OTHER}/beat", f"{OTHER}/#", "tenant/other/#", "/tenant/other/#", "tenant/+/music_room/+/beat",
    "tenant/+/music_room/MUSIC-1234/beat", "tenant/lincoln/music_room/+/beat",
    "tenant/lincoln/music_room/CHOIR-0001/beat", "tenant/lincoln-2/music_room/MUSIC-1234/beat",
    "tenant/lincol/music_room/MUSIC-1234/beat", "tenant/Lincoln/music_room/MUSIC-1234/beat", "$SYS/#",
    "$SYS/broker/clients/connected", "$CONTROL/#", "$share/g/#", f"$share/g/{ROOM}/beat", "$share/g/tenant/other/#",
    f"{ROOM}/control/t-kim", f"{ROOM}/control/+", f"{ROOM}/control/s-ann/reply", f"{ROOM}/clock/s-bob/r",
    f"{ROOM}/clock/+/r", f"{ROOM}/clock/s-ann/q", f"{ROOM}/feedback/s-bob", f"{ROOM}/feedback/+", f"{ROOM}/limit/+",
    "tenant/lincoln/presence/+", "tenant/lincoln/presence/s-bob", "tenant/lincoln/device/s-ann/room",
    "tenant/lincoln/device/d-drum/room", f"{ROOM}/beat/", f"{ROOM}//beat", f"{ROOM}/../CHOIR-0001/beat",
    f"{ROOM}/note/", f"{ROOM}/note/+/+",
]  # fmt: skip

FORBIDDEN_TOPICS = [
    f"{ROOM}/beat", f"{ROOM}/tempo", f"{ROOM}/room", f"{ROOM}/member/s-ann", f"{ROOM}/note/s-bob",
    f"{ROOM}/midi/s-bob", f"{ROOM}/clock/s-ann/r", f"{ROOM}/clock/s-bob/q", f"{ROOM}/feedback/s-ann",
    f"{ROOM}/limit/s-ann", f"{ROOM}/control/s-ann", f"{ROOM}/control/t-kim", f"{ROOM}/control/s-ann/reply",
    "tenant/lincoln/music_room/CHOIR-0001/note/s-ann", f"{OTHER}/note/s-ann", f"{OTHER}/beat",
    "tenant/lincoln/presence/s-bob", "tenant/other/presence/s-ann", "tenant/lincoln/device/d-drum/room",
    "$CONTROL/dynamic-security/v1", "$SYS/broker/connection/x/state", "$SYS/x", "anything", f"/{ROOM}/note/s-ann",
    f"{ROOM}/note/s-ann/", f"{ROOM}/note/s-ann/beat", f"{ROOM}/note/S-ANN", f"{ROOM}/note/s-аnn",
    f"{ROOM}/../MUSIC-1234/note/s-ann", f"{ROOM}/x" * 30,
]  # fmt: skip


def everything(broker: Broker) -> Client:
    """The rooms service's ear: it hears all that the broker lets through."""
    ear = broker.service()
    assert ear.subscribe("tenant/#") == [0]
    return ear


@pytest.mark.rule("ACL-10")
@pytest.mark.rule("ACL-12")
@pytest.mark.rule("ACL-13")
@pytest.mark.parametrize("name", FORBIDDEN_FILTERS)
def test_forbidden_filter(name: str, shared_broker: Broker) -> None:
    """26-34, 39: a filter that could match one thing too many is refused as a whole; nothing is heard by it."""
    version, refusal = (4, 0x80) if len(name) % 2 else (5, 0x87)  # half of them either way
    ann = shared_broker.student(version=version)
    assert ann.subscribe(name) == [refusal]
    assert ann.subscribe(f"{ROOM}/beat", name) == [0, refusal]  # 36: one packet, good and bad
    tempo = shared_broker.service("tempo-0")
    tempo.publish(f"{OTHER}/beat", b"theirs")
    tempo.publish(f"{ROOM}/beat", b"ours")
    tempo.settle()
    assert [m.payload for m in ann.heard()] == [b"ours"]
    ann.disconnect()
    tempo.disconnect()


@pytest.mark.rule("ACL-1")
@pytest.mark.rule("ACL-10")
@pytest.mark.rule("ACL-15")
@pytest.mark.rule("ACL-16")
@pytest.mark.parametrize("name", FORBIDDEN_TOPICS, ids=lambda name: name[:60])
def test_forbidden_topic(name: str, shared_broker: Broker) -> None:
    """40-43, 48, 51, 52, 59: what a pupil may not say reaches nobody, at any QoS, retained or not, or as a Will."""
    ear = everything(shared_broker)
    bob = shared_broker.student(sub="s-bob")
    ann = shared_broker.student()
    for qos, retain in ((0, False), (0, True), (1, False), (1, True)):
        ann.publish(name, b"evil", qos, retain)
    ann.settle()
    ann.disconnect()
    for qos, retain in ((0, False), (1, True)):
        with contextlib.suppress(Refused):  # newer brokers refuse a CONNECT with a Will on $CONTROL
            shared_broker.student(will=Will(name, b"evil", qos, retain)).vanish()
    bob.settle()
    marker = shared_broker.student(sub="s-mark")
    marker.publish("tenant/lincoln/presence/s-mark", b"ready 0", 1, True)
    while (said := ear.wait_message()).payload != b"ready 0":
        assert said.payload != b"evil"
    late = shared_broker.service("tempo-0")
    for client in (ear, bob, marker, late):
        client.disconnect()


@pytest.mark.rule("ACL-8")
@pytest.mark.rule("CLK-3")
@pytest.mark.parametrize(
    ("leaf", "qos", "retain"),
    [
        ("note/s-ann", 1, False),
        ("note/s-ann", 0, True),
        ("note/s-ann", 2, False),
        ("clock/s-ann/q", 1, False),
        ("clock/s-ann/q", 0, True),
    ],
)
def test_qos_and_retain_are_the_topics(leaf: str, qos: int, retain: bool, shared_broker: Broker) -> None:
    """QoS and retain other than the table's are refused; so a retained ping leaves no retained reply."""
    ear = everything(shared_broker)
    ann = shared_broker.student()
    ann.publish(f"{ROOM}/{leaf}", b"abcdefgh 00 0000000000000000", qos, retain)
    ann.settle()
    assert all(leaf[:5] not in m.topic for m in ear.heard())
    ann.disconnect()
    ear.disconnect()


@pytest.mark.rule("ACL-16")
def test_own_will_is_heard(shared_broker: Broker) -> None:
    """A Will on one's own presence is what the contract asks for: it passes."""
    ear = everything(shared_broker)
    shared_broker.student(sub="s-will", will=Will("tenant/lincoln/presence/s-will")).vanish()
    while (said := ear.wait_message()).topic != "tenant/lincoln/presence/s-will":
        pass
    assert said.payload == b"lost 0"
    ear.disconnect()


@pytest.mark.rule("ACL-16")
def test_delayed_will(broker: Broker) -> None:
    """46: a delayed Will is not sent, its subject withdrawn or not; one without a delay is, in MQTT 5 too."""
    ear, keep = everything(broker), b"\x11\x00\x00\x00\x3c"
    for sub in ("s-ann", "s-bob"):
        delayed = Will(f"tenant/lincoln/presence/{sub}", delay_s=1)
        broker.student(sub=sub, version=5, will=delayed, properties=keep).vanish()
    broker.home.log("revoke lincoln s-ann 9999999999 9999999999")
    at_once = Will("tenant/lincoln/presence/s-cat")
    broker.student(sub="s-cat", version=5, will=at_once, properties=keep).vanish()
    assert ear.wait_message().topic == "tenant/lincoln/presence/s-cat"
    eventually(lambda: int(broker.home.status()["denied_publishes"]) == 2, "both Wills to be judged")
    assert ear.heard() == []


@pytest.mark.rule("ACL-10")
def test_same_code_in_two_tenants(broker: Broker) -> None:
    """Two tenants with one room code at once: each hears its own."""
    tempo = broker.service("tempo-0")
    ours, theirs = broker.student(), broker.student(tenant="other")
    for tenant, pupil in (("lincoln", ours), ("other", theirs)):
        assert pupil.subscribe(f"tenant/{tenant}/music_room/MUSIC-1234/beat") == [0]
    for n in range(50):
        tempo.publish(f"{ROOM if n % 2 else OTHER}/beat", b"ours" if n % 2 else b"theirs")
    tempo.settle()
    assert {m.payload for m in ours.heard()} == {b"ours"}
    assert {m.payload for m in theirs.heard()} == {b"theirs"}


@pytest.mark.rule("ACL-17")
@pytest.mark.rule("ACL-11")
def test_retained_replay(broker: Broker) -> None:
    """37: the replay of retained messages goes through the same judgement as live ones."""
    rooms = broker.service()
    for room in (ROOM, OTHER, "tenant/lincoln/music_room/CHOIR-0001"):
        assert rooms.publish(f"{room}/tempo", room.encode(), 1, True) == 0
    teacher, ann = broker.teacher(), broker.student()
    assert teacher.subscribe("tenant/lincoln/music_room/+/tempo") == [0]
    assert ann.subscribe(f"{ROOM}/tempo") == [0]
    assert {m.payload for m in teacher.heard()} == {ROOM.encode(), b"tenant/lincoln/music_room/CHOIR-0001"}
    assert [m.payload for m in ann.heard()] == [ROOM.encode()]
    broker.home.log("close lincoln CHOIR-0001")
    again = broker.teacher(digit=1)
    assert again.subscribe("tenant/lincoln/music_room/+/tempo") == [0]
    assert {m.payload for m in again.heard()} == {ROOM.encode()}


def test_response_topic_is_only_a_word(broker: Broker) -> None:
    """50: a response topic in another tenant makes nobody publish there by itself."""
    theirs = broker.student(tenant="other")
    assert theirs.subscribe(f"{OTHER}/note/+") == [0]
    ann = broker.student(version=5)
    ann.publish(f"{ROOM}/note/s-ann", b"x", properties=b"\x08" + text(f"{OTHER}/note/s-ann"))
    ann.settle()
    assert theirs.heard() == []


@pytest.mark.rule("ACL-9")
def test_topic_alias_is_judged_each_time(broker: Broker) -> None:
    """49: a topic alias set while allowed is denied after a mute, and unknown on the next connection."""
    alias = b"\x23\x00\x01"
    bob = broker.student(sub="s-bob")
    assert bob.subscribe(f"{ROOM}/note/+") == [0]
    ann = broker.student(version=5)
    ann.publish(f"{ROOM}/note/s-ann", b"1", properties=alias)
    ann.publish("", b"2", properties=alias)
    ann.settle()
    broker.home.log("mute lincoln MUSIC-1234 s-ann")
    broker.student(sub="s-eve").subscribe(f"{ROOM}/beat")  # a SUBSCRIBE makes the gate read its log
    ann.publish("", b"3", properties=alias)
    ann.settle()
    assert [m.payload for m in bob.heard()] == [b"1", b"2"]
    ann.disconnect()
    again = broker.student(version=5)
    again.publish("", b"4", properties=alias)
    again.wait_closed()
    assert bob.heard() == []


def test_qos2_completed_after_mute(broker: Broker) -> None:
    """54: QoS 2 is no way round: it is refused at PUBLISH, so that PUBREL has nothing to release."""
    bob = broker.student(sub="s-bob")
    assert bob.subscribe(f"{ROOM}/note/+") == [0]
    ann = broker.student(version=5)
    assert ann.publish(f"{ROOM}/note/s-ann", b"x", qos=2) == 0x87
    ann.send(packet(6, struct.pack(">H", ann.last_id), 2))
    ann.settle()
    assert bob.heard() == []


@pytest.mark.rule("CRED-9")
def test_lower_role_after_reconnect(broker: Broker) -> None:
    """22: nothing of an earlier connection's subscriptions survives a reconnect."""
    teacher = broker.teacher(version=5, properties=b"\x11\x00\x00\x0e\x10")
    assert teacher.subscribe("tenant/lincoln/presence/+", "tenant/lincoln/music_room/+/beat") == [0, 0]
    teacher.vanish()
    again = broker.teacher()
    tempo = broker.service("tempo-0")
    tempo.publish(f"{ROOM}/beat", b"{}")
    tempo.settle()
    assert again.heard() == []


def test_thousands_of_filters(broker: Broker) -> None:
    """38: thousands of filters, refused, end the connection that sends them; the others notice nothing."""
    ann, bob = broker.student(), broker.student(sub="s-bob")

    def ask_on() -> None:
        for start in range(0, 9000, 100):
            answers = ann.subscribe(*(f"{OTHER}/note/s-x{n}" for n in range(start, start + 100)))
            assert set(answers) == {0x80}
        for _ in range(1000):
            ann.settle()  # 2.1 lets plugins disconnect 40 times a second at the most

    with pytest.raises(ConnectionError):
        ask_on()
    bob.settle()


def test_malformed_packets(broker: Broker) -> None:
    """63: garbage ends the connection that sent it, and no other."""
    bob = broker.student(sub="s-bob")
    for garbage in (
        b"\0" * 64,
        b"\x10\xff\xff\xff\x7f",
        b"\x10\x04\x00\x04MQ",
        packet(PUBLISH, b"\xff\xff"),
        bytes(range(256)),
    ):
        with pytest.raises((Refused, TimeoutError)):
            Client.open(("127.0.0.1", broker.port), garbage)
        ann = broker.student()
        ann.send(garbage)
        ann.sock.close()
    bob.settle()
