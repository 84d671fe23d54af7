"""Reading topic filters: which of them are filters over one leaf, the only kind that anyone but the service gets."""

from __future__ import annotations

from bandroom.wire.ids import BadId, RoomId, Subject, TenantId
from bandroom.wire.topics import SHAPES, Filter

_FORM = "a topic name in which tenant, room and subject may be +, each leaf by name"


def parse_filter(name: str) -> Filter:
    """The filter that `name` spells, with `+` for tenant, room or subject at the most.

    Raises BadId for everything else, `#` and filters over several leaves included, legal in MQTT as they may be.
    """
    levels = name.split("/")
    for leaf, shape in SHAPES.items():
        head = ("tenant", "{tenant}", "music_room", "{room}") if shape.in_room else ("tenant", "{tenant}")
        places = head + shape.levels
        if len(levels) != len(places):
            continue
        found: dict[str, str] = {}
        for place, level in zip(places, levels, strict=True):
            if place[0] == "{":
                found[place] = level
            elif place != level:
                break
        else:
            tenant, room, subject = (found.get(place, "+") for place in ("{tenant}", "{room}", "{sub}"))
            return Filter(
                leaf,
                None if tenant == "+" else TenantId(tenant),
                None if room == "+" else RoomId(room),
                None if subject == "+" else Subject(subject),
            )
    raise BadId("filter of ours", name, _FORM)
