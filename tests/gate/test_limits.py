"""Limits: what one may ask of the broker, that others do not suffer, and that no trick wins a new allowance."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time

import pytest
from gatekit import Broker, Leg, Will, eventually
from raw_mqtt import CONNACK, PUBLISH, Client, Refused, connect_packet, packet, text

ROOM = "tenant/lincoln/music_room/MUSIC-1234"
OTHER = "tenant/other/music_room/MUSIC-1234"
NOTE = f"{ROOM}/note/s-ann"


def burst(client: Client, topic: str, count: int, payload: bytes = b"x") -> None:
    client.send(packet(PUBLISH, text(topic) + payload) * count)
    client.settle()


def listener(broker: Broker, *filters: str) -> Client:
    ear = broker.service()
    assert set(ear.subscribe(*filters)) == {0}
    return ear


def limit(broker: Broker, *limits: str) -> None:
    """Sets limits of the tenant lincoln, and waits until the gate has read them."""
    broker.home.log(*(f"limit lincoln {text}" for text in limits))
    eventually(lambda: broker.home.status()["log"].endswith(f" {broker.home.seq}"), "the limits to be read")


@pytest.mark.rule("LIM-1")
@pytest.mark.rule("LIM-3")
def test_client_messages(broker: Broker) -> None:
    """A client gets its burst, then its rate; the rest is dropped and reported, once a second at most."""
    limit(broker, "client_msgs 50 100")
    ear, ann = listener(broker, NOTE), broker.student()
    assert ann.subscribe(f"{ROOM}/limit/s-ann") == [0]
    teacher = broker.teacher()
    assert teacher.subscribe(f"{ROOM}/limit/+") == [0]
    begin = time.monotonic()
    burst(ann, NOTE, 400)
    passed = len(ear.heard())
    assert 100 <= passed <= 100 + 50 * (time.monotonic() - begin + 0.01) + 1
    reports = [ann.wait_message(), teacher.wait_message()]
    assert [m.topic for m in reports] == [f"{ROOM}/limit/s-ann"] * 2
    said = json.loads(reports[0].payload)
    assert said["why"] == "client_msgs"
    assert said["dropped"] <= 400 - passed
    for _ in range(30):
        burst(ann, NOTE, 10)
        time.sleep(0.02)
    assert len([m for m in ann.heard() if "/limit/" in m.topic]) <= 1


@pytest.mark.rule("LIM-3")
def test_who_floods_and_goes_is_told_of(broker: Broker) -> None:
    """A sender who is gone before the next report is due has still been noticed by the teacher."""
    limit(broker, "client_msgs 1 10")
    teacher = broker.teacher()
    assert teacher.subscribe(f"{ROOM}/limit/+") == [0]
    ann = broker.student()
    burst(ann, NOTE, 100)
    told = teacher.wait_message()
    burst(ann, NOTE, 50)  # a report was sent just now: the next one is due in a second
    ann.disconnect()
    rest = teacher.wait_message()
    assert [m.topic for m in (told, rest)] == [f"{ROOM}/limit/s-ann"] * 2
    assert json.loads(told.payload)["dropped"] + json.loads(rest.payload)["dropped"] >= 138


@pytest.mark.rule("LIM-2")
@pytest.mark.parametrize("trick", ["reconnect", "digits", "wills"])
def test_no_new_allowance(trick: str, broker: Broker) -> None:
    """56, 57, 58: reconnecting, ten connections at once, or Wills: the bucket is the subject's."""
    limit(broker, "client_msgs 1 50")
    ear = listener(broker, NOTE, "tenant/lincoln/presence/+")
    begin = time.monotonic()
    for n in range(10):
        will = Will("tenant/lincoln/presence/s-ann") if trick == "wills" else None
        ann = broker.student(digit=n if trick == "digits" else None, will=will)
        burst(ann, NOTE, 20)
        if trick == "reconnect":
            ann.disconnect()
        if trick == "wills":
            ann.vanish()
    assert 50 <= len(ear.heard()) <= 50 + (time.monotonic() - begin) + 11 * (trick == "wills")


def test_flood_of_wills(broker: Broker) -> None:
    """58: Wills by takeover and by vanishing are limited by the subject's connections."""
    refused = 0
    for n in range(700):
        try:
            ann = broker.student(will=Will("tenant/lincoln/presence/s-ann"))
        except Refused:
            refused += 1
            continue
        if n % 2:
            ann.vanish()
    assert refused > 0
    broker.student(sub="s-bob").disconnect()


def test_bytes(broker: Broker) -> None:
    """Bytes count beside messages: few big ones are as limited as many small ones."""
    limit(broker, "client_bytes 1000 8000")
    ear, ann = listener(broker, NOTE), broker.student()
    burst(ann, NOTE, 20, b"x" * 2000)
    assert len(ear.heard()) == 3


