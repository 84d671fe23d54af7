"""The one handler of commands: what each does, in which state, and what a repetition does."""

import itertools
import re

import pytest
from bandroom.auth.owner import Owner
from bandroom.rooms.control import Teacher
from bandroom.rooms.effects import Clear, Publish, TellGate
from bandroom.rooms.life import COMMANDS, TABLE, Event
from bandroom.store import RoomState
from bandroom.wire.ids import RoomId, Subject
from bandroom.wire.messages import Assignment, Member, Presence, RoomInfo, Tempo
from bandroom.wire.tempo import from_message

from .conftest import LINCOLN, MUSIC, TWIN, Plane

SMITH = Teacher(LINCOLN, Subject("t-smith"))
STRANGER = Teacher(TWIN, Subject("t-jones"))


def topics(plane: Plane) -> list[tuple[str, str]]:
    shown: list[tuple[str, str]] = []
    for effect in plane.drain():
        match effect:
            case Publish():
                shown.append(("publish", effect.topic.name.removeprefix("tenant/lincoln/")))
            case Clear():
                shown.append(("clear", effect.topic.name.removeprefix("tenant/lincoln/")))
            case TellGate():
                shown.append(("gate", effect.entries[0].__class__.__name__))
    return shown


GOOD = [
    ("start", {}),
    ("start", {"count_in": 0, "at": "now"}),
    ("stop", {}),
    ("continue", {}),
    ("set_tempo", {"bpm": 96}),
    ("set_tempo", {"bpm": 96.5, "at": "beat"}),
    ("set_meter", {"meter": "6/8"}),
    ("set_meter", {"meter": "7/8:2+2+3", "bpm": 200}),
    ("cancel", {}),
    ("tap", {}),
    ("mute", {}),
    ("mute", {"who": "Ann"}),
    ("unmute", {}),
    ("unmute", {"who": "ann"}),
    ("kick", {"who": "Ann"}),
    ("kick", {"who": "Ann", "keep_code": True}),
    ("lock", {}),
    ("unlock", {}),
    ("rename", {"name": "Choir ♪"}),
    ("reset_name", {"who": "Ann"}),
    ("assign_device", {"device": "d-drum-3"}),
    ("assign_device", {"device": "d-drum-3", "away": True}),
    ("new_code", {}),
    ("close", {}),
    ("reopen", {}),
]


@pytest.mark.rule("CMD-4")
@pytest.mark.rule("CMD-1")
@pytest.mark.parametrize(("cmd", "arguments"), GOOD, ids=lambda value: str(value))
def test_every_command_is_done_and_done_once(music: Plane, cmd: str, arguments: dict[str, object]) -> None:
    """A command sent again (same id) gets the same reply, and changes nothing a second time."""
    from bandroom.rooms import admin

    music.join(nickname="Ann")
    admin.enroll_device(music.control, LINCOLN, Subject("d-drum-3"), None)
    music.drain()
    first = music.do(cmd, id="once", **arguments)
    assert first.ok, first.text
    assert first.rev is not None
    music.drain()
    done = (music.store.all_rooms(), music.gate_state())
    music.advance(5)
    again = music.do(cmd, id="once", **arguments)
    assert again == first
    assert music.drain() == []
    assert (music.store.all_rooms(), music.gate_state()) == done
    music.restart()
    assert music.do(cmd, id="once", **arguments) == first
    other = music.do("rename", id="once", name="something else")
    assert (other.ok, other.err) == (False, "conflict")


@pytest.mark.parametrize(("cmd", "arguments"), GOOD, ids=lambda value: str(value))
def test_a_stranger_commands_nothing(music: Plane, cmd: str, arguments: dict[str, object]) -> None:
    """Teachers of another tenant, and whoever is no teacher, are refused before anything is looked up."""
    before = music.store.all_rooms()
    for actor in (STRANGER, Teacher(LINCOLN, Subject("s-pupil"))):
        for room in ("MUSIC-1234", "NOWHERE-0000"):
            reply = music.do(cmd, room=room, actor=actor, **arguments)
            assert (reply.ok, reply.err) == (False, "forbidden")
    assert music.store.all_rooms() == before
    assert music.drain() == []


