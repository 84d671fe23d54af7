"""The life of a room: every event in every state, by the doors that there are, and a crash at every point."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from bandroom.auth.keys import KeyRing
from bandroom.rooms import admin, life, schools, upkeep
from bandroom.rooms.control import Refused
from bandroom.rooms.effects import Clear, Effect, Publish, TellGate
from bandroom.rooms.life import REST_S, TABLE, Event, move
from bandroom.store import RoomState
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Presence, Tempo
from bandroom.wire.tempo import from_message
from bandroom.wire.topics import SHAPES

from .conftest import LINCOLN, MUSIC, Plane

OPEN, LOCKED, CLOSED = RoomState.OPEN, RoomState.LOCKED, RoomState.CLOSED
STATES = (None, OPEN, LOCKED, CLOSED)
DRUM = Subject("d-drum-3")
ROOM_TOPICS = "tenant/lincoln/music_room/MUSIC-1234/"

# Where each event leads from each state; "-": it does not happen there. Written out, not read from the table.
LEADS = """
             absent  open    locked  closed
create       open    -       -       -
lock         -       locked  locked  -
unlock       -       open    open    -
close        -       closed  closed  closed
reopen       -       open    locked  open
idle         -       closed  closed  -
rested       -       -       -       absent
tenant_ends  -       -       -       absent
"""


def leads() -> dict[tuple[RoomState | None, Event], str]:
    """The table above, read."""
    head, *lines = [line.split() for line in LEADS.strip().splitlines()]
    states = {"absent": None, **{state.value: state for state in RoomState}}
    return {
        (states[name], Event[line[0].upper()]): target
        for line in lines
        for name, target in zip(head, line[1:], strict=True)
    }


ALL = list(itertools.product(STATES, Event))


def bring(plane: Plane, state: RoomState | None) -> None:
    """The room in that state, with a pupil who is there, a device and a mute; without a room, the tenant alone."""
    admin.enroll_device(plane.control, LINCOLN, DRUM, "Drum")
    if state is None:
        return
    plane.create(start=True)
    ann = plane.join(nickname="Ann").member.sub
    assert plane.do("mute", who="Ann").ok
    assert plane.do("assign_device", device=str(DRUM)).ok
    for sub in (ann, DRUM):
        plane.control.hear(LINCOLN, sub, Presence("ready"))
    if state is not OPEN:
        assert plane.do("lock" if state is LOCKED else "close").ok


class Broker:
    """What the broker retains, by what it was told."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}

    def take(self, effect: Effect) -> None:
        match effect:
            case Publish(topic, message) if SHAPES[topic.leaf].retain:
                self.retained[topic.name] = message.encode()
            case Clear(topic):
                self.retained.pop(topic.name, None)
            case _:
                pass

    @property
    def of_room(self) -> set[str]:
        return {name.removeprefix(ROOM_TOPICS) for name in self.retained if name.startswith(ROOM_TOPICS)}


def state_of(plane: Plane) -> RoomState | None:
    row = plane.store.for_tenant(LINCOLN).room(MUSIC)
    return None if row is None else row.state


def agree(plane: Plane, broker: Broker) -> None:
    """Store, gate and broker say the same of the room: it is there with all that it has, or not at all."""
    state, gate = state_of(plane), plane.gate_state()
    is_open = state in (OPEN, LOCKED)
    assert ((LINCOLN, MUSIC) in gate.open_rooms) == is_open
    topics = broker.of_room
    assert {"tempo", "room"} <= topics if is_open else topics == set()
    rows = plane.store.for_tenant(LINCOLN)
    device = rows.device(DRUM)
    assigned = None if device is None else device.room
    assert gate.assigned.get((LINCOLN, DRUM)) == assigned
    if state is None:
        assert assigned is None
        assert rows.members(MUSIC) == []
    elif is_open:
        row = plane.room()
        assert broker.retained[f"{ROOM_TOPICS}tempo"] == row.tempo.encode()
        assert f'"state":"{state}"'.encode() in broker.retained[f"{ROOM_TOPICS}room"]
    else:
        tempo = from_message(Tempo.decode(plane.room().tempo.encode()))
        assert tempo.next_beat(plane.clock.now_us()) is None