def test_pupils_cannot_use_up_the_teacher(broker: Broker) -> None:
    """Ten pupils at full speed empty the room's bucket; the teacher's notes, control and pings pass all the same."""
    limit(broker, "room_msgs 10 100", "client_msgs 1000 1000")
    ear = listener(broker, f"{ROOM}/note/+", f"{ROOM}/control/+")
    for n in range(10):
        burst(broker.student(sub=f"s-x{n}"), f"{ROOM}/note/s-x{n}", 100)
    heard = ear.heard()
    assert 100 <= len(heard) < 200
    teacher = broker.teacher()
    assert teacher.subscribe(f"{ROOM}/clock/t-kim/r") == [0]
    burst(teacher, f"{ROOM}/note/t-kim", 50)
    assert teacher.publish(f"{ROOM}/control/t-kim", b"{}", 1) == 0
    teacher.publish(f"{ROOM}/clock/t-kim/q", b"abcdefgh 00 0000000000000000")
    assert len(ear.heard()) == 51
    assert teacher.wait_message().topic.endswith("/r")


def test_tenant_and_its_neighbour(broker: Broker) -> None:
    """A tenant has a bucket over all its rooms; another tenant's players have their own."""
    limit(broker, "tenant_msgs 10 100", "client_msgs 1000 1000")
    ear = listener(broker, "tenant/+/music_room/+/note/+")
    burst(broker.student(), NOTE, 90)
    burst(broker.student(sub="s-bob", room="CHOIR-0001"), "tenant/lincoln/music_room/CHOIR-0001/note/s-bob", 90)
    assert 100 <= len(ear.heard()) < 120
    burst(broker.student(tenant="other"), f"{OTHER}/note/s-ann", 100)
    assert len(ear.heard()) == 100


def test_control_and_clock_have_their_own(broker: Broker) -> None:
    """With notes used up, control and clock work; with clock used up, notes do."""
    limit(broker, "client_msgs 1 5", "clock_msgs 1 5", "control_msgs 1 5")
    ear, teacher = listener(broker, f"{ROOM}/+/t-kim"), broker.teacher()
    assert teacher.subscribe(f"{ROOM}/clock/t-kim/r") == [0]
    burst(teacher, f"{ROOM}/clock/t-kim/q", 10, b"abcdefgh 00 0000000000000000")
    assert 5 <= len([m for m in teacher.heard() if m.topic.endswith("/r")]) <= 6
    for _ in range(10):
        teacher.publish(f"{ROOM}/control/t-kim", b"{}", 1)
    burst(teacher, f"{ROOM}/note/t-kim", 10)
    said = [m.topic.split("/")[-2] for m in ear.heard()]
    assert 5 <= said.count("control") <= 6
    assert 5 <= said.count("note") <= 6


def test_reason_over_the_limit(broker: Broker, leg: Leg) -> None:
    """MQTT 5, QoS 1, over the limit: 0x97 where the broker can say it, else 0x87; in 3.1.1 an ordinary PUBACK."""
    limit(broker, "control_msgs 1 3")
    ear = listener(broker, f"{ROOM}/control/+")
    teacher = broker.teacher(version=5)
    reasons = [teacher.publish(f"{ROOM}/control/t-kim", b"{}", 1) for _ in range(6)]
    assert reasons[-1] == (0x97 if leg.name == "2.1" else 0x87)
    assert broker.teacher(sub="t-lee").publish(f"{ROOM}/control/t-lee", b"{}", 1) == 0
    assert len(ear.heard()) <= 5


@pytest.mark.rule("LIM-4")
def test_service_is_exempt(broker: Broker) -> None:
    """The service's own messages are not limited; a topic that only looks like a beat is."""
    limit(broker, "client_msgs 1 10", "room_msgs 1 10", "tenant_msgs 1 10")
    ann, tempo = broker.student(), broker.service("tempo-0")
    assert ann.subscribe(f"{ROOM}/beat") == [0]
    burst(tempo, f"{ROOM}/beat", 1000)
    assert len(ann.heard()) == 1000
    burst(ann, f"{ROOM}/beat", 30)  # 59: refused anyway, but it costs its sender's allowance
    ear = listener(broker, NOTE)
    burst(ann, NOTE, 10)
    assert len(ear.heard()) <= 1


def test_subscriptions(broker: Broker) -> None:
    """Subscriptions are limited by rate, and by how many a client holds."""
    limit(broker, "subs 1000 50")
    answers: list[int] = []
    ann = broker.student()
    for n in range(80):
        answers += ann.subscribe(f"{ROOM}/note/s-x{n}")
    assert 49 <= answers.count(0) <= 51
    assert ann.subscribe(f"{ROOM}/beat") == [0x80]
    again = broker.student(digit=1)
    eventually(lambda: again.subscribe(f"{ROOM}/beat") == [0], "the rate to allow one more")


