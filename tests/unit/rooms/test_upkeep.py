"""What time does: idle rooms are closed, rested ones deleted, codes come free."""

from typing import Any

import pytest
from bandroom.rooms import admin, people, upkeep
from bandroom.rooms.effects import Publish
from bandroom.rooms.life import REST_S
from bandroom.store import RoomState, Unavailable
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
@pytest.mark.parametrize(
    "command",
    [
        {"cmd": "assign_device", "device": "d-drum-3"},
        {"cmd": "reset_name", "who": "Ann"},
        {"cmd": "kick", "who": "Ann", "keep_code": True},
        {"cmd": "tap"},
        {"cmd": "unmute"},
        {"cmd": "unlock"},
        {"cmd": "stop"},
    ],
    ids=lambda command: command["cmd"],
)
def test_any_command_that_is_done_puts_the_closing_off(music: Plane, command: dict[str, Any]) -> None:
    """One that leaves the room's own topics as they are, too: who gives it uses the room. A refused one does not."""
    music.join(nickname="Ann")
    admin.enroll_device(music.control, LINCOLN, Subject("d-drum-3"), None)
    pass_time(music, 3400)
    assert len(told(music)) == 1
    assert music.do("mute", who="Nobody").err == "not_found"
    pass_time(music, 10)
    assert told(music) == []
    assert music.do(**command).ok
    pass_time(music, 10)
    assert set(told(music)) == {None}
    assert music.control.closes_at_s(music.room()) > music.now_s + 3500


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


def closes_after(plane: Plane) -> int:
    """How many seconds pass until the room is closed, the warning before it given in time; in steps of 5 s."""
    passed, warned_at, plane.effects = 0, None, []
    while plane.room().state is RoomState.OPEN:
        pass_time(plane, 5)
        passed += 5
        if warned_at is None and any(told(plane)):
            warned_at = passed
        assert passed < 2 * 3600
    assert warned_at is not None
    assert passed - warned_at >= 290
    return passed


@pytest.mark.rule("ROOM-1")
@pytest.mark.parametrize("stayed_s", [1, 44, 46, 59, 61, 89, 1000])
def test_the_hour_begins_when_the_last_one_leaves(music: Plane, stayed_s: int) -> None:
    """However that lies to the service's looks: never earlier, and at its next looks."""
    sub = music.join(nickname="Ann").member.sub
    pass_time(music, 600)
    say(music, sub, "ready")
    pass_time(music, stayed_s // 5 * 5)
    music.advance(stayed_s % 5 + 0.7)
    say(music, sub, "disconnected")
    assert 3600 <= closes_after(music) <= 3610


@pytest.mark.rule("ROOM-1")
def test_the_hour_begins_when_a_device_is_taken_away_or_a_pupil_put_out(music: Plane) -> None:
    """Nobody says goodbye there."""
    sub, drum = music.join(nickname="Ann").member.sub, Subject("d-drum-3")
    admin.enroll_device(music.control, LINCOLN, drum, None)
    music.do("assign_device", device=drum)
    for who in (sub, drum):
        say(music, who, "ready")
    pass_time(music, 1050)
    music.do("kick", who=sub, keep_code=True)
    pass_time(music, 1050)
    with music.control.change() as change:  # as another room's command does it, which is no use of this one
        people.move_device(music.control, change, music.store.for_tenant(LINCOLN).device(drum), None)  # type: ignore[arg-type]
    assert 3600 <= closes_after(music) <= 3610


@pytest.mark.rule("ROOM-1")
@pytest.mark.parametrize("command", ["none", "mute", "set_tempo"])
def test_the_hour_is_whole_after_everything_was_cut_off(music: Plane, command: str) -> None:
    """A power cut while somebody was there, and no return: an hour from then, and a minute more at most."""
    sub = music.join(nickname="Ann").member.sub
    pass_time(music, 600)
    say(music, sub, "ready")
    pass_time(music, 130)
    if command != "none":
        assert music.do(command, **({"bpm": 99} if command == "set_tempo" else {})).ok
        pass_time(music, 10)
    music.restart()
    assert 3600 <= closes_after(music) <= 3600 + upkeep.NOTE_AHEAD_S + 10


@pytest.mark.rule("ROOM-1")
def test_who_left_while_the_service_was_away_left_as_late_as_could_be(music: Plane) -> None:
    """When exactly nobody knows: the hour begins when the service hears of it."""
    sub = music.join(nickname="Ann").member.sub
    say(music, sub, "ready")
    pass_time(music, 60)
    music.restart()
    music.advance(1800)
    say(music, sub, "lost")
    assert 3600 <= closes_after(music) <= 3610


@pytest.mark.rule("ROOM-1")
def test_a_command_between_two_seconds_is_no_second_too_early(music: Plane) -> None:
    """Times on record are whole seconds."""
    for cmd in ("lock", "unlock", "start", "stop"):
        music.advance(1.9)
        assert music.do(cmd).ok
        assert music.room().used_at * 1_000_000 >= music.clock.now_us()


def test_that_somebody_left_is_not_forgotten_while_the_disk_is_full(music: Plane) -> None:
    """It is noted when there is room again."""
    sub = music.join(nickname="Ann").member.sub
    say(music, sub, "ready")
    pass_time(music, 600)
    music.store.connection.raw.execute("PRAGMA query_only = on")
    say(music, sub, "disconnected")
    with pytest.raises(Unavailable):
        upkeep.every_few_seconds(music.control)
    music.store.connection.raw.execute("PRAGMA query_only = off")
    music.advance(5)
    upkeep.every_few_seconds(music.control)
    assert music.room().used_at == music.now_s


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
