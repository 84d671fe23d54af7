"""Answers to what a teacher's client sent as a command and is none: with its id where there is one, and not often."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, cast

from bandroom.rooms.control import not_done
from bandroom.rooms.effects import Publish
from bandroom.wire.ids import BadId, Subject, TenantId
from bandroom.wire.topics import Leaf, Room, parse_topic

BURST = 10
RATE = 1.0
"""Answers at once and a second, for each sender: a client gone wild would only have its own rubbish echoed."""
_SENDERS = 1000
_ID = re.compile(r"[\x21-\x7e]{1,64}")


@dataclass(slots=True)
class Unreadable:
    """Makes the answers. Times are a monotonic clock's seconds."""

    _left: dict[tuple[TenantId, Subject], tuple[float, float]] = field(
        default_factory=dict[tuple[TenantId, Subject], tuple[float, float]]
    )

    def answer(self, name: str, payload: bytes, why: str, now_s: float) -> Publish | None:
        """The answer to what came on topic ``name``; None for other topics, and where too many were answered."""
        try:
            topic = parse_topic(name)
        except BadId:
            return None
        if topic.leaf is not Leaf.CONTROL or topic.room is None or topic.subject is None:
            return None
        who = (topic.tenant, topic.subject)
        left, at_s = self._left.pop(who, (float(BURST), now_s))
        left = min(float(BURST), left + (now_s - at_s) * RATE)
        self._left[who] = (max(left - 1, 0.0), now_s)  # the newest last
        while len(self._left) > _SENDERS:
            del self._left[next(iter(self._left))]
        if left < 1:
            return None
        reply = not_done(_id_of(payload), "bad_request", f"this is no command: {why}")
        return Publish(Room(topic.tenant, topic.room).control_reply(topic.subject), reply)


def _id_of(payload: bytes) -> str | None:
    try:
        found: Any = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    named: Any = cast("dict[str, Any]", found).get("id") if isinstance(found, dict) else None
    return named if isinstance(named, str) and _ID.fullmatch(named) else None
