"""The life of a room as one table: what may happen to it in which state, where that leads, and what is done.

Every change of a room's state goes through ``move``, whoever asks for it: a command, the passing of time, or the end of
its tenant. A room that is not there (not yet made, or deleted) has the state None. A closed room rests: it keeps id
and code for a day, may be reopened, and is deleted afterwards. What stands in no row of the table does not happen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from bandroom.music import edits
from bandroom.music.edits import EditError
from bandroom.rooms.control import Change, Control, Refused
from bandroom.rooms.effects import Clear, Publish, TellGate
from bandroom.store import RoomRow, RoomState
from bandroom.wire import gate_log as g
from bandroom.wire import tempo as wire_tempo
from bandroom.wire.commands import ErrorCode
from bandroom.wire.ids import TenantId
from bandroom.wire.messages import Assignment, Tempo
from bandroom.wire.topics import Room, assignment

REST_S = 24 * 3600
"""How long a closed room, and a replaced code, rests (s)."""

FORGET_PUPILS = "forget_pupils_s"
"""A tenant's setting: seconds from a room's closing until its pupils are forgotten; REST_S at most, and by default."""


class Event(StrEnum):
    """What can happen to a room's state; the first five by a command of that name."""

    LOCK = "lock"
    UNLOCK = "unlock"
    CLOSE = "close"
    REOPEN = "reopen"
    CREATE = "create"
    IDLE = "idle"
    """Nobody was there for too long, and who might have come was warned."""
    RESTED = "rested"
    """A day has passed since it was closed."""
    TENANT_ENDS = "tenant ends"
    """Its tenant is deleted, and it with it. A room is closed before."""


COMMANDS = frozenset((Event.LOCK, Event.UNLOCK, Event.CLOSE, Event.REOPEN))


class Step(NamedTuple):
    """Where an event leads, and what is done; the state that was there already: nothing is."""

    state: RoomState | None
    act: Callable[[Control, Change, RoomRow], RoomRow]


def _create(control: Control, change: Change, room: RoomRow) -> RoomRow:
    check_room_limit(control, room.tenant)
    control.store.for_tenant(room.tenant).put_room(room)
    change.gate.append(g.Open(room.tenant, room.room))
    topics = Room(room.tenant, room.room)
    change.effects.append(Publish(topics.tempo(), Tempo.decode(room.tempo.encode())))
    change.effects.append(Publish(topics.info(), control.info_message(room)))
    return room


def _lock(control: Control, change: Change, room: RoomRow) -> RoomRow:
    return control.put_info(change, replace(room, state=RoomState.LOCKED))


def _unlock(control: Control, change: Change, room: RoomRow) -> RoomRow:
    return control.put_info(change, replace(room, state=RoomState.OPEN))


def _close(control: Control, change: Change, room: RoomRow) -> RoomRow:
    """Its map stands still, its topics are cleared, its members' rights end."""
    now_us, now_s = control.now_us(), control.now_s()
    tempo_map = wire_tempo.from_message(Tempo.decode(room.tempo.encode()))
    rev = control.next_rev(room.tempo_rev)
    try:
        still = edits.stop(tempo_map, rev, now_us, "now").map
    except EditError:
        still = tempo_map  # it could not be stopped where it was; reopening begins with what it is
    stopped = wire_tempo.to_message(replace(still, rev=rev))
    room = replace(
        room,
        state=RoomState.CLOSED,
        closed_at=now_s,
        rests_until=now_s + REST_S,
        tempo=stopped.encode().decode(),
        tempo_rev=rev,
    )
    control.closing.pop((room.tenant, room.room), None)
    topics = Room(room.tenant, room.room)
    # Members are told while they may still hear; then the gate takes their rights, then nothing is retained.
    change.effects.append(Publish(topics.tempo(), stopped))
    room = control.put_info(change, room)
    change.effects.append(TellGate((g.Close(room.tenant, room.room),)))
    change.effects += [Clear(topics.tempo()), Clear(topics.info())]
    _move_all(control, change, room)
    return room


def _reopen(control: Control, change: Change, room: RoomRow) -> RoomRow:
    """It stands still, with the members, mutes and code that it had."""
    check_room_limit(control, room.tenant)
    rows = control.tenant(room.tenant)
    tempo = Tempo.decode(room.tempo.encode())
    tempo = tempo.model_copy(update={"rev": control.next_rev(room.tempo_rev)})
    room = replace(
        room,
        state=RoomState.OPEN,
        closed_at=None,
        rests_until=None,
        tempo=tempo.encode().decode(),
        tempo_rev=tempo.rev,
    )
    change.gate.append(g.Open(room.tenant, room.room))
    change.gate += [g.MuteAll(room.tenant, room.room)] if room.all_muted else []
    change.gate += [g.Mute(room.tenant, room.room, sub) for sub in rows.mutes(room.room)]
    change.effects.append(Publish(Room(room.tenant, room.room).tempo(), tempo))
    room = control.put_info(change, room)
    _move_all(control, change, room)
    return room


