"""Who is in: what clients say of their connections, made into one retained ``member`` topic each.

Presence is one retained topic a subject; its digit tells the subject's connections apart and the newest ``ready``
counts, so that the loss of an old connection does not put out who has come back on another. Whoever is gone for a
minute is cleared. A Will that never comes is made up for twice: after a loss of the broker everybody has to say that
they are there, and who tells of its clock, and so speaks every 30 s (PRES-5), is lost when it falls silent. Boards that
never speak twice are judged by their Will alone. Pure but for the look-up of places; time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bandroom.rooms.effects import Clear, Effect, Publish
from bandroom.wire.ids import RoomId, Subject, TenantId
from bandroom.wire.instruments import Instrument
from bandroom.wire.messages import Member, Presence
from bandroom.wire.topics import Room, presence

GONE_US = 60_000_000
"""How long someone who is gone stays on the roster (µs)."""
UNHEARD_US = 60_000_000
"""How long someone who was there before a loss of the broker has to say so again (µs)."""
SILENT_US = 75_000_000
"""Who has told of its clock speaks at least every 30 s; silent for so long (µs), it is lost."""
STALL_US = 5_000_000
"""A gap between two ticks that is wider (µs) was ours, or the machine's: nobody could be heard meanwhile."""


class Place(NamedTuple):
    """Where a subject is, and how the roster shows it. ``instrument``: what is on record, unless it says otherwise."""

    room: RoomId
    name: str
    kind: Literal["student", "device", "viewer"]
    instrument: Instrument | None = None


class Present(NamedTuple):
    """A line of the roster."""

    sub: Subject
    member: Member


@dataclass(slots=True)
class _Entry:
    digit: int
    state: Literal["ready", "disconnected", "lost"]
    since_us: int
    gone_us: int | None = None
    unheard_us: int | None = None
    error_us: int | None = None
    instrument: Instrument | None = None
    heard_us: int = 0
    shown: tuple[RoomId, Member] | None = None
    used: RoomId | None = None
    """The room that it keeps in use. A screen is nobody: one that is left on must not keep a room open."""


