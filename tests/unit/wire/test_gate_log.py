"""Gate log lines say exactly one thing, and what is damaged is seen."""

from __future__ import annotations

import pytest
from bandroom.wire.gate_log import (
    MAX_LINE_BYTES,
    Assign,
    Close,
    Entry,
    Floor,
    GateLogError,
    Kick,
    Limit,
    LimitKey,
    Member,
    Mute,
    MuteAll,
    Open,
    Revoke,
    RevokeJti,
    Unmute,
    UnmuteAll,
    format_header,
    format_line,
    parse_body,
    parse_line,
)
from bandroom.wire.gate_state import GateState, read_log
from bandroom.wire.ids import BadId, RoomId, Subject, TenantId
from hypothesis import given
from hypothesis import strategies as st

TENANTS = st.sampled_from(["lincoln", "lincoln-2", "a", "t" * 20]).map(TenantId)
ROOMS = st.sampled_from(["MUSIC-1234", "DRUM-0001", "ABCDEFGH-9999"]).map(RoomId)
SUBS = st.sampled_from(["s-a", "d-drum-3", "t-ada", "s-" + "a" * 18]).map(Subject)
NUMBERS = st.integers(0, 2**53 - 1)
ENTRIES: st.SearchStrategy[Entry] = st.one_of(
    st.builds(Open, TENANTS, ROOMS),
    st.builds(Close, TENANTS, ROOMS),
    st.builds(Assign, TENANTS, SUBS, st.none() | ROOMS),
    st.builds(Mute, TENANTS, ROOMS, SUBS),
    st.builds(Unmute, TENANTS, ROOMS, SUBS),
    st.builds(MuteAll, TENANTS, ROOMS),
    st.builds(UnmuteAll, TENANTS, ROOMS),
    st.builds(Kick, TENANTS, SUBS),
    st.builds(Revoke, TENANTS, SUBS, NUMBERS, NUMBERS),
    st.builds(RevokeJti, TENANTS, st.text("abcXYZ019_-", min_size=1, max_size=64), NUMBERS),
    st.builds(Floor, TENANTS, SUBS, NUMBERS),
    st.builds(Limit, TENANTS, st.sampled_from(LimitKey), NUMBERS, NUMBERS),
    st.builds(Member, TENANTS, ROOMS, SUBS),
)
FILE_ID = "0123456789abcdef"


def log_of(entries: list[Entry]) -> bytes:
    """A whole log file."""
    lines = [format_line(seq, entry) for seq, entry in enumerate(entries, start=1)]
    return (format_header(FILE_ID) + "".join(lines)).encode()


@pytest.mark.rule("REV-5")
@given(ENTRIES, st.integers(1, 10**9))
def test_a_line_reads_back_as_what_was_written(entry: Entry, seq: int) -> None:
    """Every entry survives its line, within the line length that readers may rely on."""
    line = format_line(seq, entry)
    assert line.endswith("\n")
    assert len(line) <= MAX_LINE_BYTES
    assert parse_line(line[:-1], seq) == entry


@pytest.mark.rule("REV-5")
@given(ENTRIES, st.data())
def test_a_damaged_line_is_refused(entry: Entry, data: st.DataObject) -> None:
    """One wrong character anywhere, or a line out of its place, is an error and never another entry."""
    line = format_line(7, entry)[:-1]
    at = data.draw(st.integers(0, len(line) - 1))
    wrong = data.draw(st.characters(codec="utf-8").filter(lambda c: c != line[at]))
    with pytest.raises(GateLogError):
        parse_line(line[:at] + wrong + line[at + 1 :], 7)
    with pytest.raises(GateLogError):
        parse_line(line, 8)


@pytest.mark.rule("REV-5")
@pytest.mark.parametrize(
    "body",
    [
        "",
        "open",
        "open lincoln",
        "open lincoln MUSIC-1234 x",
        "open  lincoln MUSIC-1234",
        "open bandroom MUSIC-1234",
        "open lincoln music-1234",
        "open lincoln +",
        "OPEN lincoln MUSIC-1234",
        "drop lincoln MUSIC-1234",
        "floor lincoln d-a -1",
        "floor lincoln d-a 01",
        "floor lincoln d-a 1.0",
        "floor lincoln d-a 9007199254740992",
        "floor lincoln d-a ١",
        "limit lincoln cpu 1 1",
        "revokejti lincoln a b 1",
        "revokejti lincoln  1",
        "mute lincoln s-a MUSIC-1234",
    ],
)
def test_what_is_no_entry_is_refused(body: str) -> None:
    """Unknown verbs, missing or surplus words and illegal names are errors, never skipped."""
    with pytest.raises(GateLogError):
        parse_body(body)


@pytest.mark.rule("REV-5")
@given(st.lists(ENTRIES, max_size=30))
def test_a_state_written_out_again_is_the_same_state(entries: list[Entry]) -> None:
    """A compaction loses nothing, and equal states give equal logs."""
    state = GateState().apply_all(entries)
    compact = list(state.entries())
    again = GateState().apply_all(compact)
    assert again == state
    assert list(again.entries()) == compact


@given(st.lists(ENTRIES, max_size=30))
def test_applying_an_entry_twice_is_applying_it_once(entries: list[Entry]) -> None:
    """An entry that says what is so already changes nothing."""
    twice = [entry for entry in entries for _ in range(2)]
    assert GateState().apply_all(twice) == GateState().apply_all(entries)


@pytest.mark.rule("REV-5")
@given(st.lists(ENTRIES, max_size=10), st.data())
def test_a_log_cut_anywhere_reads_up_to_its_last_whole_line(entries: list[Entry], data: st.DataObject) -> None:
    """A write that was cut short shows the entries before it."""
    whole = log_of(entries)
    cut = data.draw(st.integers(len(format_header(FILE_ID)), len(whole)))
    read = read_log(whole[:cut])
    count = whole[:cut].count(b"\n") - 1
    assert (read.file_id, read.last_seq) == (FILE_ID, count)
    assert read.state == GateState().apply_all(entries[:count])


@pytest.mark.parametrize(
    "data",
    [b"", b"bandroom-gate 1 " + FILE_ID.encode(), b"bandroom-gate 2 0123456789abcdef\n", b"\n", b"\xff\n", b"x\n" * 3],
)
def test_what_is_no_log_is_refused(data: bytes) -> None:
    """A file without the first line of a gate log is never read as an empty one."""
    with pytest.raises(GateLogError):
        read_log(data)


def test_entries_cannot_hold_illegal_names() -> None:
    """The line format needs no escapes, because no name can hold a blank."""
    with pytest.raises(BadId):
        Open(TenantId("a b"), RoomId("MUSIC-1234"))


def test_what_may_be_forgotten_is_left_out() -> None:
    """Revocations end when the last token that they void has expired."""
    state = GateState().apply_all([Revoke(TenantId("a"), Subject("s-a"), 5, 10), RevokeJti(TenantId("a"), "j", 20)])
    assert list(state.entries(now_s=10)) == list(state.entries())
    assert list(state.entries(now_s=11)) == [RevokeJti(TenantId("a"), "j", 20)]
    assert list(state.entries(now_s=21)) == []
