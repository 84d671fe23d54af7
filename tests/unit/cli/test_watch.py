"""The live view: what it shows of what it heard, and what its keys mean."""

import time
from typing import Literal

import pytest
from bandroom.cli.watch import command_of, keys_of
from bandroom.cli.watch_board import Board
from bandroom.mqtt import Incoming
from bandroom.wire.ids import RoomId, Subject, TenantId
from bandroom.wire.messages import Beat, LimitReport, Member, MeterChange, Note, Reply, RoomInfo, Segment, Tempo
from bandroom.wire.topics import Room
from rich.console import Console

HERE = Room(TenantId("lincoln"), RoomId("MUSIC-1234"))
ANN = Subject("s-ann")


def heard(topic: object, message: object) -> Incoming:
    return Incoming(topic, message, False, 0)  # type: ignore[arg-type]


def text(board: Board, now_s: float) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(board.render(now_s))
    return captured.get()


@pytest.fixture
def board() -> Board:
    board = Board("MUSIC-1234", "TABLE-0001", connected=True)
    board.hear(heard(HERE.info(), RoomInfo(rev=1, name="Choir", state="open")), 0)
    board.hear(heard(HERE.member(ANN), Member(name="Ann", kind="student", state="ready", since=5)), 0)
    return board


def test_it_shows_the_worst_clock(board: Board) -> None:
    """Each member's error bound stands in its line, the worst of those that are there on top."""
    assert "clocks within" not in text(board, 0)
    for sub, state, err in (("s-bob", "ready", 2.345), ("s-cid", "ready", 0.4), ("s-dot", "lost", None)):
        member = Member(name=sub, kind="student", state=state, since=6, err=err)  # type: ignore[arg-type]
        board.hear(heard(HERE.member(Subject(sub)), member), 0)
    shown = text(board, 0)
    assert "clocks within 2.3 ms" in shown
    assert "0.4" in shown


def test_it_shows_since_when_and_with_what(board: Board) -> None:
    """The hour of coming by this machine's clock, and the instrument where one was told."""
    since_us = int(time.time() * 1e6)
    member = Member(name="Bob", kind="device", state="ready", since=since_us, instrument="xylophone")
    board.hear(heard(HERE.member(Subject("d-bob")), member), 0)
    (line,) = [line for line in text(board, 0).splitlines() if "Bob" in line]
    assert line.split()[3:] == ["device", "xylophone", time.strftime("%H:%M", time.localtime(since_us / 1e6))]
    (other,) = [line for line in text(board, 0).splitlines() if "Ann" in line]
    assert "1970" in other or "1969" in other  # of another day: with the date


def test_it_shows_beat_names_activity_mutes_and_limits(board: Board) -> None:
    """All that a teacher looks for stands on it."""
    assert "standing still" in text(board, 0)
    board.hear(heard(HERE.beat(), Beat(rev=1, n=5, bar=2, pos=2, bpm=96.0, t=1, d=625_000)), 10)
    for _ in range(10):
        board.hear(heard(HERE.note(ANN), Note(t=None, on=60, off=None, v=96, ch=0)), 10)
    board.hear(heard(HERE.limit(ANN), LimitReport(dropped=7, why="client_msgs")), 10)
    board.hear(heard(HERE.info(), RoomInfo(rev=2, name="Choir", state="locked", muted=(ANN,))), 10)
    shown = text(board, 10)
    for part in ("Choir", "TABLE-0001", "locked", "bar   2", "96 bpm", "Ann", "2.0", "muted", "7 dropped"):
        assert part in shown, (part, shown)
    later = text(board, 30)
    assert "standing still" in later
    assert "dropped" not in later


def test_stale_and_cleared_messages_are_no_news(board: Board) -> None:
    """An older revision changes nothing; a cleared member is gone."""
    board.hear(heard(HERE.info(), RoomInfo(rev=0, name="Old", state="closed")), 1)
    assert "Choir" in text(board, 1)
    board.hear(heard(HERE.member(ANN), None), 1)
    assert "nobody is here" in text(board, 1)


def test_keys_mean_what_the_room_needs_now(board: Board) -> None:
    """s starts a room that stands and stops one that plays; mutes and locks toggle; other keys do nothing."""
    assert command_of("s", board, 0) == {"cmd": "start"}
    board.hear(heard(HERE.beat(), Beat(rev=1, n=0, bar=1, pos=1, bpm=60.0, t=1, d=1_000_000)), 10)
    assert command_of("s", board, 10.5) == {"cmd": "stop"}
    assert command_of("1", board, 0) == {"cmd": "mute", "who": "s-ann"}
    assert command_of("2", board, 0) is None
    assert command_of("m", board, 0) == {"cmd": "mute"}
    board.hear(heard(HERE.info(), RoomInfo(rev=3, name="x", state="locked", all_muted=True)), 0)
    assert command_of("m", board, 0) == {"cmd": "unmute"}
    assert command_of("1", board, 0) == {"cmd": "unmute", "who": "s-ann"}
    assert command_of("l", board, 0) == {"cmd": "unlock"}
    assert command_of("t", board, 0) == {"cmd": "tap"}
    assert command_of("x", board, 0) is None


