"""What a tenant may do, and the end of one."""

import re
from pathlib import Path

import pytest
from bandroom.rooms import admin, schools, teachers, upkeep
from bandroom.rooms.control import Refused
from bandroom.rooms.effects import Clear, Publish
from bandroom.wire.gate_log import LimitKey
from bandroom.wire.ids import RoomId, Subject
from bandroom.wire.limits import DEFAULTS, MAX_RATE, Allowance
from bandroom.wire.messages import Presence, RoomInfo
from bandroom.wire.topics import Room

from .conftest import LINCOLN, TWIN, Plane

STATE_C = Path(__file__).parents[3] / "broker" / "gate" / "state.c"


def test_the_limits_that_are_shown_as_the_brokers_are_the_brokers() -> None:
    """What the gate's source has as its defaults, in its order."""
    source = STATE_C.read_text()
    found = {name: (int(rate), int(burst)) for name, rate, burst in re.findall(r'= \{"(\w+)", (\d+), (\d+)\}', source)}
    beyond = {"connects", "vain", "tenant_vain"}  # the same for every tenant
    assert {name: found[name] for name in found if name not in beyond} == {
        str(key): (value.rate, value.burst) for key, value in DEFAULTS.items()
    }


@pytest.mark.rule("LIM-5")
def test_limits_are_written_at_once_and_on_compaction(plane: Plane) -> None:
    """The gate's log has them before the call returns, after a restart, and no more after a reset."""
    given = {LimitKey.CLIENT_MSGS: Allowance(5, 10), LimitKey.SUBS: Allowance(2, 30)}
    schools.set_limits(plane.control, LINCOLN, given, reset=False)
    wanted = {(LINCOLN, LimitKey.CLIENT_MSGS): (5, 10), (LINCOLN, LimitKey.SUBS): (2, 30)}
    assert plane.gate_state().limits == wanted
    plane.restart()
    assert plane.gate_state().limits == wanted
    found = schools.allowed(plane.control, LINCOLN)
    assert found.limits[LimitKey.SUBS] == Allowance(2, 30)
    assert found.limits[LimitKey.ROOM_MSGS] == DEFAULTS[LimitKey.ROOM_MSGS]
    assert found.own == set(given)
    admin.set_tenant(plane.control, LINCOLN, 3, 600)
    schools.set_limits(plane.control, LINCOLN, {LimitKey.SUBS: Allowance(1, 9)}, reset=True)
    assert plane.gate_state().limits == {(LINCOLN, LimitKey.SUBS): (1, 9)}
    found = schools.allowed(plane.control, LINCOLN)
    assert (found.max_rooms, found.forget_pupils_s, found.own) == (100, 86_400, {LimitKey.SUBS})
    assert schools.allowed(plane.control, TWIN).own == frozenset()


@pytest.mark.parametrize(
    "text", ["", "5", "5:", ":5", "0:5", "5:0", "-1:5", "5:5:5", "5.5:5", "٣:٣", f"1:{MAX_RATE + 1}"]
)
def test_what_is_no_limit_is_refused(text: str) -> None:
    """Nothing below one, nothing beyond what the gate can count, nothing that merely looks like numbers."""
    with pytest.raises(ValueError, match=r"not|no limit"):
        Allowance.parse(text)