def test_the_table_is_what_is_written_here() -> None:
    """All states and events, no row more and none less."""
    wanted = leads()
    assert set(wanted) == set(ALL)
    for key, target in wanted.items():
        found = TABLE.get(key)
        shown = "-" if found is None else "absent" if found.state is None else found.state.value
        assert shown == target, key


@pytest.mark.parametrize(("state", "event"), ALL)
def test_every_event_in_every_state(plane: Plane, state: RoomState | None, event: Event) -> None:
    """By ``move`` itself: it leads where the table says, or is refused and leaves everything as it was."""
    broker = Broker()
    bring(plane, state)
    for effect in plane.drain():
        broker.take(effect)
    agree(plane, broker)
    row = plane.store.for_tenant(LINCOLN).room(MUSIC)
    before = list(plane.store.connection.raw.iterdump())
    target = leads()[state, event]
    if row is None:
        # As it would be made: taken from a room that was there for a moment.
        row = plane.create()
        with plane.control.change():
            plane.store.for_tenant(LINCOLN).delete_room(MUSIC)
        plane.control.compact_gate()
        plane.drain()
        before = list(plane.store.connection.raw.iterdump())
    if target == "-":
        with pytest.raises(Refused), plane.control.change() as change:
            move(plane.control, change, row, event)
        assert list(plane.store.connection.raw.iterdump()) == before
        assert plane.drain() == []
    else:
        with plane.control.change() as change:
            move(plane.control, change, row, event)
        for effect in plane.drain():
            broker.take(effect)
        found = state_of(plane)
        assert ("absent" if found is None else found.value) == target
    agree(plane, broker)


def by_command(name: str) -> Callable[[Plane], None]:
    return lambda plane: assert_answered(plane, name)


def assert_answered(plane: Plane, name: str) -> None:
    reply = plane.do(name)
    assert reply.ok or (reply.err in ("closed", "not_found") and reply.text), reply


def by_creating(plane: Plane) -> None:
    if state_of(plane) is None:
        plane.create()
    else:
        with pytest.raises(Refused, match="in use"):
            plane.create()


def by_waiting_an_hour(plane: Plane) -> None:
    for row in plane.store.all_rooms():
        for member in plane.store.for_tenant(LINCOLN).members(row.room):
            plane.control.hear(LINCOLN, member.sub, Presence("disconnected"))
    plane.control.hear(LINCOLN, DRUM, Presence("disconnected"))
    for _ in range(0, 3700, 5):
        plane.advance(5)
        upkeep.each_second(plane.control)
        upkeep.every_few_seconds(plane.control)


def by_waiting_a_day(plane: Plane) -> None:
    plane.advance(REST_S)
    with plane.control.change() as change:
        upkeep.forget_rested(plane.control, change)


def by_deleting_the_tenant(plane: Plane) -> None:
    schools.delete_tenant(plane.control, LINCOLN)


DOORS: dict[Event, Callable[[Plane], None]] = {
    **{event: by_command(event.value) for event in life.COMMANDS},
    Event.CREATE: by_creating,
    Event.IDLE: by_waiting_an_hour,
    Event.RESTED: by_waiting_a_day,
    Event.TENANT_ENDS: by_deleting_the_tenant,
}


@pytest.mark.parametrize(("state", "event"), ALL)
def test_every_event_by_its_own_door(plane: Plane, state: RoomState | None, event: Event) -> None:
    """By command, by creating, by an hour of nobody, by a day of rest, by the end of the tenant: the same table.

    What the table knows nothing of does nothing; a tenant's open rooms are closed before they end with it.
    """
    broker = Broker()
    bring(plane, state)
    DOORS[event](plane)
    for effect in plane.drain():
        broker.take(effect)
    target = leads()[state, event]
    if event is Event.TENANT_ENDS:
        target = "absent"
    wanted = state if target == "-" else None if target == "absent" else RoomState(target)
    assert state_of(plane) is wanted
    agree(plane, broker)


def test_a_closing_that_a_reopening_overtook_closes_nothing(music: Plane) -> None:
    """The broker was slow: what was to be told to the gate after the goodbyes comes when the room is open again."""
    assert music.do("mute", who=None).ok
    assert music.do("close").ok
    assert music.do("reopen").ok
    music.drain()
    assert music.gate_state().open_rooms == {(LINCOLN, MUSIC)}
    assert music.gate_state().all_muted == {(LINCOLN, MUSIC)}
    assert music.do("close").ok
    music.drain()
    assert music.gate_state().open_rooms == set()