def test_a_refusal_is_shown_in_its_own_words(board: Board) -> None:
    """The service's text, not a code."""
    reply = Reply(id="a", ok=False, rev=None, n=None, t=None, code=None, err="conflict", text="stop it first")
    board.hear(heard(HERE.control_reply(Subject("t-smith")), reply), 0)
    assert "stop it first" in text(board, 0)


def test_a_command_that_nobody_answers_is_said_to_be_so(board: Board) -> None:
    """While it waits its name stands there, after some seconds that no answer came; the next answer clears it."""
    board.ask("start", 10)
    assert "start …" in text(board, 12)
    assert "no answer to start" in text(board, 16)
    board.hear(heard(HERE.control_reply(Subject("t-smith")), Reply(id="a", ok=True, rev=1)), 0)
    assert "no answer" not in text(board, 20)


def test_a_room_at_rest_shows_at_what_tempo_it_would_go_on(board: Board) -> None:
    """So that taps and a new meter can be seen before the beat begins; a map of a revision before changes nothing."""

    def rests(rev: int, uq: int, q: int, num: int, den: Literal[4, 8]) -> Tempo:
        meter = MeterChange(n=0, k=0, bar=1, num=num, den=den, q=q)
        return Tempo(rev=rev, seg=(Segment(k=0, t=0, uq=0, uq1=uq),), met=(meter,))

    assert text(board, 0).splitlines()[1].strip() == "standing still"
    board.hear(heard(HERE.tempo(), rests(7, 625_000, 960, 3, 4)), 0)
    assert "standing still, 96 bpm, 3/4" in text(board, 0)
    board.hear(heard(HERE.tempo(), rests(8, 500_000, 1440, 6, 8)), 0)
    assert "standing still, 80 bpm, 6/8" in text(board, 0)
    board.hear(heard(HERE.tempo(), rests(7, 625_000, 960, 3, 4)), 0)
    assert "80 bpm" in text(board, 0)
    playing = rests(9, 625_000, 960, 3, 4).model_copy(update={"seg": (Segment(k=0, t=0, uq=625_000),)})
    board.hear(heard(HERE.tempo(), playing), 0)
    assert "bpm" not in text(board, 0)  # it plays, and no beat comes: nothing is said of a rest


def test_a_room_that_is_to_close_says_when(board: Board) -> None:
    """As long as the room says so."""
    board.hear(heard(HERE.info(), RoomInfo(rev=2, name="Choir", state="open", closing_t=1_800_000_000_000_000)), 1)
    assert "unless somebody comes" in text(board, 1)
    board.hear(heard(HERE.info(), RoomInfo(rev=3, name="Choir", state="open")), 1)
    assert "unless" not in text(board, 1)


def test_nobody_is_shown_who_left_while_it_could_not_hear(board: Board) -> None:
    """After a loss of the broker the roster is what is told anew."""
    board.lose()
    assert "nobody is here" in text(board, 1)


def test_a_class_of_thirty_fits_a_small_terminal(board: Board) -> None:
    """Eighty columns by twenty-four lines: one line a pupil, the keys are always there, and every pupil can be marked
    and muted, the page following the mark.
    """
    for number in range(29):
        member = Member(
            name=f"Royal Kangaroo {number + 10}",
            kind="student",
            state="ready",
            since=1_800_000_000_000_000 + number,
            err=1.2,
            instrument="percussion",
        )
        board.hear(heard(HERE.member(Subject(f"s-{number}")), member), 0)

    def lines() -> list[str]:
        console = Console(width=80, height=24)
        with console.capture() as captured:
            console.print(board.render(0, console.height))
        return captured.get().rstrip("\n").splitlines()

    assert len(lines()) <= 24
    assert "q quit" in "".join(lines())
    assert "1 to 17 of 30" in lines()[-1]
    assert sum("Royal" in line or "Ann" in line for line in lines()) == 17
    assert command_of("x", board, 0) is None
    for _ in range(40):
        assert command_of("down", board, 0) is None
    assert "14 to 30 of 30" in lines()[-1]
    assert len(lines()) <= 24
    assert command_of("x", board, 0) == {"cmd": "mute", "who": "s-28"}
    assert command_of("up", board, 0) is None
    assert command_of("x", board, 0) == {"cmd": "mute", "who": "s-27"}
    board.hear(heard(HERE.member(Subject("s-27")), None), 0)
    assert command_of("x", board, 0) is None
    assert command_of("up", board, 0) is None
    assert board.marked == "s-28"


def test_keys_are_told_apart() -> None:
    """Letters one by one; arrows as such, in both of the forms that terminals have; other long ones are no key."""
    assert keys_of("st\x1b[A\x1bOBq") == ["s", "t", "up", "down", "q"]
    assert keys_of("\x1b[C\x1b[3~\x1b[1;5A") == ["", "", "up"]
    assert keys_of("\x1b") == ["\x1b"]
    assert command_of("", Board("MUSIC-1234", "MUSIC-1234"), 0) is None
