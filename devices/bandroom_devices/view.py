"""A room as its retained topics tell it: tempo map, name and mutes, who is in. Pure."""

from __future__ import annotations

from bandroom.music.tempo_map import TempoMap
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Member, RoomInfo, Tempo
from bandroom.wire.tempo import from_message


class RoomView:
    """The newest of each. A lower ``rev`` than one already seen is dropped: messages can overtake each other."""

    def __init__(self) -> None:
        self.tempo_map: TempoMap | None = None
        self.info: RoomInfo | None = None
        self.members: dict[Subject, Member] = {}

    @property
    def is_closed(self) -> bool:
        """Whether the room has ended."""
        return self.info is not None and self.info.state == "closed"

    def tempo(self, message: Tempo) -> bool:
        """Take a tempo map; False when it is stale, or contradicts itself."""
        if self.tempo_map is not None and message.rev <= self.tempo_map.rev:
            return False
        try:
            self.tempo_map = from_message(message)
        except ValueError:
            return False  # a map that no room can play is dropped as any other unreadable message
        return True

    def room(self, message: RoomInfo) -> set[Subject]:
        """Take name, state and mutes; the members who may no longer play and could a moment ago."""
        former = self.info
        if former is not None and message.rev < former.rev:
            return set()
        self.info = message
        return self._muted(message) - (self._muted(former) if former else set())

    def member(self, subject: Subject, message: Member | None) -> bool:
        """Take one member (None: cleared); True when that member has gone and was there."""
        former = self.members.get(subject)
        if message is None:
            self.members.pop(subject, None)
        else:
            self.members[subject] = message
        was_here = former is not None and former.state == "ready"
        return was_here and (message is None or message.state != "ready")

    def _muted(self, info: RoomInfo) -> set[Subject]:
        # "All" is meant for pupils and devices; the teacher's own notes go on.
        everybody = {sub for sub in self.members if sub[0] in "sd"} if info.all_muted else set[Subject]()
        return everybody | set(info.muted)