def _free(control: Control, change: Change, room: RoomRow) -> RoomRow:
    """It is deleted with all that it holds; its id and code are free, and so are its devices."""
    rows = control.store.for_tenant(room.tenant)
    for device in rows.devices_in(room.room):
        change.gate.append(g.Assign(room.tenant, device.sub, None))
        change.effects.append(Publish(assignment(room.tenant, device.sub), Assignment(None)))
        change.moved.append((room.tenant, device.sub))
    rows.delete_room(room.room)
    return room


def _end_with_tenant(control: Control, change: Change, room: RoomRow) -> RoomRow:
    """It is deleted, after its members have heard that it was closed."""
    topics, rows = Room(room.tenant, room.room), control.store.for_tenant(room.tenant)
    change.effects.append(TellGate(tuple(g.Assign(room.tenant, d.sub, None) for d in rows.devices_in(room.room))))
    change.effects += [Clear(topics.tempo()), Clear(topics.info())]
    rows.delete_room(room.room)
    return room


_OPEN, _LOCKED, _CLOSED = RoomState.OPEN, RoomState.LOCKED, RoomState.CLOSED

TABLE: dict[tuple[RoomState | None, Event], Step] = {
    (None, Event.CREATE): Step(_OPEN, _create),
    (_OPEN, Event.LOCK): Step(_LOCKED, _lock),
    (_OPEN, Event.UNLOCK): Step(_OPEN, _unlock),
    (_OPEN, Event.REOPEN): Step(_OPEN, _reopen),
    (_OPEN, Event.CLOSE): Step(_CLOSED, _close),
    (_OPEN, Event.IDLE): Step(_CLOSED, _close),
    (_LOCKED, Event.LOCK): Step(_LOCKED, _lock),
    (_LOCKED, Event.UNLOCK): Step(_OPEN, _unlock),
    (_LOCKED, Event.REOPEN): Step(_LOCKED, _reopen),
    (_LOCKED, Event.CLOSE): Step(_CLOSED, _close),
    (_LOCKED, Event.IDLE): Step(_CLOSED, _close),
    (_CLOSED, Event.CLOSE): Step(_CLOSED, _close),
    (_CLOSED, Event.REOPEN): Step(_OPEN, _reopen),
    (_CLOSED, Event.RESTED): Step(None, _free),
    (_CLOSED, Event.TENANT_ENDS): Step(None, _end_with_tenant),
}


def move(control: Control, change: Change, room: RoomRow, event: Event) -> RoomRow:
    """Let ``event`` happen to a room, inside a change; the room as it is then, or as it last was.

    ``room`` is the room as it is; for ``CREATE`` as it is to be. Raises ``Refused`` where there is no such step.
    """
    there = control.store.for_tenant(room.tenant).room(room.room)
    state = None if there is None else there.state
    step = TABLE.get((state, event))
    if step is None:
        raise Refused(*_refusal(state, event))
    return room if step.state is state else step.act(control, change, room)


def refusal(state: RoomState, command: str) -> tuple[ErrorCode, str] | None:
    """Why a command cannot be done in ``state``, or None if it can. Those that change no state need an open room."""
    if command in COMMANDS:
        event = Event(command)
        return None if (state, event) in TABLE else _refusal(state, event)
    return _refusal(state, Event.LOCK) if state is _CLOSED else None


def _refusal(state: RoomState | None, event: Event) -> tuple[ErrorCode, str]:
    if state is None:
        return "not_found", "there is no such room"
    if event is Event.CREATE:
        return "conflict", "there is a room of this id already, or it rests: choose another"
    if state is _CLOSED:
        return "closed", "the room is closed: reopen it first"
    return "conflict", f"the room is {state}: {event} is for closed rooms"


def check_room_limit(control: Control, tenant: TenantId) -> None:
    """Raise ``Refused`` if the tenant may open no further room."""
    row = control.store.tenant(tenant)
    limit = control.limits.max_rooms if row is None or row.max_rooms is None else row.max_rooms
    if control.store.for_tenant(tenant).open_rooms() >= limit:
        raise Refused("limit", f"open rooms of {tenant}: {limit}, as many as it may have; close one first")


def _move_all(control: Control, change: Change, room: RoomRow) -> None:
    """The lines of all that it has may read otherwise now."""
    rows = control.store.for_tenant(room.tenant)
    members = [member.sub for member in rows.members(room.room)]
    devices = [device.sub for device in rows.devices_in(room.room)]
    change.moved += [(room.tenant, sub) for sub in (*members, *devices)]
