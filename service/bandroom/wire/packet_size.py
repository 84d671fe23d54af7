"""How large the packets are that a board sends and receives: stock clients have buffers of 256 or 128 bytes.

Computed from the names' longest legal forms and from real payloads, so that the table in docs/protocol.md and the
promise below it hold by calculation (MQTT 3.1.1 sizes; QoS 0 and 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bandroom.wire import messages as m
from bandroom.wire.ids import ClientId, RoomId, Subject, TenantId, UserName
from bandroom.wire.instruments import INSTRUMENTS
from bandroom.wire.topics import M, Room, Topic, assignment, presence

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE_PASSWORD_LENGTH: Final = 26


@dataclass(frozen=True, slots=True)
class Names:
    """A device's names, and the numbers in the beats that it hears."""

    tenant: TenantId
    room: RoomId
    subject: Subject
    generation: int
    digit: int | None
    beat: m.Beat


ORDINARY: Final = Names(
    TenantId("lincoln8"),
    RoomId("MUSIC-1234"),
    Subject("d-drum-33"),
    generation=1,
    digit=0,
    beat=m.Beat(rev=1763851231, n=9999, bar=2500, pos=4, bpm=120.0, t=1763851231123456, d=500000),
)
"""A tenant of 8 letters, a subject of 9, and a beat more than an hour into a lesson."""

LONGEST: Final = Names(
    TenantId("t" * 20),
    RoomId("ABCDEFGH-9999"),
    Subject("d-" + "a" * 18),
    generation=999_999_999,
    digit=9,
    beat=m.Beat(rev=2**53 - 1, n=-(10**9), bar=-(10**9), pos=64, bpm=399.99999999999994, t=2**53 - 1, d=2**53 - 1),
)
"""Every name and number at its longest."""


def _packet(body: int) -> int:
    """Fixed header and body: the length takes one byte up to 127, two up to 16,383."""
    return body + (2 if body < 128 else 3)


def _text(value: str) -> int:
    return 2 + len(value.encode())


def connect(names: Names) -> int:
    """CONNECT with the Will, user name and password."""
    will = presence(names.tenant, names.subject)
    return _packet(
        10
        + _text(ClientId.of(names.tenant, names.subject, names.digit))
        + _text(will.name)
        + 2
        + len(m.Presence("lost", names.digit or 0).encode())
        + _text(UserName.of(names.tenant, names.subject, names.generation))
        + 2
        + DEVICE_PASSWORD_LENGTH
    )


def publish(topic: Topic[M], message: M) -> int:
    """PUBLISH at the topic's QoS, either way."""
    return _packet(_text(topic.name) + (2 if topic.qos else 0) + len(message.encode()))


def subscribe(topic: Topic[M]) -> int:
    """SUBSCRIBE to this one topic."""
    return _packet(2 + _text(topic.name) + 1)


def sizes(names: Names) -> Iterator[tuple[str, int]]:
    """What each packet that a board needs measures, in bytes."""
    room, sub = Room(names.tenant, names.room), names.subject
    ping = m.ClockPing("abcdefgh", 255)
    yield "CONNECT with Will", connect(names)
    yield "SUBSCRIBE beat", subscribe(room.beat())
    yield "SUBSCRIBE clock reply", subscribe(room.clock_reply(sub))
    yield "SUBSCRIBE assignment", subscribe(assignment(names.tenant, sub))
    ready = m.Presence("ready", names.digit or 0, m.MAX_ERROR_US, max(INSTRUMENTS, key=len))
    yield "PUBLISH presence", publish(presence(names.tenant, sub), ready)
    yield "PUBLISH clock ping", publish(room.clock_ping(sub), ping)
    yield "PUBLISH note", publish(room.note(sub), m.Note(t=names.beat.t, on=(127,), v=127, ch=15))
    yield "received: beat", publish(room.beat(), names.beat)
    yield "received: clock reply", publish(room.clock_reply(sub), m.ClockReply("abcdefgh", 255, names.beat.t))
    yield "received: assignment", publish(assignment(names.tenant, sub), m.Assignment(names.room))


def table() -> str:
    """The table of docs/protocol.md, in Markdown."""
    rows = zip(sizes(ORDINARY), sizes(LONGEST), strict=True)
    lines = ["| packet | at ordinary names | at the longest |", "|---|---:|---:|"]
    lines += [f"| {what} | {ordinary} | {longest} |" for (what, ordinary), (_, longest) in rows]
    return "\n".join(lines) + "\n"