class Roster:
    """All subjects of all tenants whose connections are known. ``where`` says what room a subject is in, if any."""

    def __init__(self, where: Callable[[TenantId, Subject], Place | None]) -> None:
        self._where = where
        self._entries: dict[tuple[TenantId, Subject], _Entry] = {}
        self._strays: dict[tuple[TenantId, RoomId, Subject], int] = {}
        self._ticked_us: int | None = None
        self.left: set[tuple[TenantId, RoomId]] = set()
        """The rooms that somebody has left since whoever notes it took them out of here."""

    def hear(self, tenant: TenantId, sub: Subject, said: Presence | None, now_us: int) -> Iterator[Effect]:
        """What a client's presence, or its being cleared (None), changes."""
        entry = self._entries.get((tenant, sub))
        if said is None:
            if entry is not None and entry.gone_us is None:
                entry.state, entry.gone_us = "disconnected", now_us
                yield from self.refresh(tenant, sub)
            return
        if said.state == "ready":
            if entry is None:
                entry = self._entries[tenant, sub] = _Entry(said.digit, "ready", now_us)
            entry.digit, entry.state, entry.gone_us, entry.unheard_us = said.digit, "ready", None, None
            entry.error_us, entry.instrument, entry.heard_us = said.error_us, said.instrument, now_us
        elif entry is None:
            # Gone before we began to listen: shown for its minute, so that nobody vanishes unseen.
            self._entries[tenant, sub] = _Entry(said.digit, said.state, now_us, gone_us=now_us)
            place = self._where(tenant, sub)
            if place is not None and place.kind != "viewer":
                self.left.add((tenant, place.room))
        elif said.digit == entry.digit:
            entry.state, entry.unheard_us = said.state, None
            entry.gone_us = entry.gone_us or now_us
        elif entry.state == "ready":
            # An older connection ended: the retained topic must tell of the one that is there.
            here = Presence("ready", entry.digit, entry.error_us, entry.instrument)
            yield Publish(presence(tenant, sub), here)
            return
        yield from self.refresh(tenant, sub)

    def refresh(self, tenant: TenantId, sub: Subject) -> Iterator[Effect]:
        """Show a subject as it is now: after it moved, was renamed, or its room was closed."""
        entry = self._entries.get((tenant, sub))
        if entry is None:
            return
        place = self._where(tenant, sub)
        before, entry.shown = entry.shown, None
        used, entry.used = entry.used, None
        if place is not None:
            error_us = entry.error_us if entry.state == "ready" else None
            member = Member(
                name=place.name,
                kind=place.kind,
                state=entry.state,
                since=entry.since_us,
                err=None if error_us is None else error_us / 1000,
                instrument=entry.instrument or place.instrument,
            )
            entry.shown = (place.room, member)
            entry.used = place.room if entry.gone_us is None and place.kind != "viewer" else None
        if used is not None and entry.used != used:
            self.left.add((tenant, used))
        if before is not None and (entry.shown is None or entry.shown[0] != before[0]):
            yield Clear(Room(tenant, before[0]).member(sub))
        if entry.shown is not None and entry.shown != before:
            yield Publish(Room(tenant, entry.shown[0]).member(sub), entry.shown[1])

    def forget(self, tenant: TenantId, sub: Subject) -> Iterator[Effect]:
        """Take a subject off the roster at once."""
        entry = self._entries.pop((tenant, sub), None)
        if entry is None:
            return
        if entry.used is not None:
            self.left.add((tenant, entry.used))
        if entry.shown is not None:
            yield Clear(Room(tenant, entry.shown[0]).member(sub))
        yield Clear(presence(tenant, sub))

    def tick(self, now_us: int) -> Iterator[Effect]:
        """What the passing of time changes: the gone are cleared, the unheard and the silent become lost.

        Call it about once a second: what was missed in a longer gap is not held against anybody.
        """
        since_us = 0 if self._ticked_us is None else now_us - self._ticked_us
        self._ticked_us = now_us
        for (tenant, sub), entry in list(self._entries.items()):
            if entry.gone_us is not None and now_us - entry.gone_us >= GONE_US:
                yield from self.forget(tenant, sub)
            elif entry.unheard_us is not None and now_us - entry.unheard_us >= UNHEARD_US:
                yield from self._lose(tenant, sub, entry, now_us)
            elif entry.error_us is not None and entry.gone_us is None and entry.unheard_us is None:
                if since_us > STALL_US:
                    entry.heard_us += since_us
                if now_us - entry.heard_us >= SILENT_US:
                    yield from self._lose(tenant, sub, entry, now_us)
        for (tenant, room, sub), seen_us in list(self._strays.items()):
            if now_us - seen_us >= GONE_US:
                del self._strays[tenant, room, sub]
                if not self._is_shown(tenant, room, sub):
                    yield Clear(Room(tenant, room).member(sub))

    def _lose(self, tenant: TenantId, sub: Subject, entry: _Entry, now_us: int) -> Iterator[Effect]:
        entry.state, entry.gone_us, entry.unheard_us = "lost", now_us, None
        yield from self.refresh(tenant, sub)

    def stray(self, tenant: TenantId, room: RoomId, sub: Subject, now_us: int) -> None:
        """A retained ``member`` topic was found: cleared later, unless its subject turns up there."""
        if not self._is_shown(tenant, room, sub):
            self._strays[tenant, room, sub] = now_us

    def broker_lost(self, now_us: int) -> None:
        """The connection to the broker is gone: whoever does not say again that it is there, is not."""
        for entry in self._entries.values():
            if entry.gone_us is None and entry.unheard_us is None:
                entry.unheard_us = now_us

    def republish(self) -> Iterator[Effect]:
        """Every line of the roster, for a broker that has forgotten them."""
        for (tenant, sub), entry in self._entries.items():
            if entry.shown is not None:
                yield Publish(Room(tenant, entry.shown[0]).member(sub), entry.shown[1])

    @property
    def size(self) -> int:
        """How many subjects are known, those in no room included."""
        return len(self._entries)

    def worst_errors_ms(self, tenant: TenantId) -> dict[RoomId, float]:
        """For each room where somebody has told of its clock: by how much the worst one there may be off, in ms."""
        worst: dict[RoomId, float] = {}
        for (whose, _), entry in self._entries.items():
            if whose == tenant and entry.shown is not None and entry.shown[1].err is not None:
                room, member = entry.shown
                worst[room] = max(worst.get(room, 0.0), member.err or 0.0)
        return worst

    def present(self, tenant: TenantId, room: RoomId) -> list[Present]:
        """Who is shown in a room, in order of coming."""
        found = [
            Present(sub, entry.shown[1])
            for (whose, sub), entry in self._entries.items()
            if whose == tenant and entry.shown is not None and entry.shown[0] == room
        ]
        return sorted(found, key=lambda line: (line.member.since, line.sub))

    def subjects(self, tenant: TenantId, room: RoomId) -> list[Subject]:
        """The subjects that are shown in a room."""
        return [line.sub for line in self.present(tenant, room)]

    def of_tenant(self, tenant: TenantId) -> list[Subject]:
        """All subjects of a tenant whose connections are known, those in no room included."""
        return [sub for whose, sub in self._entries if whose == tenant]

    def occupied(self) -> set[tuple[TenantId, RoomId]]:
        """The rooms in which somebody is ready."""
        return {(tenant, entry.used) for (tenant, _), entry in self._entries.items() if entry.used is not None}

    def _is_shown(self, tenant: TenantId, room: RoomId, sub: Subject) -> bool:
        entry = self._entries.get((tenant, sub))
        return entry is not None and entry.shown is not None and entry.shown[0] == room