@pytest.mark.parametrize(
    ("cmd", "arguments", "err"),
    [
        ("start", {"at": 5}, "bad_request"),
        ("set_tempo", {"bpm": 96, "ramp": "time"}, "bad_request"),
        ("set_tempo", {"bpm": 96, "at": -500}, "too_late"),
        ("set_meter", {"meter": "4/5"}, "bad_request"),
        ("set_meter", {"meter": "99/4"}, "bad_request"),
        ("set_meter", {"meter": "3/4@32"}, "bad_request"),
        ("tap", {"t": 5}, "bad_request"),
        ("mute", {"who": "Nobody"}, "not_found"),
        ("mute", {"who": "s-nobody"}, "not_found"),
        ("unmute", {"who": "Nobody"}, "not_found"),
        ("kick", {"who": "Nobody"}, "not_found"),
        ("reset_name", {"who": "Nobody"}, "not_found"),
        ("assign_device", {"device": "d-nobody"}, "not_found"),
        ("assign_device", {"device": "s-pupil"}, "not_found"),
        ("start", {"exp": 1}, "expired"),
        ("close", {"exp": 1}, "expired"),
    ],
    ids=str,
)
@pytest.mark.rule("CMD-2")
def test_what_cannot_be_done_says_so_and_changes_nothing(
    music: Plane, cmd: str, arguments: dict[str, object], err: str
) -> None:
    """A refusal has a code and a text, is not remembered, and leaves no trace."""
    before = music.store.all_rooms()
    reply = music.do(cmd, **arguments)
    assert not reply.ok
    assert reply.err == err, reply.text
    assert reply.text
    assert music.store.all_rooms() == before
    assert music.drain() == []


def test_an_unknown_room_or_tenant_is_not_found(music: Plane) -> None:
    """For the owner, who may look everywhere."""
    assert music.do("start", room="TABLE-0001").err == "not_found"
    assert music.do("start", tenant=TWIN).err == "not_found"


@pytest.mark.parametrize("state", list(RoomState))
@pytest.mark.parametrize("cmd", sorted({cmd for cmd, _ in GOOD}))
def test_the_table_of_states_holds(music: Plane, state: RoomState, cmd: str) -> None:
    """In each state each command is done or refused as the table says, and leads where it says."""
    from bandroom.rooms import admin

    music.join(nickname="Ann")
    admin.enroll_device(music.control, LINCOLN, Subject("d-drum-3"), None)
    way = {RoomState.OPEN: [], RoomState.LOCKED: ["lock"], RoomState.CLOSED: ["close"]}[state]
    for step in way:
        assert music.do(step).ok
    arguments = next(arguments for name, arguments in GOOD if name == cmd)
    if cmd in ("mute", "unmute"):
        arguments = {"who": "Ann"}
    reply = music.do(cmd, **arguments)
    if cmd in COMMANDS:
        step = TABLE.get((state, Event(cmd)))
        assert reply.ok == (step is not None)
        assert music.room().state is (state if step is None else step.state)
    else:
        assert reply.err == ("closed" if state is RoomState.CLOSED else None)
        assert music.room().state is state


@pytest.mark.rule("TEMPO-2")
def test_revisions_rise_through_everything(music: Plane) -> None:
    """Stop, close, reopen, many edits in one second: a later message always has the higher revision."""
    tempo: list[int] = []
    info: list[int] = []
    for _, cmd in itertools.product(range(3), ["start", "stop", "lock", "close", "reopen"]):
        assert music.do(cmd).ok or cmd == "start"
        for effect in music.drain():
            if isinstance(effect, Publish) and isinstance(effect.message, Tempo):
                tempo.append(effect.message.rev)
            if isinstance(effect, Publish) and isinstance(effect.message, RoomInfo):
                info.append(effect.message.rev)
        music.advance(0.3)
    assert len(tempo) > 3
    assert len(info) > 3
    assert tempo == sorted(set(tempo))
    assert info == sorted(set(info))
    assert tempo[0] >= music.now_s - 60


def test_a_reply_says_what_took_effect_and_when(music: Plane) -> None:
    """Revision, beat and server time of an edit are those of the published map."""
    assert music.do("start", count_in=0).ok
    music.advance(3.0)
    music.drain()
    reply = music.do("set_tempo", bpm=90)
    (effect,) = music.drain()
    assert isinstance(effect, Publish)
    assert isinstance(effect.message, Tempo)
    beat = from_message(effect.message).beat(reply.n or 0)
    assert beat is not None
    assert (effect.message.rev, beat.t, beat.bpm, beat.pos) == (reply.rev, reply.t, 90.0, 1)
    assert (reply.t or 0) - music.clock.now_us() >= 150_000


def test_three_even_taps_set_the_tempo(music: Plane) -> None:
    """100 taps a minute make 100 bpm; two make nothing yet, and taps of two teachers are kept apart."""
    replies = []
    for _ in range(3):
        replies.append(music.do("tap", actor=SMITH))
        music.do("tap", actor=Owner(), t=music.clock.now_us() + 100_000)
        music.advance(0.6)
    assert [reply.ok for reply in replies] == [True] * 3
    tempo = from_message(Tempo.decode(music.room().tempo.encode()))
    assert tempo.bpm_at(music.clock.now_us()) == pytest.approx(100.0)


