"""Victims of two tenants and a beat that goes on, beside whatever an attacker does."""

from __future__ import annotations

import contextlib
import itertools
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from gatekit import Broker, GateHome, Leg, SigningKey, eventually
from raw_mqtt import PUBLISH, Client, Message, Refused

OURS = "tenant/lincoln/music_room/MUSIC-1234"
"""The attacker's own room."""
CHOIR = "tenant/lincoln/music_room/CHOIR-0001"
"""Another room of the attacker's school."""
THEIRS = "tenant/jefferson/music_room/MUSIC-1234"
"""The victim's room: the same code in another school."""
PING = b"abcdefgh 0f 0000000000000000"
BEAT_EVERY_S = 0.01
BEATS_EAR = "the service, for beats"


@contextlib.contextmanager
def running(leg: Leg, log: list[str]) -> Iterator[Broker]:
    """A broker with the gate, ready for all; a crash of it is an error."""
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:  # short: a socket's path is limited to 107 bytes
        home = GateHome(Path(folder) / "home", SigningKey("teacher,student,viewer"), SigningKey("rooms,tempo"))
        home.log(*log)
        broker = Broker(home, leg.program, leg.plugin, env=leg.env)

        def serves() -> bool:
            assert broker.process.poll() is None, f"the broker ended:\n{broker.log[-3000:]}"
            try:
                broker.service(digit=9).disconnect()
                socket.create_connection(("127.0.0.1", broker.port), 5).close()
            except (OSError, Refused):
                return False
            return True

        try:
            eventually(serves, "the broker to serve", 20)
            yield broker
        finally:
            code = broker.stop()
        assert code >= 0, f"the broker died of signal {-code}:\n{broker.log[-3000:]}"


class Ear(threading.Thread):
    """Reads all that a client gets, from now on, with the time of its arrival; ends when the connection does."""

    def __init__(self, name: str, client: Client) -> None:
        super().__init__(name=name, daemon=True)
        self.client = client
        self.heard: list[tuple[float, Message]] = []
        self.alive_since_connect = True
        self.start()

    def run(self) -> None:
        while True:
            try:
                found = self.client.read(patience=3600)
            except (OSError, TimeoutError, ValueError):
                found = None
            if found is None:
                self.alive_since_connect = False
                return
            if found.kind == PUBLISH:
                self.client._take(found)
                now = time.monotonic()
                self.heard += [(now, message) for message in self.client.messages]
                self.client.messages.clear()

    def payloads(self, topic: str, since: int = 0) -> list[bytes]:
        """What came on this topic, from entry `since` on."""
        return [message.payload for _, message in self.heard[since:] if message.topic == topic]


