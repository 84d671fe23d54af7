"""What the gate log adds up to: open rooms, assignments, mutes, revocations, floors and limits.

The same entries in the same order give the same state in the gate and here; `entries` writes a state out again as the
shortest log that leads to it, which is what a compaction keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bandroom.wire.gate_log import (
    Assign,
    Close,
    Entry,
    Floor,
    GateLogError,
    Kick,
    Limit,
    LimitKey,
    Member,
    Mute,
    MuteAll,
    Open,
    Revoke,
    RevokeJti,
    Unmute,
    UnmuteAll,
    parse_header,
    parse_line,
)
from bandroom.wire.ids import RoomId, Subject, TenantId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

InRoom = tuple[TenantId, RoomId]
OfSubject = tuple[TenantId, Subject]


@dataclass(slots=True)
class GateState:
    """The sum of a gate log. Only `apply` changes it; `policy` reads it. Times are Unix seconds."""

    open_rooms: set[InRoom] = field(default_factory=set[InRoom])
    """(tenant, room)"""
    assigned: dict[OfSubject, RoomId] = field(default_factory=dict[OfSubject, RoomId])
    """(tenant, device) -> room"""
    muted: set[tuple[TenantId, RoomId, Subject]] = field(default_factory=set[tuple[TenantId, RoomId, Subject]])
    """(tenant, room, subject)"""
    all_muted: set[InRoom] = field(default_factory=set[InRoom])
    """(tenant, room)"""
    revoked: dict[OfSubject, tuple[int, int]] = field(default_factory=dict[OfSubject, tuple[int, int]])
    """(tenant, subject) -> (tokens issued up to, until)"""
    revoked_jti: dict[tuple[TenantId, str], int] = field(default_factory=dict[tuple[TenantId, str], int])
    """(tenant, jti) -> until"""
    floors: dict[OfSubject, int] = field(default_factory=dict[OfSubject, int])
    """(tenant, device) -> the lowest generation that is valid"""
    limits: dict[tuple[TenantId, LimitKey], tuple[int, int]] = field(
        default_factory=dict[tuple[TenantId, LimitKey], tuple[int, int]]
    )
    """(tenant, key) -> (rate, burst)"""

    def apply(self, entry: Entry) -> None:
        """Take one entry in. An entry that says what is so already changes nothing."""
        match entry:
            case Open(tenant, room):
                self.open_rooms.add((tenant, room))
            case Close(tenant, room):
                self.open_rooms.discard((tenant, room))
                self.all_muted.discard((tenant, room))
                self.muted = {mute for mute in self.muted if mute[:2] != (tenant, room)}
            case Assign(tenant, sub, room):
                self.assigned.pop((tenant, sub), None)
                if room is not None:
                    self.assigned[tenant, sub] = room
            case Mute(tenant, room, sub):
                self.muted.add((tenant, room, sub))
            case Unmute(tenant, room, sub):
                self.muted.discard((tenant, room, sub))
            case MuteAll(tenant, room):
                self.all_muted.add((tenant, room))
            case UnmuteAll(tenant, room):
                self.all_muted.discard((tenant, room))
            case Revoke(tenant, sub, iat_max_s, until_s):
                # A later entry never revives what an earlier one voided.
                iat_max, until = self.revoked.get((tenant, sub), (0, 0))
                self.revoked[tenant, sub] = (max(iat_max, iat_max_s), max(until, until_s))
            case RevokeJti(tenant, jti, until_s):
                self.revoked_jti[tenant, jti] = max(until_s, self.revoked_jti.get((tenant, jti), 0))
            case Floor(tenant, sub, generation):
                self.floors[tenant, sub] = max(generation, self.floors.get((tenant, sub), 0))
            case Limit(tenant, key, rate, burst):
                self.limits[tenant, key] = (rate, burst)
            case Kick() | Member():
                pass

    def apply_all(self, entries: Iterable[Entry]) -> GateState:
        """Take several entries in, in order; returns itself."""
        for entry in entries:
            self.apply(entry)
        return self

    def entries(self, now_s: int = 0) -> Iterator[Entry]:
        """The shortest log that leads to this state, without what may be forgotten at `now_s` (Unix seconds).

        Rooms come before the mutes in them; the order is otherwise fixed, so that equal states give equal logs.
        """
        for tenant, room in sorted(self.open_rooms):
            yield Open(tenant, room)
        for (tenant, sub), room in sorted(self.assigned.items()):
            yield Assign(tenant, sub, room)
        for tenant, room in sorted(self.all_muted):
            yield MuteAll(tenant, room)
        for tenant, room, sub in sorted(self.muted):
            yield Mute(tenant, room, sub)
        for (tenant, sub), (iat_max_s, until_s) in sorted(self.revoked.items()):
            if until_s >= now_s:
                yield Revoke(tenant, sub, iat_max_s, until_s)
        for (tenant, jti), until_s in sorted(self.revoked_jti.items()):
            if until_s >= now_s:
                yield RevokeJti(tenant, jti, until_s)
        for (tenant, sub), generation in sorted(self.floors.items()):
            yield Floor(tenant, sub, generation)
        for (tenant, key), (rate, burst) in sorted(self.limits.items()):
            yield Limit(tenant, key, rate, burst)


@dataclass(frozen=True, slots=True)
class ReadLog:
    """A log file as read: its id, the last sequence number, the state that its entries add up to."""

    file_id: str
    last_seq: int
    state: GateState


def read_log(data: bytes) -> ReadLog:
    """Read a whole log file. An incomplete last line is left for later.

    Anything else that is wrong raises GateLogError, with the entry's number.
    """
    whole, newline, _tail = data.rpartition(b"\n")
    if not newline:
        raise GateLogError("line 1: not a gate log: there is no complete first line")
    try:
        lines = whole.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise GateLogError(f"not plain ASCII at byte {error.start}") from None
    file_id = parse_header(lines[0])
    state = GateState()
    for seq, line in enumerate(lines[1:], start=1):
        state.apply(parse_line(line, seq))
    return ReadLog(file_id, len(lines) - 1, state)