def test_mutes_reach_store_gate_and_room_topic(music: Plane) -> None:
    """One, all, later joiners included; unmuting all takes single mutes back, too."""
    ann, bob = music.join(nickname="Ann").member.sub, music.join(nickname="Bob").member.sub
    music.drain()
    assert music.do("mute", who="Ann").ok
    assert music.gate_state().muted == {(LINCOLN, MUSIC, ann)}
    assert music.control.info_message(music.room()).muted == (ann,)
    assert music.do("mute", who=bob).ok
    assert music.do("mute").ok
    assert music.gate_state().all_muted == {(LINCOLN, MUSIC)}
    assert music.do("unmute", who="Bob").ok
    assert music.gate_state().muted == {(LINCOLN, MUSIC, ann)}
    assert music.do("unmute").ok
    state = music.gate_state()
    assert not state.muted
    assert not state.all_muted
    message = music.control.info_message(music.room())
    assert (message.muted, message.all_muted) == ((), False)


def test_a_nickname_works_where_it_is_the_only_one(music: Plane) -> None:
    """A name that a pupil and a device share is refused with the subjects to choose from."""
    from bandroom.rooms import admin

    sub = music.join(nickname="Drum").member.sub
    admin.enroll_device(music.control, LINCOLN, Subject("d-drum"), "drum")
    assert music.do("assign_device", device="d-drum").ok
    reply = music.do("mute", who="Drum")
    assert reply.err == "conflict"
    assert sub in (reply.text or "")
    assert music.do("mute", who=sub).ok


def test_a_kick_revokes_the_subject_and_changes_code_and_key(music: Plane) -> None:
    """The kicked one's tokens are void, the old code and link open nothing, and the room's id stays."""
    before = music.room()
    joined = music.join(nickname="Ann")
    music.control.emit(music.control.roster.hear(LINCOLN, joined.member.sub, Presence("ready"), music.clock.now_us()))
    music.drain()
    reply = music.do("kick", who="Ann")
    after = music.room()
    assert reply.ok
    assert reply.code == after.join_code != before.join_code
    assert (after.room, after.join_key != before.join_key) == (MUSIC, True)
    assert (LINCOLN, joined.member.sub) in music.gate_state().revoked
    assert ("clear", f"music_room/MUSIC-1234/member/{joined.member.sub}") in topics(music)
    from bandroom.rooms.join import NoSuchRoom

    with pytest.raises(NoSuchRoom):
        music.join("MUSIC-1234", key=before.join_key)
    # The old code rests, so no other room gets it; the old id still names the room to its teacher.
    from bandroom.rooms.control import Refused

    with pytest.raises(Refused, match="in use"):
        music.create("MUSIC-1234")
    assert music.do("lock").ok


def test_closing_tells_members_first_and_then_takes_their_rights(music: Plane) -> None:
    """The order: a standing map, `closed`, the gate, then every retained topic cleared."""
    music.do("start")
    sub = music.join(nickname="Ann").member.sub
    music.control.emit(music.control.roster.hear(LINCOLN, sub, Presence("ready"), music.clock.now_us()))
    music.drain()
    assert (LINCOLN, MUSIC) in music.gate_state().open_rooms
    assert music.do("close").ok
    assert music.drain()[:2] != []
    assert (LINCOLN, MUSIC) not in music.gate_state().open_rooms
    assert list(music.store.all_tempo_maps()) == []
    music.do("reopen")
    music.drain()
    music.do("close")
    assert topics(music) == [
        ("publish", "music_room/MUSIC-1234/tempo"),
        ("publish", "music_room/MUSIC-1234/room"),
        ("gate", "Close"),
        ("clear", "music_room/MUSIC-1234/tempo"),
        ("clear", "music_room/MUSIC-1234/room"),
        ("clear", f"music_room/MUSIC-1234/member/{sub}"),
    ]


def test_a_crash_while_closing_leaves_nothing_half_closed(music: Plane) -> None:
    """Killed when it was on record, and before anybody was told: after the start the gate grants nothing, no worker
    finds a map, and what is retained is cleared.
    """
    music.do("start")
    assert music.do("close").ok
    music.effects.clear()
    assert (LINCOLN, MUSIC) in music.gate_state().open_rooms
    music.restart()
    assert (LINCOLN, MUSIC) not in music.gate_state().open_rooms
    assert list(music.store.all_tempo_maps()) == []
    cleared = {effect.topic.name for effect in music.control.retained() if isinstance(effect, Clear)}
    assert cleared == {f"tenant/lincoln/music_room/MUSIC-1234/{leaf}" for leaf in ("tempo", "room")}


