"""The scheduling engine on a clock set by hand: nothing sleeps here."""

from dataclasses import replace

import pytest
from bandroom.beats import spelling
from bandroom.beats.engine import Engine, RoomKey, late_limit_us
from bandroom.music.edits import EditError, continue_, set_meter, set_tempo, start, stop
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import Beat, MeterChange, Segment, TempoMap
from bandroom.testing import ManualClock
from bandroom.wire.tempo import to_message
from hypothesis import given, settings
from hypothesis import strategies as st

T0 = 1_790_000_000_000_000
KEY = ("lincoln", "MUSIC-1234")
FOUR = Meter.parse("4/4")


class Log:
    """Stands where packets go: what was encoded is remembered by its packet, what was sent by `drive`."""

    def __init__(self) -> None:
        self.beats: dict[bytes, tuple[RoomKey, int, Beat]] = {}
        self.sent: list[tuple[int, RoomKey, int, Beat]] = []

    def encode(self, key: RoomKey, rev: int, beat: Beat) -> bytes:
        packet = f"{key} {rev} {beat}".encode()
        self.beats[packet] = (key, rev, beat)
        return packet

    def note(self, now_us: int, packet: bytes) -> None:
        self.sent.append((now_us, *self.beats[packet]))


def running(rev: int = 2, bpm: float = 120.0, now_us: int = T0, meter: Meter = FOUR) -> TempoMap:
    return start(TempoMap.initial(1, now_us, bpm, meter), rev, now_us, "now", count_in=0).map


def made() -> tuple[Engine, Log, ManualClock]:
    log = Log()
    return Engine(log.encode), log, ManualClock(T0)


def serve(engine: Engine, log: Log, now_us: int) -> int:
    """What the worker does when it wakes: send all that is due, then prepare; how many were sent."""
    sent = 0
    while True:
        batch = engine.take_due(now_us)
        for room in batch:
            log.note(now_us, room.packet)
        sent += len(batch)
        if batch:
            continue
        if not engine.unprepared:
            return sent
        engine.prepare()


def drive(engine: Engine, log: Log, clock: ManualClock, until_us: int, late_us: int = 0) -> None:
    """Wake `late_us` after each due time until `until_us`."""
    while (due_us := engine.next_due_us()) is not None and due_us <= until_us:
        clock.set(max(clock.now_us(), due_us + late_us))
        serve(engine, log, clock.now_us())
    clock.set(max(clock.now_us(), until_us))


def numbers(log: Log) -> list[int]:
    return [beat.n for _, _, _, beat in log.sent]


@pytest.mark.rule("BEAT-1")
@pytest.mark.rule("BEAT-2")
@pytest.mark.rule("TEMPO-1")
def test_every_beat_at_its_time_and_none_before() -> None:
    """Ten seconds at 120: twenty beats, numbered without gaps, each when the map says."""
    engine, log, clock = made()
    tempo_map = running()
    engine.set_map(KEY, tempo_map, T0)
    assert engine.take_due(T0 + 149_999) == []
    drive(engine, log, clock, T0 + 10_000_000)
    assert numbers(log) == list(range(20))
    assert all(now == beat.t == T0 + 150_000 + 500_000 * beat.n for now, _, _, beat in log.sent)


def test_lateness_does_not_add_up() -> None:
    """Waking 40 ms late every time leaves beat 7,200 as late as beat 0: nothing is reckoned from the last beat."""
    engine, log, clock = made()
    engine.set_map(KEY, running(), T0)
    drive(engine, log, clock, T0 + 3_600_000_000, late_us=40_000)
    assert {now - beat.t for now, _, _, beat in log.sent} == {40_000}
    assert numbers(log) == list(range(7200))
    assert engine.counters.late == 0


@pytest.mark.rule("BEAT-2")
def test_a_pause_of_three_seconds_drops_instead_of_replaying() -> None:
    """Of the beats that fell due during a stop of three seconds, none comes late; each is counted; numbers go on."""
    engine, log, clock = made()
    engine.set_map(KEY, running(), T0)
    drive(engine, log, clock, T0 + 2_000_000)
    before = numbers(log)
    clock.advance(3_000_000 + 130_000)
    assert serve(engine, log, clock.now_us()) == 0
    drive(engine, log, clock, T0 + 8_000_000)
    after = numbers(log)[len(before) :]
    assert before == [0, 1, 2, 3]
    assert after[0] == 10
    assert after == list(range(10, 16))
    assert engine.counters.late == 6


