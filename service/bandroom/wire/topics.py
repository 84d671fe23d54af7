"""Topic names and topic filters: the one place where they are built and read.

A topic exists only as ``Topic[M]``, minted from typed ids. It carries the model of its payload, its QoS and
whether it is retained, so that ``publish(topic, message)`` does not type-check with a bare string, another
topic's payload, or tenant and room swapped. ``Filter`` is the same for subscriptions; ``parse_topic`` reads a
topic name that came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from bandroom.wire import messages as m
from bandroom.wire.ids import BadId, RoomId, Subject, TenantId

M = TypeVar("M", bound=m.Message)


class Leaf(StrEnum):
    """The kinds of topics: those of a room, then those of a tenant."""

    BEAT = "beat"
    TEMPO = "tempo"
    ROOM = "room"
    MEMBER = "member"
    NOTE = "note"
    MIDI = "midi"
    CLOCK_PING = "clock/q"
    CLOCK_REPLY = "clock/r"
    CONTROL = "control"
    CONTROL_REPLY = "control/reply"
    FEEDBACK = "feedback"
    LIMIT = "limit"
    PRESENCE = "presence"
    ASSIGNMENT = "device/room"


@dataclass(frozen=True, slots=True)
class Shape:
    """What is fixed for a leaf: its levels below the room or tenant, payload model, QoS and retain."""

    levels: tuple[str, ...]
    model: type[m.Message]
    qos: int = 0
    retain: bool = False
    in_room: bool = True

    @property
    def has_subject(self) -> bool:
        """Whether one of its levels is a subject."""
        return "{sub}" in self.levels


SHAPES: dict[Leaf, Shape] = {
    Leaf.BEAT: Shape(("beat",), m.Beat),
    Leaf.TEMPO: Shape(("tempo",), m.Tempo, qos=1, retain=True),
    Leaf.ROOM: Shape(("room",), m.RoomInfo, qos=1, retain=True),
    Leaf.MEMBER: Shape(("member", "{sub}"), m.Member, qos=1, retain=True),
    Leaf.NOTE: Shape(("note", "{sub}"), m.Note),
    Leaf.MIDI: Shape(("midi", "{sub}"), m.Midi),
    Leaf.CLOCK_PING: Shape(("clock", "{sub}", "q"), m.ClockPing),
    Leaf.CLOCK_REPLY: Shape(("clock", "{sub}", "r"), m.ClockReply),
    Leaf.CONTROL: Shape(("control", "{sub}"), m.Command, qos=1),
    Leaf.CONTROL_REPLY: Shape(("control", "{sub}", "reply"), m.Reply, qos=1),
    Leaf.FEEDBACK: Shape(("feedback", "{sub}"), m.Feedback),
    Leaf.LIMIT: Shape(("limit", "{sub}"), m.LimitReport),
    Leaf.PRESENCE: Shape(("presence", "{sub}"), m.Presence, qos=1, retain=True, in_room=False),
    Leaf.ASSIGNMENT: Shape(("device", "{sub}", "room"), m.Assignment, qos=1, retain=True, in_room=False),
}


def _name(leaf: Leaf, tenant: str, room: str | None, subject: str | None) -> str:
    shape = SHAPES[leaf]
    base = f"tenant/{tenant}/music_room/{room}" if shape.in_room else f"tenant/{tenant}"
    return "/".join((base, *(str(subject) if level == "{sub}" else level for level in shape.levels)))


@dataclass(frozen=True, slots=True)
class Topic(Generic[M]):
    """A topic name, with what may be published to it. Mint it with the functions below."""

    leaf: Leaf
    tenant: TenantId
    room: RoomId | None
    subject: Subject | None
    model: type[M]

    @property
    def name(self) -> str:
        """The topic name as it travels."""
        return _name(self.leaf, self.tenant, self.room, self.subject)

    @property
    def qos(self) -> int:
        """The QoS that its messages are published with."""
        return SHAPES[self.leaf].qos

    @property
    def retain(self) -> bool:
        """Whether its messages are retained."""
        return SHAPES[self.leaf].retain

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Room:
    """A room of a tenant: the pair that every room topic is minted from."""

    tenant: TenantId
    room: RoomId

    def beat(self) -> Topic[m.Beat]:
        """Each beat, at its due time."""
        return Topic(Leaf.BEAT, self.tenant, self.room, None, m.Beat)

    def tempo(self) -> Topic[m.Tempo]:
        """The tempo map, retained."""
        return Topic(Leaf.TEMPO, self.tenant, self.room, None, m.Tempo)

    def info(self) -> Topic[m.RoomInfo]:
        """Name, state and mutes, retained."""
        return Topic(Leaf.ROOM, self.tenant, self.room, None, m.RoomInfo)

    def member(self, sub: Subject) -> Topic[m.Member]:
        """One member of the roster, retained."""
        return Topic(Leaf.MEMBER, self.tenant, self.room, sub, m.Member)

    def note(self, sub: Subject) -> Topic[m.Note]:
        """Notes that ``sub`` plays."""
        return Topic(Leaf.NOTE, self.tenant, self.room, sub, m.Note)

    def midi(self, sub: Subject) -> Topic[m.Midi]:
        """Raw MIDI channel messages that ``sub`` plays."""
        return Topic(Leaf.MIDI, self.tenant, self.room, sub, m.Midi)

    def clock_ping(self, sub: Subject) -> Topic[m.ClockPing]:
        """Where ``sub`` asks for server time."""
        return Topic(Leaf.CLOCK_PING, self.tenant, self.room, sub, m.ClockPing)

    def clock_reply(self, sub: Subject) -> Topic[m.ClockReply]:
        """Where ``sub`` is told server time."""
        return Topic(Leaf.CLOCK_REPLY, self.tenant, self.room, sub, m.ClockReply)

    def control(self, sub: Subject) -> Topic[m.Command]:
        """Commands of the teacher ``sub``."""
        return Topic(Leaf.CONTROL, self.tenant, self.room, sub, m.Command)

    def control_reply(self, sub: Subject) -> Topic[m.Reply]:
        """Replies to the teacher ``sub``."""
        return Topic(Leaf.CONTROL_REPLY, self.tenant, self.room, sub, m.Reply)

    def feedback(self, sub: Subject) -> Topic[m.Feedback]:
        """How early or late ``sub`` plays."""
        return Topic(Leaf.FEEDBACK, self.tenant, self.room, sub, m.Feedback)

    def limit(self, sub: Subject) -> Topic[m.LimitReport]:
        """What was dropped of what ``sub`` sent."""
        return Topic(Leaf.LIMIT, self.tenant, self.room, sub, m.LimitReport)


def presence(tenant: TenantId, sub: Subject) -> Topic[m.Presence]:
    """Whether ``sub`` is there: published by itself, and its Will."""
    return Topic(Leaf.PRESENCE, tenant, None, sub, m.Presence)


def assignment(tenant: TenantId, sub: Subject) -> Topic[m.Assignment]:
    """The room that the device ``sub`` is assigned to."""
    return Topic(Leaf.ASSIGNMENT, tenant, None, sub, m.Assignment)


@dataclass(frozen=True, slots=True)
class Filter:
    """A topic filter over one leaf: ``None`` stands for ``+`` at tenant, room or subject."""

    leaf: Leaf
    tenant: TenantId | None
    room: RoomId | None = None
    subject: Subject | None = None

    @classmethod
    def of(cls, topic: Topic[M]) -> Filter:
        """The filter that matches ``topic`` alone."""
        return cls(topic.leaf, topic.tenant, topic.room, topic.subject)

    @property
    def name(self) -> str:
        """The topic filter as it travels."""
        return _name(self.leaf, self.tenant or "+", self.room or "+", self.subject or "+")

    def matches(self, topic: Topic[m.Message]) -> bool:
        """Whether ``topic`` falls under this filter."""
        return self.leaf is topic.leaf and all(
            want is None or want == have
            for want, have in (
                (self.tenant, topic.tenant),
                (self.room, topic.room),
                (self.subject, topic.subject),
            )
        )

    def __str__(self) -> str:
        return self.name


_BY_LEVELS: dict[tuple[bool, tuple[str, ...]], Leaf] = {
    (shape.in_room, shape.levels): leaf for leaf, shape in SHAPES.items()
}


def parse_topic(name: str) -> Topic[m.Message]:
    """The topic that ``name`` spells; raises ``BadId`` when it is none of the contract's."""
    levels = name.split("/")
    if len(levels) >= 3 and levels[0] == "tenant":
        in_room = len(levels) > 4 and levels[2] == "music_room"
        rest = levels[4:] if in_room else levels[2:]
        # A subject stands at the second place or nowhere, whatever the leaf.
        has_subject = len(rest) > 1
        key = (rest[0], "{sub}", *rest[2:]) if has_subject else tuple(rest)
        leaf = _BY_LEVELS.get((in_room, key))
        if leaf is not None:
            return Topic(
                leaf,
                TenantId(levels[1]),
                RoomId(levels[3]) if in_room else None,
                Subject(rest[1]) if has_subject else None,
                SHAPES[leaf].model,
            )
    raise BadId("topic", name, "tenant/<tenant>/music_room/<room>/<leaf> or tenant/<tenant>/<leaf>")