def test_a_name_that_is_reset_is_a_friendly_one(music: Plane) -> None:
    """Two words and a number, on record and on the roster at once; the pupil stays who it is."""
    sub = music.join(nickname="Something rude").member.sub
    music.control.hear(LINCOLN, sub, Presence("ready"))
    music.drain()
    assert music.do("reset_name", who="Something rude").ok
    member = music.store.for_tenant(LINCOLN).member(sub)
    assert member is not None
    assert re.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+ [0-9]{1,2}", member.name)
    (told,) = music.drain()
    assert isinstance(told, Publish)
    assert isinstance(told.message, Member)
    assert (told.topic.subject, told.message.name) == (sub, member.name)


def test_reopening_brings_members_mutes_and_code_back(music: Plane) -> None:
    """A room closed by mistake goes on as it was, standing still."""
    sub = music.join(nickname="Ann").member.sub
    music.do("mute", who="Ann")
    music.do("mute")
    before = music.room()
    music.do("close")
    music.drain()
    assert music.do("reopen").ok
    after = music.room()
    assert (after.join_code, after.join_key, after.all_muted) == (before.join_code, before.join_key, True)
    state = music.gate_state()
    assert (LINCOLN, MUSIC) in state.open_rooms
    assert (LINCOLN, MUSIC, sub) in state.muted
    assert (LINCOLN, MUSIC) in state.all_muted
    assert not from_message(Tempo.decode(after.tempo.encode())).running_at(music.clock.now_us() + 10_000_000)


def test_a_device_follows_its_assignment(music: Plane) -> None:
    """Gate, retained assignment and roster move together; kicking a device takes it out of the room only."""
    from bandroom.rooms import admin

    drum = Subject("d-drum-3")
    admin.enroll_device(music.control, LINCOLN, drum, "Drum")
    music.create("TABLE-0001")
    music.control.emit(music.control.roster.hear(LINCOLN, drum, Presence("ready"), music.clock.now_us()))
    music.drain()
    for room in ("MUSIC-1234", "TABLE-0001"):
        assert music.do("assign_device", room=room, device="d-drum-3").ok
        assert music.gate_state().assigned == {(LINCOLN, drum): room}
        effects = music.drain()
        assert any(isinstance(e, Publish) and e.message == Assignment(RoomId(room)) for e in effects)
        assert any(isinstance(e, Publish) and isinstance(e.message, Member) for e in effects)
    assert music.do("assign_device", room="MUSIC-1234", device="d-drum-3", away=True).ok  # not there: nothing
    assert music.gate_state().assigned == {(LINCOLN, drum): "TABLE-0001"}
    assert music.do("kick", room="TABLE-0001", who="Drum", keep_code=True).ok
    assert music.gate_state().assigned == {}
    assert ("clear", "music_room/TABLE-0001/member/d-drum-3") in topics(music)


def test_a_tenant_has_so_many_open_rooms_and_no_more(music: Plane) -> None:
    """The limit counts open and locked rooms, holds for reopening, and is the tenant's own if it has one."""
    from bandroom.rooms import admin
    from bandroom.rooms.control import Refused
    from bandroom.wire.ids import TenantId

    small = TenantId("small")
    admin.create_tenant(music.control, small, None, max_rooms=2)
    music.create("AA-0001", small)
    music.create("AA-0002", small)
    with pytest.raises(Refused, match="open rooms of small: 2,"):
        music.create("AA-0003", small)
    assert music.do("close", room="AA-0001", tenant=small).ok
    music.create("AA-0003", small)
    assert music.do("reopen", room="AA-0001", tenant=small).err == "limit"


def test_the_gate_log_written_anew_equals_the_one_that_grew(music: Plane) -> None:
    """After any commands a restart compacts to the same state: nothing lost, nothing left over."""
    from bandroom.rooms import admin

    music.create("TABLE-0001")
    music.join(nickname="Ann")
    music.join(nickname="Bob")
    admin.enroll_device(music.control, LINCOLN, Subject("d-drum-3"), None)
    admin.enroll_device(music.control, LINCOLN, Subject("d-drum-3"), None)
    for cmd, arguments in [
        ("mute", {"who": "Ann"}),
        ("mute", {}),
        ("assign_device", {"device": "d-drum-3"}),
        ("kick", {"who": "Bob"}),
    ]:
        assert music.do(cmd, **arguments).ok
    assert music.do("close", room="TABLE-0001").ok
    music.drain()
    grown = music.gate_state()
    music.restart()
    assert music.gate_state() == grown