@pytest.mark.rule("LIM-4")
def test_flooder_is_thrown_out(broker: Broker) -> None:
    """Who floods on is disconnected and kept out for a while, by every client id; a neighbour's beats go on."""
    tempo, bob = broker.service("tempo-0"), broker.student(sub="s-bob")
    assert bob.subscribe(f"{ROOM}/beat") == [0]
    ann = broker.student()
    data = packet(PUBLISH, text(NOTE) + b"x") * 1000

    def flood() -> None:
        for n in range(200):
            ann.send(data)
            tempo.publish(f"{ROOM}/beat", struct.pack(">I", n))
            tempo.settle()

    with pytest.raises(ConnectionError):
        flood()
    for digit in (None, 1, 2):
        with pytest.raises(Refused):
            broker.student(digit=digit)
    assert len(bob.heard()) > 1
    eventually(lambda: broker.home.status()["flooders"] == "1", "the count")
    assert int(broker.home.status()["over_limit"]) > 1000


@pytest.mark.rule("LIM-4")
def test_a_flood_with_many_heads(broker: Broker) -> None:
    """Who floods together is put out together, though none alone sends enough for it; not a clumsy one elsewhere."""
    heads = [broker.student(sub=f"s-x{n}") for n in range(30)]
    clumsy = broker.student(tenant="other", sub="s-clumsy")
    clumsy.send(packet(PUBLISH, text(f"{OTHER}/beat") + b"x") * 500)
    ended: set[int] = set()
    for _ in range(20):
        for head in heads:
            with contextlib.suppress(ConnectionError):
                head.send(packet(PUBLISH, text(f"{ROOM}/beat") + b"x") * 50)
    for n, head in enumerate(heads):
        with contextlib.suppress(TimeoutError):
            head.wait_closed()
            ended.add(n)
    assert len(ended) == 30
    with pytest.raises(Refused):
        broker.student(sub="s-x0")
    broker.student(sub="s-good").disconnect()
    clumsy.settle()


@pytest.mark.rule("LIM-5")
def test_limits_change_at_once(broker: Broker) -> None:
    """A tenant's limits in the log hold within 150 ms, for the connected too, and for no other tenant; 0 is silence."""
    ear, ann, neighbour = (
        listener(broker, NOTE, f"{OTHER}/note/s-ann"),
        broker.student(),
        broker.student(tenant="other"),
    )
    burst(ann, NOTE, 5)
    assert len(ear.heard()) == 5
    limit(broker, "client_msgs 0 0")
    burst(ann, NOTE, 5)
    burst(neighbour, f"{OTHER}/note/s-ann", 150)
    assert [m.topic for m in ear.heard()] == [f"{OTHER}/note/s-ann"] * 150
    limit(broker, "client_msgs 9007199254740991 9007199254740991")
    eventually(lambda: (burst(ann, NOTE, 1), ear.heard() != [])[1], "notes to pass again")
    burst(ann, NOTE, 300)
    assert len(ear.heard()) == 300


class TestAddresses:
    """Failed CONNECTs are counted by address; nobody's bad passwords are another's trouble."""

    @staticmethod
    def attempt(broker: Broker, source: str, good: bool, sub: str = "s-ann") -> bool:
        token = broker.home.token(broker.home.claims("lincoln", "student", sub, "MUSIC-1234")) if good else "x"
        with socket.create_connection(("127.0.0.1", broker.port), 5, (source, 0)) as sock:
            client = Client(sock)
            client.send(connect_packet(f"lincoln_{sub}", f"lincoln/{sub}", token))
            answer = client.read()
            return answer is not None and answer.kind == CONNACK and answer.body[1] == 0

    def test_failures_are_limited_by_address(self, broker: Broker) -> None:
        """After so many failures an address is served only for subjects let in lately; others never notice."""
        assert self.attempt(broker, "127.0.0.7", good=True)
        rounds = 0
        while self.attempt(broker, "127.0.0.7", good=True, sub=f"s-new{rounds}"):
            for _ in range(200):
                assert not self.attempt(broker, "127.0.0.7", good=False, sub="s-evil")
            rounds += 1
            assert rounds < 50
        assert self.attempt(broker, "127.0.0.7", good=True), "a subject of lately reconnects"
        assert self.attempt(broker, "127.0.0.8", good=True, sub="s-other"), "another address is served"

    def test_local_address_is_exempt(self, broker: Broker) -> None:
        """The web tunnel's own address is not counted: the tunnel counts those behind it."""
        for _ in range(700):
            assert not self.attempt(broker, "127.0.0.1", good=False)
        assert self.attempt(broker, "127.0.0.1", good=True, sub="s-new")