class Crash(Exception):
    """The process ends here."""


CHANGES: list[tuple[RoomState, Event]] = [
    (OPEN, Event.CLOSE),
    (LOCKED, Event.CLOSE),
    (OPEN, Event.IDLE),
    (CLOSED, Event.REOPEN),
    (CLOSED, Event.RESTED),
]


def change_and_crash(plane: Plane, event: Event, point: int) -> list[Effect]:
    """Let ``event`` happen and die: at -2 before the commit, at -1 before the gate's log has it, at n after n effects.

    What went out before.
    """
    append = plane.gate.append

    def dying(_: object) -> None:
        raise Crash

    try:
        with plane.control.change() as change:
            move(plane.control, change, plane.room(), event)
            if point == -2:
                raise Crash
            if point == -1:
                plane.gate.append = dying  # type: ignore[method-assign]
    except Crash:
        plane.effects.clear()
        return []
    finally:
        plane.gate.append = append  # type: ignore[method-assign]
    out, plane.effects = plane.effects[:point], []
    for effect in out:
        if isinstance(effect, TellGate):
            plane.control.tell_gate(effect)
    return out


def come_back(plane: Plane, broker: Broker) -> None:
    """A restart, what the service publishes when it connects, who says then that it is there, and a minute."""
    present = [member.sub for member in plane.store.for_tenant(LINCOLN).members(MUSIC)] + [DRUM]
    plane.restart()
    plane.control.emit(plane.control.retained())
    for name in sorted(name for name in broker.of_room if name.startswith("member/")):
        plane.control.roster.stray(LINCOLN, MUSIC, Subject(name.removeprefix("member/")), plane.clock.now_us())
    for sub in present:
        plane.control.hear(LINCOLN, sub, Presence("ready"))
    plane.advance(61)
    plane.control.emit(plane.control.roster.tick(plane.clock.now_us()))
    for effect in plane.drain():
        broker.take(effect)


@pytest.mark.parametrize(("state", "event"), CHANGES)
def test_a_crash_at_any_point_leaves_nothing_half_done(
    tmp_path: Path, keys: KeyRing, state: RoomState, event: Event
) -> None:
    """Before the commit, before the gate's log has it, before each single thing that is to go out: after a restart
    store, gate and broker agree, on the state before if it was not committed, and else on the one after.
    """
    after = {"absent": None, **{each.value: each for each in RoomState}}[leads()[state, event]]
    point, went_out = -2, -1
    while point <= went_out + 1:
        folder = tmp_path / f"point{point}"
        folder.mkdir()
        plane, broker = Plane(folder, keys), Broker()
        admin.create_tenant(plane.control, LINCOLN, None)
        bring(plane, state)
        for effect in plane.drain():
            broker.take(effect)
        out = change_and_crash(plane, event, point)
        for effect in out:
            broker.take(effect)
        come_back(plane, broker)
        assert state_of(plane) is (state if point == -2 else after), f"crash at {point}"
        agree(plane, broker)
        plane.close()
        went_out, point = max(went_out, len(out)), point + 1
    assert went_out >= 1, "nothing went out: this drill drills nothing"


def test_a_crash_while_a_tenant_is_deleted_leaves_nothing_of_its_rooms(plane: Plane) -> None:
    """Its rooms are closed first, in a change of its own: killed after that it is deleted the next time; killed after
    the deletion, before anything more went out, nothing of its rooms is in the broker.
    """
    broker = Broker()
    bring(plane, OPEN)
    schools.close_all(plane.control, LINCOLN)
    for effect in plane.drain():
        broker.take(effect)
    plane.restart()
    assert state_of(plane) is CLOSED
    agree(plane, broker)
    schools.close_all(plane.control, LINCOLN)
    schools.delete_tenant(plane.control, LINCOLN)
    plane.effects.clear()
    plane.restart()
    plane.control.emit(plane.control.retained())
    for effect in plane.drain():
        broker.take(effect)
    assert broker.of_room == set()
    assert plane.store.tenant(LINCOLN) is None
    state = plane.gate_state()
    assert (state.open_rooms, state.assigned) == (set(), {})
