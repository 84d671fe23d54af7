"""What time does: idle rooms are closed, rested ones deleted, codes come free."""

import pytest
from bandroom.rooms import admin, upkeep
from bandroom.rooms.effects import Publish
from bandroom.rooms.life import REST_S
from bandroom.store import RoomState
from bandroom.wire.ids import Subject
from bandroom.wire.messages import Presence, RoomInfo

from .conftest import LINCOLN, Plane


def pass_time(plane: Plane, seconds: int) -> None:
    """With all that the service does meanwhile."""
    for _ in range(0, seconds, 5):
        plane.advance(5)
        upkeep.every_few_seconds(plane.control)
        if plane.now_s % 60 < 5:
            upkeep.each_minute(plane.control)


def say(plane: Plane, sub: Subject, state: str) -> None:
    plane.control.hear(LINCOLN, sub, Presence(state))  # type: ignore[arg-type]


def told(plane: Plane) -> list[int | None]:
    """When the room was said to close, in seconds, in each message since the last look."""
    infos = [e.message for e in plane.drain() if isinstance(e, Publish) and isinstance(e.message, RoomInfo)]
    return [None if info.closing_t is None else info.closing_t // 1_000_000 for info in infos]


def test_a_room_where_nobody_is_is_closed_after_an_hour(music: Plane) -> None:
    """Presence of anybody keeps it open; commands count as use."""
    sub = music.join(nickname="Ann").member.sub
    pass_time(music, 3000)
    music.do("lock")
    music.do("unlock")
    pass_time(music, 3595)
    assert music.room().state is RoomState.OPEN
    say(music, sub, "ready")
    pass_time(music, 9000)
    assert music.room().state is RoomState.OPEN
    say(music, sub, "lost")
    pass_time(music, 3500)
    assert music.room().state is RoomState.OPEN
    pass_time(music, 120)
    assert music.room().state is RoomState.CLOSED


@pytest.mark.rule("ROOM-1")
def test_members_are_told_before_an_idle_room_closes(music: Plane) -> None:
    """Five minutes before, in the retained message, with the time; then it closes at that time, and not before."""
    closes_s = music.now_s + 3600
    pass_time(music, 3295)
    assert told(music) == []
    pass_time(music, 10)
    assert told(music) == [closes_s]
    assert music.control.closes_at_s(music.room()) == closes_s
    (info,) = [
        e.message for e in music.control.retained() if isinstance(e, Publish) and isinstance(e.message, RoomInfo)
    ]
    assert info.closing_t == closes_s * 1_000_000
    pass_time(music, 290)
    assert music.room().state is RoomState.OPEN
    pass_time(music, 10)
    assert music.room().state is RoomState.CLOSED
    assert told(music) == [None]
    assert music.do("reopen").ok
    assert told(music) == [None]


@pytest.mark.rule("ROOM-1")
@pytest.mark.parametrize("how", ["somebody comes", "a command", "an edit", "its own name"])
def test_the_warning_is_taken_back_when_the_room_is_used(music: Plane, how: str) -> None:
    """And an hour begins anew."""
    sub = music.join(nickname="Ann").member.sub
    pass_time(music, 3400)
    assert len(told(music)) == 1
    match how:
        case "somebody comes":
            say(music, sub, "ready")
        case "a command":
            music.do("rename", name="Choir")
        case "its own name":
            music.do("rename", name=music.room().name)
        case _:
            music.do("set_tempo", bpm=99)
    pass_time(music, 10)
    assert set(told(music)) == {None}
    assert music.control.closes_at_s(music.room()) > music.now_s + 3500
    pass_time(music, 1000)
    assert music.room().state is RoomState.OPEN


@pytest.mark.rule("ROOM-1")
def test_nothing_closes_unwarned_after_the_service_was_away(music: Plane) -> None:
    """The machine slept through the hour: a minute's warning at least, in which whoever is there can say so."""
    sub = music.join(nickname="Ann").member.sub
    music.advance(9000)
    music.restart()
    upkeep.every_few_seconds(music.control)
    assert told(music) == [music.now_s + upkeep.LEAST_WARNING_S]
    say(music, sub, "ready")
    pass_time(music, 120)
    assert music.room().state is RoomState.OPEN


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