@dataclass
class Arena:
    """`begin`, let the attacker loose, `assert_unharmed`."""

    LOG: ClassVar[list[str]] = [
        "open lincoln MUSIC-1234",
        "open lincoln CHOIR-0001",
        "open lincoln-2 MUSIC-1234",
        "open jefferson MUSIC-1234",
        "assign jefferson d-vic MUSIC-1234",
        "assign lincoln d-evil MUSIC-1234",
        # What is asked here is who may, not how much: the limits have tests of their own, in another tenant.
        *(f"limit lincoln {key} 1000000 1000000" for key in ("client_msgs", "client_bytes", "room_msgs", "room_bytes")),
        *(f"limit lincoln {key} 1000000 1000000" for key in ("tenant_msgs", "tenant_bytes", "clock_msgs", "subs")),
        *(f"limit lincoln {key} 1000000 1000000" for key in ("presence_msgs", "presence_bytes")),
    ]
    RETAINED: ClassVar[dict[str, bytes]] = {
        f"{OURS}/tempo": b"tempo of ours",
        f"{OURS}/room": b"room of ours",
        f"{OURS}/member/s-bob": b"bob",
        f"{CHOIR}/tempo": b"tempo of the choir",
        f"{THEIRS}/tempo": b"tempo of theirs",
        f"{THEIRS}/room": b"room of theirs",
        f"{THEIRS}/member/s-vic": b"vic",
        "tenant/jefferson/presence/s-vic": b"ready 0",
        "tenant/jefferson/device/d-vic/room": b"MUSIC-1234",
    }

    broker: Broker
    marker: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    me: str = "s-evil"

    def __post_init__(self) -> None:
        # Other files' tests may take minutes in between, in which nothing is sent here.
        self.rooms = self.broker.service(keepalive=0)
        for topic, payload in self.RETAINED.items():
            assert self.rooms.publish(topic, payload, 1, True) == 0
        broker = self.broker
        silent: dict[str, Any] = {"keepalive": 0}  # they only listen, for as long as the session lasts
        self.victims = {
            "the service": self._ear("the service", broker.service(digit=1, **silent), "tenant/#"),
            BEATS_EAR: self._ear("beats", broker.service(digit=8, **silent), f"{OURS}/beat", f"{THEIRS}/beat"),
            "pupil of the other school": self._ear(
                "vic",
                broker.student("jefferson", "s-vic", **silent),
                f"{THEIRS}/beat",
                f"{THEIRS}/tempo",
                f"{THEIRS}/note/+",
            ),
            "device of the other school": self._ear(
                "d-vic", broker.device("jefferson", "d-vic", **silent), f"{THEIRS}/beat"
            ),
            "teacher of the other school": self._ear(
                "t-vic", broker.teacher("jefferson", "t-vic", **silent), f"{THEIRS}/beat", "tenant/jefferson/presence/+"
            ),
            "classmate": self._ear(
                "bob", self.broker.student(sub="s-bob", **silent), f"{OURS}/beat", f"{OURS}/tempo", f"{OURS}/note/+"
            ),
        }
        self._stop = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()
        self._since = dict.fromkeys(self.victims, 0)

    def _ear(self, name: str, client: Client, *filters: str) -> Ear:
        assert client.subscribe(*filters) == [0] * len(filters)
        return Ear(name, client)

    def _beat(self) -> None:
        """A tempo worker: beat n of both rooms at start + n intervals, with its number and time as the payload."""
        tempo, start = self.broker.service("tempo-0"), time.monotonic()
        for n in itertools.count():
            due = start + n * BEAT_EVERY_S
            if self._stop.wait(max(0.0, due - time.monotonic())):
                tempo.disconnect()
                return
            for room in (OURS, THEIRS):
                tempo.publish(f"{room}/beat", f"{n} {time.monotonic():.6f}".encode())

    # -- what a test does

    def log(self, *entries: str) -> None:
        """Append to the gate log."""
        self.broker.home.log(*entries)

    def denied_publishes(self) -> int:
        """How many the gate has denied so far, Wills included, as it last told."""
        return int(self.broker.home.status()["denied_publishes"])

    def attacker(self, sub: str | None = None, **more: Any) -> Client:
        """A pupil of lincoln's MUSIC-1234, with a good token: `me` unless named, another in each test."""
        return self.broker.student(sub=sub or self.me, **more)

    def refused(
        self, client_id: str | bytes, username: str | bytes | None, password: str | bytes | None, **more: Any
    ) -> None:
        """Assert that this CONNECT is refused."""
        with pytest.raises(Refused):
            self.broker.open(client_id, username, password, **more).disconnect()

    def refused_token(self, token: str, username: str = "lincoln/s-evil", **more: Any) -> None:
        """Assert that this token does not open for s-evil of lincoln."""
        self.refused(username.replace("/", "_", 1), username, token, **more)

    def settle(self) -> None:
        """Wait until every victim has heard all that the broker had to deliver so far."""
        number = str(next(self.marker)).encode()
        since = {name: len(ear.heard) for name, ear in self.victims.items()}
        ends = (("the service", THEIRS), ("pupil of the other school", THEIRS), ("classmate", OURS))

        def all_have_it() -> bool:
            missing = {r for n, r in ends if number not in self.victims[n].payloads(f"{r}/note/s-marker", since[n])}
            # A queue that a flood has filled drops the marker too; one that comes after it says the same, and more.
            for room in missing:
                self.rooms.publish(f"{room}/note/s-marker", number)
            if missing:
                self.rooms.settle()
            return not missing

        eventually(all_have_it, "the marker at each victim")

    def nobody_heard(self, payload: bytes) -> None:
        """Assert that no victim, the service included, got this payload on any topic."""
        self.settle()
        for name, ear in self.victims.items():
            found = [message for _, message in ear.heard[self._since[name] :] if payload in message.payload]
            assert not found, f"{name} heard {found}"

    def heard_since_begin(self, name: str) -> list[tuple[str, bytes]]:
        """Topic and payload of all that this victim has heard since the attack began."""
        return [(message.topic, message.payload) for _, message in self.victims[name].heard[self._since[name] :]]

    def begin(self) -> None:
        """Before an attack: remember where the victims are. The attacker comes as somebody new."""
        self.settle()
        self.me = f"s-evil-{next(self.marker)}"
        self._since = {name: len(ear.heard) for name, ear in self.victims.items()}

    def lateness_ms(self, name: str = "pupil of the other school") -> list[float]:
        """How late the victim got each beat since `begin`, in ms after it was sent."""
        ear = self.victims[name]
        beats = [(at, m) for at, m in ear.heard[self._since[name] :] if m.topic.endswith("/beat")]
        return [(at - float(m.payload.split()[1])) * 1000 for at, m in beats]

    def assert_unharmed(self) -> None:
        """After an attack: everybody still connected, no beat missing or strange, what is retained unchanged."""
        self.settle()
        beat = {name: f"{OURS if name == 'classmate' else THEIRS}/beat" for name in self.victims}
        counts = {name: len(ear.heard) for name, ear in self.victims.items()}
        eventually(
            lambda: all(ear.payloads(beat[name], counts[name]) for name, ear in self.victims.items()),
            "one more beat at each victim",
        )
        for name, ear in self.victims.items():
            assert ear.alive_since_connect, f"{name} lost the connection"
            # The one that hears all there is, floods included, has a socket that holds a few hundred packets: it looks
            # for what must not be there. Another of the service's connections hears the beats of both rooms.
            for room in () if name == "the service" else (OURS, THEIRS):
                beats = [int(payload.split()[0]) for payload in ear.payloads(f"{room}/beat", self._since[name])]
                assert not beats or beats == list(range(beats[0], beats[0] + len(beats))), f"{name}: beats broken"
            strange = [
                m for _, m in ear.heard[self._since[name] :] if name != "the service" and not self._expected(name, m)
            ]
            assert not strange, f"{name} heard {strange[:5]}"
        late = self.broker.service(digit=2)
        assert late.subscribe(*self.RETAINED, qos=1) == [1] * len(self.RETAINED)
        shown = {m.topic: m.payload for m in late.heard() if m.retained}
        late.disconnect()
        assert shown == self.RETAINED, "a retained message changed"

    @staticmethod
    def _expected(name: str, message: Message) -> bool:
        if name == BEATS_EAR:
            return message.topic in (f"{OURS}/beat", f"{THEIRS}/beat")
        room = OURS if name == "classmate" else THEIRS
        if message.topic == f"{room}/beat" or message.topic == f"{room}/note/s-marker":
            return True
        if message.topic == f"{room}/tempo":
            return message.payload in Arena.RETAINED.values()
        if name == "classmate":  # the attacker may play in its own room
            return message.topic.startswith(f"{room}/note/s-evil")
        return message.topic == "tenant/jefferson/presence/s-vic" and message.payload == b"ready 0"

    def close(self) -> None:
        """End beat and victims."""
        self._stop.set()
        self._beating.join(5)
        for ear in self.victims.values():
            ear.client.sock.close()
        self.rooms.disconnect()
