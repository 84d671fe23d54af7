"""The allowance for clock pings against what devices really send: the plan of pings, played to the real gate."""

from __future__ import annotations

import time

import pytest
from bandroom.music.ping_plan import BURST, PingPlan
from gatekit import Broker
from raw_mqtt import PUBLISH, Client, packet, text

BASE = "tenant/lincoln/music_room/MUSIC-1234"


def ask(client: Client, sub: str, seq: int, count: int = 1) -> None:
    """Send pings without waiting for their replies."""
    pings = (b"abcdefgh %02x " % ((seq + n) % 256) + b"0" * 16 for n in range(count))
    client.send(b"".join(packet(PUBLISH, text(f"{BASE}/clock/{sub}/q") + ping) for ping in pings))


def answers(client: Client, sub: str) -> tuple[int, int]:
    """How many replies have come, and how many reports of drops."""
    topics = [message.topic for message in client.heard()]
    return topics.count(f"{BASE}/clock/{sub}/r"), topics.count(f"{BASE}/limit/{sub}")


def pupil(broker: Broker, sub: str) -> Client:
    client = broker.student(sub=sub)
    assert set(client.subscribe(f"{BASE}/clock/{sub}/r", f"{BASE}/limit/{sub}")) == {0}
    return client


@pytest.mark.rule("LIM-1")
@pytest.mark.parametrize(("bound_us", "seconds", "faster"), [(800, 10, 4), (5_000, 5, 1.25)])
def test_the_plan_of_pings_fits_its_allowance(broker: Broker, bound_us: int, seconds: int, faster: float) -> None:
    """The first and busiest seconds of the plan, played four times as fast, on a link with jitter (twice the pings) a
    quarter faster: each is answered. Sent all at once they are not."""
    ann, plan, sent = pupil(broker, "s-ann"), PingPlan(), 0
    begin = time.monotonic()
    plan.start(0)
    while (at_us := plan.next_us or 0) < seconds * 1_000_000:
        time.sleep(max(0.0, begin + at_us / 1e6 / faster - time.monotonic()))
        if plan.due(at_us, bound_us):
            ask(ann, "s-ann", sent)
            sent += 1
    assert sent == 80
    assert answers(ann, "s-ann") == (80, 0)
    bob = pupil(broker, "s-bob")
    ask(bob, "s-bob", 0, 80)
    answered, reports = answers(bob, "s-bob")
    assert 40 <= answered < 80
    assert reports or bob.wait_message().topic == f"{BASE}/limit/s-bob"


def test_a_class_that_comes_back_at_once_is_answered(broker: Broker) -> None:
    """Thirty with five bursts each at one moment, as after several short losses of the network: no ping is dropped."""
    names = [f"s-p{n}" for n in range(30)]
    pupils = {sub: pupil(broker, sub) for sub in names}
    for sub, client in pupils.items():
        ask(client, sub, 0, 5 * BURST)
    assert {answers(client, sub) for sub, client in pupils.items()} == {(5 * BURST, 0)}
