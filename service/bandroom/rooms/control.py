"""What all of the control plane works with: the store, the gate log, the clock, the roster, and how a change is made.

Everything here is synchronous and belongs to one thread, the writer's; ``service`` carries calls in and effects out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from bandroom.auth.keys import KeyRing
from bandroom.auth.owner import Owner
from bandroom.auth.tokens import Claims
from bandroom.clock import Clock
from bandroom.rooms.effects import Clear, Effect, Publish, TellGate
from bandroom.rooms.gate_log import GateLog, GateLogFailed, entries_of
from bandroom.rooms.roster import Place, Roster
from bandroom.store import RoomRow, RoomState, Store, TenantStore, Unavailable
from bandroom.wire.commands import ErrorCode, Reply
from bandroom.wire.gate_log import Close, Entry
from bandroom.wire.ids import JoinCode, Role, RoomId, Subject, TenantId
from bandroom.wire.messages import Assignment, Presence, RoomInfo, Tempo
from bandroom.wire.topics import Room, assignment, presence

US_PER_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher, vouched for by a verified token, or by the gate for whoever published to ``control/<sub>``."""

    tenant: TenantId
    sub: Subject


Actor = Owner | Teacher
"""Who gives a command."""


def teacher_of(claims: Claims) -> Teacher:
    """The teacher that a token speaks of. Raises ``Refused`` for other roles."""
    if claims.role is not Role.TEACHER:
        raise Refused("forbidden", f"a {claims.role} cannot do this: it takes a teacher or the machine's owner")
    return Teacher(claims.tenant, claims.sub)


def done(
    command_id: str, rev: int | None, n: int | None = None, t: int | None = None, code: str | None = None
) -> Reply:
    """The reply to a command that was done: what took effect, and when."""
    return Reply(id=command_id, ok=True, rev=rev, n=n, t=t, code=code, err=None, text=None)


def not_done(command_id: str | None, err: ErrorCode, text: str) -> Reply:
    """The reply to a command that was not done."""
    return Reply(id=command_id, ok=False, rev=None, n=None, t=None, code=None, err=err, text=text[:500])


class Refused(Exception):
    """What was asked cannot be done: ``code`` is one of the protocol's, ``text`` says why and what to do."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code: ErrorCode = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Limits:
    """What the service's settings say of rooms. Times in seconds."""

    max_rooms: int = 100
    default_bpm: float = 120
    default_meter: str = "4/4"
    idle_close_s: int = 3600
    token_ttl_s: int = 12 * 3600


@dataclass(slots=True)
class Change:
    """What a transaction wants done once it is durable: lines for the gate first, then the rest in order."""

    gate: list[Entry] = field(default_factory=list[Entry])
    effects: list[Effect] = field(default_factory=list[Effect])
    moved: list[tuple[TenantId, Subject]] = field(default_factory=list[tuple[TenantId, Subject]])
    """Subjects whose line on the roster may read otherwise now."""
    gone: list[tuple[TenantId, Subject]] = field(default_factory=list[tuple[TenantId, Subject]])
    """Subjects to be taken off the roster."""