def test_beats_that_a_map_passes_over_are_passed_over() -> None:
    """A map that stands still and goes on further ahead: the beats between are never due, and are no drops."""
    engine, log, clock = made()
    first_us, again_us = T0 + 150_000, T0 + 5_000_000
    seg = (Segment(0, first_us, 500_000), Segment(3840, first_us + 2_000_000, 0), Segment(7680, again_us, 500_000))
    engine.set_map(KEY, TempoMap(2, seg, (MeterChange(0, 0, 1, FOUR),)), T0)
    drive(engine, log, clock, again_us + 500_000)
    assert numbers(log) == [0, 1, 2, 3, 8, 9]
    assert log.sent[4][0] == again_us
    assert engine.counters.late == 0


def test_a_sleep_of_a_day_costs_one_step() -> None:
    """However long it was away, a room is back at its next beat at once, and what was missed is counted."""
    engine, log, clock = made()
    engine.set_map(KEY, running(), T0)
    clock.advance(24 * 3600 * 1_000_000 + 1)
    serve(engine, log, clock.now_us())
    assert engine.unprepared == 0
    due_us = engine.next_due_us()
    assert due_us is not None
    assert 0 < due_us - clock.now_us() <= 500_000
    assert engine.counters.late + len(log.sent) == 24 * 3600 * 2


@pytest.mark.rule("BEAT-2")
def test_the_limit_of_lateness_is_the_contract_s() -> None:
    """A beat may be 100 ms late, at a fast tempo half its interval; one microsecond more and it is dropped."""
    for bpm, limit_us in ((120.0, 100_000), (400.0, 75_000), (20.0, 100_000)):
        for extra_us, sent in ((0, 1), (1, 0)):
            engine, log, _ = made()
            engine.set_map(KEY, running(bpm=bpm), T0)
            serve(engine, log, T0 + 150_000 + limit_us + extra_us)
            assert len(log.sent) == sent, (bpm, extra_us)
            assert engine.counters.late == 1 - sent
    assert late_limit_us(0) == 100_000


def test_a_stopped_room_costs_nothing() -> None:
    """A room that stands still is not in the heap, and stopping a running one takes it out."""
    engine, log, clock = made()
    engine.set_map(KEY, TempoMap.initial(1, T0, 120, FOUR), T0)
    assert (engine.next_due_us(), engine.running, len(engine)) == (None, 0, 1)
    tempo_map = running()
    engine.set_map(KEY, tempo_map, T0)
    assert engine.running == 1
    drive(engine, log, clock, T0 + 1_000_000)
    stopped = stop(tempo_map, 3, clock.now_us()).map
    engine.set_map(KEY, stopped, clock.now_us())
    drive(engine, log, clock, T0 + 60_000_000)
    assert engine.running == 0
    assert engine.next_due_us() is None
    # The last beat says so, and none follows it.
    assert log.sent[-1][3].d == 0 or stopped.next_beat(log.sent[-1][3].t) is None


@pytest.mark.rule("TEMPO-2")
def test_the_highest_revision_wins_in_any_order() -> None:
    """An older or equal map that arrives later changes nothing and is counted."""
    engine, _, _ = made()
    slow, fast = running(rev=5, bpm=60), running(rev=6, bpm=200)
    assert engine.set_map(KEY, fast, T0)
    assert not engine.set_map(KEY, slow, T0)
    assert not engine.set_map(KEY, fast, T0)
    assert engine.counters.stale_maps == 2
    assert not engine.wants(KEY, 6)
    assert engine.wants(KEY, 7)


def test_a_room_heard_of_late_begins_with_the_next_beat() -> None:
    """A new worker sends nothing that fell due before it knew the room: the one before it may have sent that."""
    engine, log, clock = made()
    clock.advance(10_150_000)  # beat 20 is due in this very microsecond
    engine.set_map(KEY, running(), clock.now_us())
    assert serve(engine, log, clock.now_us()) == 0
    drive(engine, log, clock, T0 + 12_000_000)
    assert numbers(log) == [21, 22, 23]
    assert engine.counters.late == 0


