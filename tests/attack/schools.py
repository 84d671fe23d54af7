"""Two schools that are as alike as can be: their subjects, every topic and filter of theirs, and MQTT's matching."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

from bandroom.wire.ids import BadId, Role, RoomId, Subject, TenantId
from bandroom.wire.topics import SHAPES, parse_topic

TENANTS = [TenantId("lincoln"), TenantId("lincoln-2")]
ROOMS = [RoomId("MUSIC-1234"), RoomId("CHOIR-0001")]
SUBS = [Subject(sub) for sub in ("s-a", "s-ab", "t-a", "d-a", "v-a")]
PING = b"abcdefgh 0f 0000000000000000"


def places(room: str) -> list[str]:
    """All topics (or filters, with `+` for the room), of both tenants, by every subject."""
    found: list[str] = []
    for tenant, (_, shape) in itertools.product(TENANTS, SHAPES.items()):
        base = f"tenant/{tenant}/music_room/{room}/" if shape.in_room else f"tenant/{tenant}/"
        rest = "/".join(shape.levels)
        found += [base + rest.replace("{sub}", sub) for sub in (SUBS if shape.has_subject else SUBS[:1])]
    return found


TOPICS = sorted({topic for room in ROOMS for topic in places(room)})
ODD_TOPICS = [
    "$SYS/x",
    "$CONTROL/dynamic-security/v1",
    "tenant/lincoln",
    "tenant/lincoln/music_room/MUSIC-1234",
    "tenant/lincoln/music_room/MUSIC-1234/note",
    "tenant/lincoln/music_room/MUSIC-1234/note/s-a/",
    "tenant/lincoln/music_room/MUSIC-1234/note/s-a/beat",
    "tenant/lincoln/music_room/MUSIC-1234//beat",
    "/tenant/lincoln/music_room/MUSIC-1234/beat",
    "tenant/lincoln/music_room/music-1234/note/s-a",
    "elsewhere",
]


def with_plus(topic: str, sub: str) -> str:
    """The filter for all members where the topic names one."""
    return "/".join("+" if level == sub else level for level in topic.split("/"))


FILTERS = sorted(
    {*TOPICS, *places("+")}
    | {with_plus(topic, sub) for topic in [*TOPICS, *places("+")] for sub in SUBS}
    | {"#", "+/#", "tenant/#", "tenant/+/music_room/+/beat", "tenant/+/music_room/+/tempo", "$share/g/#", "$SYS/#"}
    | {f"tenant/{tenant}/#" for tenant in TENANTS}
    | {f"tenant/{tenant}/music_room/{room}/#" for tenant in TENANTS for room in ROOMS}
)


@cache
def matches(topic_filter: str, topic: str) -> bool:
    """MQTT's own matching, of filters that were granted (no `$` topics come here)."""
    levels, names = topic_filter.split("/"), topic.split("/")
    for at, level in enumerate(levels):
        if level == "#":
            return True
        if at >= len(names) or level not in ("+", names[at]):
            return False
    return len(levels) == len(names)


@dataclass
class Actor:
    """One subject of one tenant."""

    tenant: TenantId
    sub: Subject
    room: RoomId | None

    @property
    def role(self) -> Role:
        return self.sub.role

    def own_topics(self) -> list[str]:
        """Topics in its tenant that name it."""
        return [
            topic for topic in TOPICS if topic.startswith(f"tenant/{self.tenant}/") and self.sub in topic.split("/")
        ]


ACTORS = [
    Actor(
        tenant,
        sub,
        (ROOMS[0] if sub in ("s-a", "v-a") else ROOMS[1]) if sub.role in (Role.STUDENT, Role.VIEWER) else None,
    )
    for tenant in TENANTS
    for sub in SUBS
]


@cache
def right_way(topic: str) -> tuple[int, bool]:
    """QoS and retain as the topic's table has them; 0 and no for what is no topic."""
    try:
        parsed = parse_topic(topic)
    except BadId:
        return 0, False
    return parsed.qos, parsed.retain