class Control:
    """The control plane's state. ``emit`` takes the effects of each change, in order."""

    def __init__(
        self,
        store: Store,
        gate: GateLog,
        keys: KeyRing,
        clock: Clock,
        limits: Limits,
        emit: Callable[[Iterable[Effect]], None],
        wall_s: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        self.store = store
        self.gate = gate
        self.keys = keys
        self.clock = clock
        self.limits = limits
        self.wall_s = wall_s
        self.roster = Roster(self.where)
        self.closing: dict[tuple[TenantId, RoomId], int] = {}
        """The rooms whose members were warned, and the server time (s) at which they close."""
        self.noted: dict[tuple[TenantId, RoomId], int] = {}
        """The rooms with somebody in them, and the server time (s) at which that was put on record last."""
        self._emit = emit

    # -- time

    def now_us(self) -> int:
        """Server time in µs."""
        return self.clock.now_us()

    def now_s(self) -> int:
        """Server time in whole seconds: for what rests or idles. Tokens go by ``wall_s``."""
        return self.clock.now_us() // US_PER_SECOND

    def used_s(self) -> int:
        """Server time for what was used now: in whole seconds, rounded up, so that its hour is not over too early."""
        return -(-self.clock.now_us() // US_PER_SECOND)

    def next_rev(self, last: int) -> int:
        """The revision after ``last``: rises through stop, close, reopen and the restoring of a backup."""
        return max(last + 1, self.now_s())

    # -- changes

    @contextmanager
    def change(self) -> Generator[Change]:
        """A transaction; when it is durable, the gate is told and the effects go out.

        Raises ``Unavailable`` if the store took it and the gate's log did not: it is mended by ``mend_gate``.
        """
        change = Change()
        with self.store.transaction():
            yield change
        try:
            self.gate.append(change.gate)
        except GateLogFailed as error:
            raise Unavailable(f"recorded, but not yet in force at the broker: {error}") from error
        finally:
            # Only now: the roster must never show what was rolled back.
            for tenant, sub in change.moved:
                change.effects += self.roster.refresh(tenant, sub)
            for tenant, sub in change.gone:
                change.effects += self.roster.forget(tenant, sub)
            self._emit(change.effects)

    def emit(self, effects: Iterable[Effect]) -> None:
        """Let effects go out that need nothing durable: the roster's."""
        self._emit(effects)

    def tell_gate(self, told: TellGate) -> None:
        """Tell the gate what was to wait until other things had gone out. Raises ``GateLogFailed``.

        A room that was opened again meanwhile stays open there: the closing waited behind a slow broker.
        """
        self.gate.append([entry for entry in told.entries if not self._is_overtaken(entry)])
        if told.anew:
            self.compact_gate()

    def _is_overtaken(self, entry: Entry) -> bool:
        if not isinstance(entry, Close):
            return False
        room = self.store.for_tenant(entry.tenant).room(entry.room)
        return room is not None and room.is_open

    def compact_gate(self) -> None:
        """Write the gate log anew from the store. Raises ``GateLogFailed``."""
        self.gate.compact(entries_of(self.store, self.wall_s()))

    def hear(self, tenant: TenantId, sub: Subject, said: Presence | None) -> None:
        """Take in what a client says of its connection, or that its presence was cleared (None)."""
        if self.store.tenant(tenant) is None:
            # Of a tenant that was deleted: a Will that came last.
            self._emit([*self.roster.forget(tenant, sub), *([] if said is None else [Clear(presence(tenant, sub))])])
        else:
            self._emit(self.roster.hear(tenant, sub, said, self.now_us()))

    # -- finding

    def tenant(self, tenant: TenantId) -> TenantStore:
        """The rows of a tenant. Raises ``Refused`` if there is none of that id."""
        if self.store.tenant(tenant) is None:
            raise Refused("not_found", f"there is no tenant {tenant}")
        return self.store.for_tenant(tenant)

    def room(self, tenant: TenantId, room: RoomId) -> RoomRow:
        """A room by its id, or by the code that leads to it now. Raises ``Refused`` if there is none."""
        rows = self.tenant(tenant)
        found = rows.room(room)
        if found is None:
            found = rows.room_by_code(JoinCode(room))
        if found is None:
            raise Refused("not_found", f"tenant {tenant} has no room {room}")
        return found

    def where(self, tenant: TenantId, sub: Subject) -> Place | None:
        """The open room that a subject is in, for the roster."""
        rows = self.store.for_tenant(tenant)
        match sub.role:
            case Role.STUDENT | Role.VIEWER:
                member = rows.member(sub)
                if member is None or member.kicked_at is not None:
                    return None
                place = Place(member.room, member.name, "student" if sub.role is Role.STUDENT else "viewer")
            case Role.DEVICE:
                device = rows.device(sub)
                if device is None or device.revoked_at is not None or device.room is None:
                    return None
                place = Place(device.room, device.name, "device", device.instrument)
            case _:
                return None
        room = rows.room(place.room)
        return place if room is not None and room.is_open else None

    # -- what is retained

    def info_message(self, room: RoomRow) -> RoomInfo:
        """The ``room`` topic's message."""
        muted = tuple(self.store.for_tenant(room.tenant).mutes(room.room))
        closing_s = self.closing.get((room.tenant, room.room))
        # What was done in the room since the warning has put the closing off.
        is_closing = closing_s is not None and room.is_open and room.used_at + self.limits.idle_close_s <= closing_s
        return RoomInfo(
            rev=room.info_rev,
            name=room.name,
            state=room.state.value,
            muted=muted,
            all_muted=room.all_muted,
            closing_t=closing_s * US_PER_SECOND if closing_s is not None and is_closing else None,
        )

    def closes_at_s(self, room: RoomRow) -> int:
        """When an open room is closed if nobody comes or does anything before (server time)."""
        return max(room.used_at + self.limits.idle_close_s, self.closing.get((room.tenant, room.room), 0))

    def put_info(self, change: Change, room: RoomRow, *, used: bool = True) -> RoomRow:
        """Record a room whose name, state, code or mutes changed, under a new revision, and publish it.

        With ``used`` it was in use until now, or until later where somebody is there (``upkeep.note_use``).
        """
        used_at = max(room.used_at, self.used_s()) if used else room.used_at
        room = replace(room, info_rev=self.next_rev(room.info_rev), used_at=used_at)
        self.store.for_tenant(room.tenant).put_room(room)
        change.effects.append(Publish(Room(room.tenant, room.room).info(), self.info_message(room)))
        return room

    def found(self, room: Room) -> None:
        """The broker holds this room's topics: they are cleared if it is on record no more, as of a school that was
        deleted while the connection was lost.
        """
        if self.store.for_tenant(room.tenant).room(room.room) is None:
            self._emit([Clear(room.tempo()), Clear(room.info())])

    def retained(self) -> list[Effect]:
        """All that the broker should hold: published anew whenever the service connects."""
        effects: list[Effect] = []
        for room in self.store.all_rooms():
            topics = Room(room.tenant, room.room)
            if room.state is RoomState.CLOSED:
                effects += [Clear(topics.tempo()), Clear(topics.info())]
            else:
                effects.append(Publish(topics.tempo(), Tempo.decode(room.tempo.encode())))
                effects.append(Publish(topics.info(), self.info_message(room)))
        for tenant in self.store.tenants():
            for device in self.store.for_tenant(tenant.tenant).devices():
                effects.append(Publish(assignment(tenant.tenant, device.sub), Assignment(device.room)))
        # Of deleted tenants: the service may have been killed when they were off the record and still in the broker.
        effects += [Clear(assignment(void.tenant, void.sub)) for void in self.store.void_devices()]
        return [*effects, *self.roster.republish()]


def may_direct(actor: Actor, tenant: TenantId) -> bool:
    """Whether ``actor`` may command the rooms of ``tenant``: its teachers and the machine's owner."""
    return isinstance(actor, Owner) or (actor.sub.role is Role.TEACHER and actor.tenant == tenant)


def name_of(actor: Actor) -> str:
    """Under what name an actor's commands are remembered."""
    return "owner" if isinstance(actor, Owner) else str(actor.sub)