@pytest.mark.rule("REV-8")
def test_a_deleted_tenant_leaves_nothing_but_what_is_void(plane: Plane) -> None:
    """Rows, names, retained topics, lines of the gate log: all gone; its tokens and passwords open nothing."""
    room = plane.create()
    plane.create(tenant=TWIN)
    joined = plane.join(nickname="Zebulon")
    admin.enroll_device(plane.control, LINCOLN, Subject("d-drum"), "Zebra drum", room.room)
    teachers.add(plane.control, LINCOLN, Subject("t-smith"), "Ms Zimmer")
    admin.mint_token(plane.control, LINCOLN, Subject("t-hand"), None, 600)
    schools.set_limits(plane.control, LINCOLN, {LimitKey.SUBS: Allowance(2, 30)}, reset=False)
    for sub in (joined.member.sub, Subject("d-drum"), Subject("t-heard")):
        plane.control.emit(plane.control.roster.hear(LINCOLN, sub, Presence("ready"), plane.clock.now_us()))
    plane.drain()
    gone = schools.delete_tenant(plane.control, LINCOLN)
    assert (gone.rooms, gone.members, gone.devices, gone.teachers) == (1, 1, 1, 1)
    effects = plane.drain()
    assert any(
        isinstance(e, Publish) and isinstance(e.message, RoomInfo) and e.message.state == "closed" for e in effects
    )
    cleared = {effect.topic.name for effect in effects if isinstance(effect, Clear)}
    base = f"tenant/lincoln/music_room/{room.room}"
    assert cleared == {
        f"{base}/tempo",
        f"{base}/room",
        f"{base}/member/{joined.member.sub}",
        f"{base}/member/d-drum",
        f"tenant/lincoln/presence/{joined.member.sub}",
        "tenant/lincoln/presence/d-drum",
        "tenant/lincoln/presence/t-heard",
        "tenant/lincoln/device/d-drum/room",
    }
    state = plane.gate_state()
    assert {room for room in state.open_rooms if room[0] == LINCOLN} == set()
    assert (TWIN, RoomId("MUSIC-1234")) in state.open_rooms
    assert state.assigned == {}
    assert state.limits == {}
    assert state.floors == {(LINCOLN, Subject("d-drum")): 2}
    people = {joined.member.sub, "t-smith", "t-hand", "t-heard"}
    assert {sub for _, sub in state.revoked} == people
    assert plane.control.roster.size == 0
    everything = "\n".join(plane.store.connection.raw.iterdump())
    assert not re.search("Zeb|Zimmer|'lincoln','MUSIC-1234'", everything)
    with pytest.raises(Refused, match="no tenant"):
        plane.control.tenant(LINCOLN)
    with pytest.raises(Refused, match="not given again"):
        admin.create_tenant(plane.control, LINCOLN, None)
    plane.advance(12 * 3600 + 1)
    upkeep.each_minute(plane.control)
    plane.restart()
    # The tokens have expired; passwords never do.
    assert plane.gate_state().revoked == {}
    assert plane.gate_state().floors == {(LINCOLN, Subject("d-drum")): 2}


@pytest.mark.rule("REV-8")
def test_a_kill_in_the_middle_of_deleting_leaves_nothing_retained(plane: Plane) -> None:
    """Off the record, and killed before anything of it went out: the next service clears what nobody else knows of.

    The rooms' topics are cleared by the closing before, presence and roster as they are found.
    """
    plane.create()
    admin.enroll_device(plane.control, LINCOLN, Subject("d-drum"), None, RoomId("MUSIC-1234"))
    admin.enroll_device(plane.control, LINCOLN, Subject("d-bass"), None)
    admin.enroll_device(plane.control, TWIN, Subject("d-drum"), None)
    schools.close_all(plane.control, LINCOLN)
    plane.drain()
    schools.delete_tenant(plane.control, LINCOLN)
    plane.restart()  # with the effects lost
    retained = plane.control.retained()
    cleared = {effect.topic.name for effect in retained if isinstance(effect, Clear)}
    assert cleared == {"tenant/lincoln/device/d-bass/room", "tenant/lincoln/device/d-drum/room"}
    (kept,) = [effect.topic.name for effect in retained if isinstance(effect, Publish)]
    assert kept == "tenant/lincoln-2/device/d-drum/room"


@pytest.mark.rule("REV-8")
def test_topics_of_a_room_that_nobody_knows_are_cleared_when_found(plane: Plane) -> None:
    """Of a school that was deleted while the connection was lost, say; a room on record is let be, closed or open."""
    plane.create()
    plane.drain()
    known, gone = Room(LINCOLN, RoomId("MUSIC-1234")), Room(TWIN, RoomId("MUSIC-1234"))
    plane.control.found(known)
    assert plane.drain() == []
    plane.control.found(gone)
    assert plane.drain() == [Clear(gone.tempo()), Clear(gone.info())]


def test_deleting_twice_or_nobody_is_refused(plane: Plane) -> None:
    """There is nothing to delete then."""
    schools.delete_tenant(plane.control, LINCOLN)
    with pytest.raises(Refused, match="no tenant"):
        schools.delete_tenant(plane.control, LINCOLN)
