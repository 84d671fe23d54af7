"""What time does: idle rooms are closed, rested ones deleted, codes come free."""

from bandroom.rooms import admin, upkeep
from bandroom.rooms.life import REST_S
from bandroom.store import RoomState
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Presence

from .conftest import LINCOLN, Plane


def test_a_room_where_nobody_is_is_closed_after_an_hour(music: Plane) -> None:
    """Presence of anybody keeps it open; commands count as use."""
    sub = music.join(nickname="Ann").member.sub
    music.advance(3000)
    upkeep.each_minute(music.control)
    music.do("lock")
    music.do("unlock")
    music.advance(3599)
    upkeep.each_minute(music.control)
    assert music.room().state is RoomState.OPEN
    music.control.emit(music.control.roster.hear(LINCOLN, sub, Presence("ready"), music.clock.now_us()))
    for _ in range(5):
        music.advance(1800)
        upkeep.each_minute(music.control)
    assert music.room().state is RoomState.OPEN
    music.control.emit(music.control.roster.hear(LINCOLN, sub, Presence("lost"), music.clock.now_us()))
    music.advance(61)
    upkeep.each_second(music.control)
    music.advance(3600)
    upkeep.each_minute(music.control)
    assert music.room().state is RoomState.CLOSED


def test_a_closed_room_rests_for_a_day_and_is_deleted(music: Plane) -> None:
    """Until then its code is nobody else's; its device is freed with it."""
    admin.enroll_device(music.control, LINCOLN, Subject("d-drum-3"), None)
    music.do("assign_device", device="d-drum-3")
    music.do("close")
    music.advance(REST_S - 1)
    upkeep.each_minute(music.control)
    assert music.do("reopen").ok
    music.do("close")
    music.advance(REST_S)
    upkeep.each_minute(music.control)
    music.drain()
    assert music.store.all_rooms() == []
    assert music.gate_state().assigned == {}
    room = music.create()
    assert room.tempo_rev > REST_S


def test_a_replaced_code_comes_free_after_a_day(music: Plane) -> None:
    """Not before; the room's own id stays taken as long as the room is there."""
    first = music.do("new_code").code
    second = music.do("new_code").code
    rows = music.store.for_tenant(LINCOLN)
    from bandroom.wire.ids import JoinCode

    assert not rows.code_is_free(JoinCode(str(first)))
    music.advance(REST_S)
    music.do("lock")
    upkeep.each_minute(music.control)
    assert rows.code_is_free(JoinCode(str(first)))
    assert not rows.code_is_free(JoinCode(str(second)))
    assert not rows.code_is_free(JoinCode("MUSIC-1234"))


def test_answers_are_remembered_for_a_day(music: Plane) -> None:
    """Then the same id may be used for something else."""
    music.do("rename", id="a", name="x")
    music.advance(upkeep.KEEP_REPLIES_S - 1)
    music.do("lock")
    music.do("unlock")
    upkeep.each_minute(music.control)
    assert music.do("rename", id="a", name="y").err == "conflict"
    music.advance(2)
    upkeep.each_minute(music.control)
    assert music.do("rename", id="a", name="y").ok


def test_pupils_are_forgotten_when_the_tenant_says_so(music: Plane) -> None:
    """A while after closing nothing of them is on record, names and mutes included, and their tokens open nothing."""
    joined = music.join(nickname="Ann")
    music.do("mute", who="Ann")
    admin.set_tenant(music.control, LINCOLN, None, 600)
    music.do("close")
    music.advance(599)
    upkeep.each_minute(music.control)
    rows = music.store.for_tenant(LINCOLN)
    assert len(rows.members(music.room().room)) == 1
    music.advance(1)
    upkeep.each_minute(music.control)
    assert rows.members(music.room().room) == []
    assert rows.mutes(music.room().room) == []
    assert (LINCOLN, joined.member.sub) in music.gate_state().revoked
    assert music.do("reopen").ok
    assert music.join(cookie=joined.cookie).member.sub != joined.member.sub
    music.advance(12 * 3600 + 1)
    music.do("lock")
    upkeep.each_minute(music.control)
    everything = "\n".join(music.store.connection.raw.iterdump())
    assert joined.member.sub not in everything
    assert "Ann" not in everything