@pytest.mark.rule("BEAT-1")
@pytest.mark.rule("TEMPO-4")
def test_continue_goes_on_where_it_stopped_and_start_goes_back() -> None:
    """After stop and continue the numbers go on; only a start begins again, though the number is one already sent."""
    engine, log, clock = made()
    tempo_map = running()
    engine.set_map(KEY, tempo_map, T0)
    drive(engine, log, clock, T0 + 1_200_000)
    tempo_map = stop(tempo_map, 3, clock.now_us()).map
    engine.set_map(KEY, tempo_map, clock.now_us())
    drive(engine, log, clock, T0 + 5_000_000)
    stopped_after = len(log.sent)
    tempo_map = continue_(tempo_map, 4, clock.now_us()).map
    engine.set_map(KEY, tempo_map, clock.now_us())
    drive(engine, log, clock, T0 + 7_000_000)
    assert numbers(log) == list(range(len(log.sent)))
    assert len(log.sent) > stopped_after
    tempo_map = stop(tempo_map, 5, clock.now_us()).map
    engine.set_map(KEY, tempo_map, clock.now_us())
    drive(engine, log, clock, T0 + 9_000_000)
    tempo_map = start(tempo_map, 6, clock.now_us(), count_in=1).map
    engine.set_map(KEY, tempo_map, clock.now_us())
    again_from = len(log.sent)
    drive(engine, log, clock, T0 + 13_000_000)
    assert numbers(log)[again_from : again_from + 6] == [-4, -3, -2, -1, 0, 1]


def test_a_beat_that_was_sent_is_not_sent_again_a_microsecond_later() -> None:
    """An edit may round the time of a beat just sent to one microsecond later: its number does not go out twice."""
    engine, log, clock = made()
    tempo_map = running()
    engine.set_map(KEY, tempo_map, T0)
    drive(engine, log, clock, T0 + 150_000)
    (first,) = tempo_map.seg[-1:]
    moved = replace(first, t=first.t + 1)
    engine.set_map(KEY, TempoMap(3, (*tempo_map.seg[:-1], moved), tempo_map.met), clock.now_us())
    drive(engine, log, clock, T0 + 1_200_000)
    assert numbers(log) == [0, 1, 2]


def test_news_that_comes_too_late_doubles_no_beat() -> None:
    """A slower tempo learned of only after the next beat went out at the old one: that beat is not sent again."""
    engine, log, clock = made()
    tempo_map = running()
    engine.set_map(KEY, tempo_map, T0)
    drive(engine, log, clock, T0 + 200_000)
    slower = set_tempo(tempo_map, 3, clock.now_us(), 20, at="now").map
    drive(engine, log, clock, T0 + 700_000)
    engine.set_map(KEY, slower, clock.now_us())
    drive(engine, log, clock, T0 + 9_000_000)
    assert numbers(log) == [0, 1, 2, 3]
    assert log.sent[2][0] == slower.beat(2).t  # type: ignore[union-attr]


def test_a_removed_room_falls_silent_at_once() -> None:
    """A beat that was ready is not sent for a room that is gone; the same room may come back."""
    engine, log, clock = made()
    engine.set_map(KEY, running(), T0)
    engine.remove(KEY)
    drive(engine, log, clock, T0 + 5_000_000)
    assert log.sent == []
    assert (len(engine), engine.running) == (0, 0)
    engine.set_map(KEY, running(), clock.now_us())
    drive(engine, log, clock, T0 + 6_000_000)
    assert numbers(log) == [10, 11]


def test_reading_the_record_forgets_what_is_in_neither() -> None:
    """After a reading, rooms named neither by the record nor by a message since its beginning are gone."""
    engine, _, _ = made()
    for room in ("AA-0001", "AA-0002", "AA-0003"):
        engine.set_map(("t", room), running(), T0)
    engine.begin_reading()
    assert not engine.wants(("t", "AA-0001"), 2)
    engine.set_map(("t", "AA-0002"), running(rev=9), T0)
    engine.set_map(("t", "AA-0004"), running(), T0)
    assert engine.end_reading() == [("t", "AA-0003")]
    assert len(engine) == 3


def test_edits_far_ahead_do_not_make_it_grow() -> None:
    """Ten thousand edits of a room whose next beat is far away leave a heap of a few entries."""
    engine, _, _ = made()
    tempo_map = running(bpm=20)
    for rev in range(2, 10_000):
        engine.set_map(KEY, TempoMap(rev, tempo_map.seg, tempo_map.met), T0)
    assert len(engine._heap) < 200  # pyright: ignore[reportPrivateUsage]


def test_arithmetic_waits_until_all_is_sent() -> None:
    """A thousand rooms due together are all handed out before the next beat of any of them is worked out."""
    engine, log, _ = made()
    tempo_map = running()
    for index in range(1000):
        engine.set_map(("t", f"AA-{index:04d}"), tempo_map, T0)
    encoded = len(log.beats)
    due_us = T0 + 150_000
    handed = 0
    while batch := engine.take_due(due_us, 100):
        handed += len(batch)
        assert len(log.beats) == encoded
    assert handed == 1000
    assert engine.unprepared == 1000
    while engine.prepare(64):
        pass
    assert engine.next_due_us() == due_us + 500_000


# -- laws over random histories

METERS = st.sampled_from([Meter.parse(text) for text in ("4/4", "3/4", "6/8", "7/8:2+2+3", "2/2")])
STEP = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 4_000_000)),
    st.tuples(st.just("pause"), st.integers(1, 6_000_000)),
    st.tuples(st.just("tempo"), st.floats(20, 400)),
    st.tuples(st.just("meter"), METERS),
    st.tuples(st.sampled_from(["stop", "continue", "start", "reread", "late news"]), st.integers(0, 1_000_000)),
)


def edited(tempo_map: TempoMap, what: str, value: object, now_us: int) -> TempoMap:
    rev = tempo_map.rev + 1
    try:
        match what, value:
            case "tempo", float(bpm):
                return set_tempo(tempo_map, rev, now_us, bpm, at="now").map
            case "meter", Meter():
                return set_meter(tempo_map, rev, now_us, value).map
            case "stop", _:
                return stop(tempo_map, rev, now_us).map
            case "continue", _:
                return continue_(tempo_map, rev, now_us).map
            case "start", _:
                return start(tempo_map, rev, now_us).map
            case _:
                return tempo_map
    except EditError:
        return tempo_map


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=25), st.booleans(), st.integers(0, 60_000))
def test_laws_of_the_engine(steps: list[tuple[str, object]], over_the_wire: bool, late_us: int) -> None:
    """Over random edits, pauses and news that come late: never early, never later than the limit, in order of due
    time, no (rev, n) twice, and no number again while the room kept running."""
    engine, log, clock = made()
    tempo_map = running()

    def tell() -> None:
        told = spelling.tempo_map(to_message(tempo_map).encode()) if over_the_wire else tempo_map
        engine.set_map(KEY, told, clock.now_us())

    tell()
    starts: list[int] = []
    for what, value in steps:
        match what, value:
            case "wait", int(us):
                drive(engine, log, clock, clock.now_us() + us, late_us)
            case "pause", int(us):
                clock.advance(us)
                serve(engine, log, clock.now_us())
            case "reread", _:
                engine.begin_reading()
                if engine.wants(KEY, tempo_map.rev):
                    tell()
                assert engine.end_reading() == []
            case "late news", int(us):
                tempo_map = edited(tempo_map, "tempo", 30.0 + us % 300, clock.now_us())
                drive(engine, log, clock, clock.now_us() + us, late_us)
                tell()
            case _:
                new = edited(tempo_map, what, value, clock.now_us())
                if what == "start" and new is not tempo_map:
                    starts.append(len(log.sent))
                tempo_map = new
                tell()
    drive(engine, log, clock, clock.now_us() + 3_000_000, late_us)
    assert all(beat.t <= now <= beat.t + late_limit_us(beat.d) for now, _, _, beat in log.sent)
    dues = [beat.t for *_, beat in log.sent]
    assert dues == sorted(set(dues))
    names = [(rev, beat.n) for _, _, rev, beat in log.sent]
    assert len(names) == len(set(names))
    for index in range(1, len(log.sent)):
        if index not in starts:
            assert log.sent[index][3].n > log.sent[index - 1][3].n
