"""What each edit does, by example, and what it refuses."""

import math

import pytest
from bandroom.music import edits
from bandroom.music.edits import EditError
from bandroom.music.meter import Meter
from bandroom.music.segment import Segment
from bandroom.music.tap import Taps, tap_bpm
from bandroom.music.tempo_map import MeterChange, TempoMap
from bandroom.music.units import LEAD_US

T0 = 1_763_800_000_000_000
FOUR = Meter.parse("4/4")


def playing(bpm: float = 120, meter: str = "4/4") -> TempoMap:
    """A map whose beat 0 is due at T0 + 150 ms."""
    return edits.start(TempoMap.initial(1, T0, bpm, Meter.parse(meter)), 2, T0, count_in=0).map


def due(m: TempoMap, n: int) -> int:
    beat = m.beat(n)
    assert beat is not None
    return beat.t


def test_nearest_boundary_that_is_150_ms_ahead():
    """149,999 µs before a beat the change waits for the beat after; 150,000 µs before it does not."""
    m = playing()
    assert edits.set_tempo(m, 3, due(m, 7) - LEAD_US, 90, "beat").n == 7
    assert edits.set_tempo(m, 3, due(m, 7) - LEAD_US + 1, 90, "beat").n == 8
    assert edits.set_tempo(m, 3, due(m, 8) - LEAD_US, 90, "bar").n == 8
    assert edits.set_tempo(m, 3, due(m, 8) - LEAD_US + 1, 90, "bar").n == 12
    assert edits.set_tempo(m, 3, due(m, 8) - LEAD_US + 1, 90, 8).n == 9
    assert edits.set_tempo(m, 3, due(m, 8) - LEAD_US + 1, 90, "now").t < due(m, 8) + 1_000


def test_several_pending_changes_and_one_replaced():
    """Changes at beats 8, 16 and 24 are pending together; another at 16 replaces that one and moves the third."""
    m = playing()
    for rev, (n, bpm) in enumerate([(8, 100), (24, 80), (16, 90)], start=3):
        m = edits.set_tempo(m, rev, T0, bpm, n).map
    m = edits.set_tempo(m, 6, T0, 60, 16).map
    assert [m.beat(n).bpm for n in (7, 8, 15, 16, 23, 24)] == [120.0, 100.0, 100.0, 60.0, 60.0, 80.0]
    assert due(m, 24) - due(m, 16) == 8_000_000


def test_cancel_one_or_all():
    """One pending change is taken back by its beat, all at once without; the rest is as if it had not been."""
    m = playing()
    a = edits.set_tempo(m, 3, T0, 100, 8).map
    b = edits.set_tempo(a, 4, T0, 90, 16).map
    c = edits.set_meter(b, 5, T0, Meter.parse("3/4"), 12).map
    assert edits.cancel(c, 6, T0, 12).map.seg == b.seg
    assert edits.cancel(b, 6, T0, 16).map.seg == a.seg
    assert edits.cancel(b, 6, T0, 8).map.beat(16).bpm == 90.0
    gone = edits.cancel(c, 6, T0 + 600_000).map
    assert (gone.seg, gone.met) == (m.seg, m.met)
    assert edits.cancel(m, 7, T0 + LEAD_US).map is m


def test_cancel_refuses_what_is_not_pending():
    """Nothing there: not_found. Due within 150 ms: too_late."""
    m = edits.set_tempo(playing(), 3, T0, 100, 8).map
    with pytest.raises(EditError) as nothing:
        edits.cancel(m, 4, T0, 9)
    assert nothing.value.code == "not_found"
    with pytest.raises(EditError) as late:
        edits.cancel(m, 4, due(m, 8) - 100_000, 8)
    assert late.value.code == "too_late"
    with pytest.raises(EditError) as over:
        edits.cancel(m, 4, due(m, 8) + 1, 8)
    assert over.value.code == "not_found"


def test_cancelled_start_stands_still_and_drops_what_followed():
    """Without its start, a planned tempo change at beat 8 has nothing to happen in."""
    m = edits.start(TempoMap.initial(1, T0, 120, FOUR), 2, T0, count_in=2).map
    m = edits.set_tempo(m, 3, T0, 100, 8).map
    still = edits.cancel(m, 4, T0, -8).map
    assert len(still.seg) == 1
    assert still.next_beat(T0) is None


def test_stop_continue_and_the_stop_taken_back():
    """Stop leaves out the beat that it names; continue before that takes the stop back without a trace."""
    m = playing()
    stopped = edits.stop(m, 3, due(m, 5) + 10)
    assert (stopped.n, stopped.map.beat(5).d, stopped.map.beat(6)) == (6, 0, None)
    back = edits.continue_(stopped.map, 4, due(m, 5) + 20)
    assert (back.map.seg, back.n, back.t) == (m.seg, 6, due(m, 6))
    again = edits.continue_(stopped.map, 4, due(m, 6) + 7_000_000)
    assert (again.n, again.t) == (6, due(m, 6) + 7_000_000 + LEAD_US)
    assert again.map.beat(5).d == again.t - due(m, 5)
    assert edits.continue_(again.map, 5, again.t).map is again.map
    assert edits.stop(stopped.map, 5, stopped.t + 1).map is stopped.map


def test_tempo_set_while_stopped_is_the_one_it_goes_on_with():
    """A room that stands still remembers tempo and meter, old or new, for continue and for start."""
    m = edits.stop(playing(), 3, T0 + 4_000_000).map
    now = T0 + 20_000_000
    edit = edits.set_tempo(m, 4, now, 77)
    assert (edit.t, edit.map.bpm_at(now)) == (now, 77.0)
    assert edits.continue_(edit.map, 5, now).map.beat(edit.n).bpm == 77.0
    assert edits.start(edit.map, 5, now).map.beat(0).bpm == 77.0
    met = edits.set_meter(edit.map, 5, now, Meter.parse("3/4")).map
    assert edits.start(met, 6, now).map.beat(3).bar == 2
    assert edits.set_tempo(m, 4, now, 120).map is m


def test_a_pause_follows_a_change_before_it_unless_told_otherwise():
    """A stop is pending when the tempo before it changes: the music goes on at the new tempo afterwards."""
    m = edits.stop(playing(), 3, T0, 16).map
    m = edits.set_tempo(m, 4, T0, 100, 8).map
    assert m.seg[-1].tempo_uq == 600_000
    m = edits.set_tempo(m, 5, T0, 60, "bar").map
    assert [m.beat(n).bpm for n in (4, 8)] == [60.0, 100.0]
    assert m.seg[-1].tempo_uq == 600_000


def test_start_while_playing_is_a_conflict():
    """Beat numbers rise within a map, so a room that plays is stopped before it starts anew."""
    m = playing()
    for now in (T0 + 1, T0 + 1_000_000):
        with pytest.raises(EditError) as refused:
            edits.start(m, 3, now)
        assert refused.value.code == "conflict"
    stopping = edits.stop(m, 3, T0 + 1_000_000)
    with pytest.raises(EditError):
        edits.start(stopping.map, 4, T0 + 1_000_000 - 600_000)
    soon = edits.start(stopping.map, 4, stopping.t - 100)
    assert (soon.n, soon.t) == (-4, stopping.t - 100 + LEAD_US)


@pytest.mark.parametrize(("kind", "seconds"), [("time", 12 * 60 / 90), ("beats", 12 * math.log(2) / (60 / 60))])
def test_ramps_take_the_time_that_they_should(kind: str, seconds: float):
    """12 beats from 60 to 120 bpm: at 90 on average when linear in time, 12·ln 2 s when linear in beats."""
    m = playing(60)
    edit = edits.set_tempo(m, 3, T0, 120, 4, ramp=kind, over=12)  # type: ignore[arg-type]
    assert due(edit.map, 16) - edit.t == pytest.approx(seconds * 1e6, abs=1)
    assert due(edit.map, 20) - due(edit.map, 16) == pytest.approx(2_000_000, abs=1)
    half_time = edit.map.bpm_at(edit.t + (due(edit.map, 16) - edit.t) // 2)
    half_way = edit.map.beat(10).bpm
    assert (half_time if kind == "time" else half_way) == pytest.approx(90, abs=0.001)


@pytest.mark.parametrize("kind", ["time", "beats"])
def test_a_ramp_falls_back_to_constant_as_its_slope_goes_to_nought(kind: str):
    """The flatter the ramp, the nearer to a constant tempo, without a division by nothing on the way."""
    constant = Segment(0, 0, 500_000)
    for uq1 in (500_000, 500_001, 499_999, 500_010):
        ramp = Segment(0, 0, 500_000, uq1, 96_000, kind)  # type: ignore[arg-type]
        off = abs(ramp.time_of(96_000) - constant.time_of(96_000))
        assert off <= 60 * abs(uq1 - 500_000)
        assert ramp.ticks_at(ramp.us_at(48_000)) == pytest.approx(48_000, abs=1e-3)


def test_a_pending_ramp_begins_at_the_tempo_that_it_finds():
    """A change before a pending ramp moves where the ramp starts from, so the tempo never jumps there."""
    m = edits.set_tempo(playing(), 3, T0, 160, 16, ramp="beats", over=8).map
    m = edits.set_tempo(m, 4, T0, 80, 8).map
    assert m.beat(16).bpm == 80.0
    assert m.beat(24).bpm == pytest.approx(160, abs=0.001)


def test_a_meter_may_bring_its_own_tempo():
    """6/8 at 80 dotted quarters, from the bar line on; without a bpm the quarter would have kept its own."""
    m = edits.set_meter(playing(), 3, T0, Meter.parse("6/8"), 8, bpm=90).map
    assert [(m.beat(n).bpm, m.beat(n).pos) for n in (7, 8, 9, 10)] == [(120.0, 4), (90.0, 1), (90.0, 2), (90.0, 1)]


def test_a_count_in_keeps_its_meter_when_the_song_gets_another():
    """A meter change at the song's first beat leaves the count-in before it as it was promised."""
    m = edits.start(TempoMap.initial(1, T0, 120, FOUR), 2, T0).map
    m = edits.set_meter(m, 3, T0, Meter.parse("6/8"), 0).map
    assert [(m.beat(n).bar, m.beat(n).pos) for n in range(-4, 4)] == [
        (0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 2), (2, 1), (2, 2),
    ]  # fmt: skip
    assert edits.set_meter(m, 4, T0, Meter.parse("3/4"), "beat").n == 0
    with pytest.raises(EditError, match="bar line"):
        edits.set_meter(m, 4, T0, Meter.parse("3/4"), -4)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda m: edits.set_tempo(m, 3, T0, 19.99), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, 400.01), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, math.nan), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, math.inf), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, True), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, 100, "soon"), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, 100, True), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, 100, 10**30), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, 100, 10**8), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, 100, ramp="time"), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, 100, ramp="log", over=4), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, 100, ramp="time", over=0), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0, 100, ramp="time", over=math.nan), "bad_request"),
        (lambda m: edits.set_tempo(m, 3, T0 + 10_000_000, 100, 3), "too_late"),
        (lambda m: edits.set_meter(m, 3, T0, Meter.parse("3/4"), 5), "bad_request"),
        (lambda m: edits.set_meter(m, 3, T0, Meter.parse("4/4@32"), bpm=None), "bad_request"),
        (lambda m: edits.stop(m, 3, T0, 10**30), "bad_request"),
        (lambda m: edits.start(m, 3, T0, 4), "bad_request"),
        (lambda m: edits.start(m, 3, T0, count_in=9), "bad_request"),
        (lambda m: edits.continue_(m, 3, T0, 4), "bad_request"),
        (lambda m: edits.tap(m, 3, T0, [T0, T0 + 1]), "bad_request"),
    ],
)
def test_what_cannot_be_is_refused_with_a_code(call, code: str):
    """A bad value, a beat that is over, a place that is no bar line: an EditError, never another exception."""
    with pytest.raises(EditError) as refused:
        call(playing())
    assert refused.value.code == code
    assert refused.value.text


def test_at_most_sixteen_changes_are_pending():
    """The seventeenth is refused with `limit`, and the map is as it was."""
    m = edits.continue_(TempoMap.initial(1, T0, 120, FOUR), 2, T0).map
    for i in range(15):
        m = edits.set_tempo(m, 3 + i, T0, 100 + i, 4 + 4 * i).map
    with pytest.raises(EditError) as refused:
        edits.set_tempo(m, 99, T0, 200, 99)
    assert refused.value.code == "limit"


def test_a_stop_before_a_planned_beat_is_a_conflict():
    """A change at a beat that is never reached as things stand is refused, and says so."""
    m = edits.stop(playing(), 3, T0, 8).map
    with pytest.raises(EditError) as refused:
        edits.set_tempo(m, 4, T0, 100, 12)
    assert refused.value.code == "conflict"


def test_a_revision_must_rise():
    """The caller's mistake, not the user's: a plain ValueError."""
    with pytest.raises(ValueError, match="does not follow"):
        edits.stop(playing(), 2, T0)


@pytest.mark.parametrize("gap", [150_000, 333_333, 500_000, 2_999_000])
def test_taps_make_a_tempo(gap: int):
    """Taps that are 15 ms off, with one missed and one bounced, still give the tempo within 2 %."""
    wobble = [0, 9_000, -15_000, 4_000, 12_000, -8_000, 3_000, -2_000]
    times = [T0 + i * gap + w * gap // 500_000 for i, w in enumerate(wobble)]
    assert tap_bpm(times) == pytest.approx(60e6 / gap, rel=0.02)
    if gap < 1_000_000:
        assert tap_bpm([*times[:4], *times[5:]]) == pytest.approx(60e6 / gap, rel=0.02)
    assert tap_bpm([*times[:4], times[3] + gap // 20, *times[4:]]) == pytest.approx(60e6 / gap, rel=0.02)


def test_taps_are_counted_anew_after_a_pause():
    """A try of yesterday does not spoil that of today; the newest 16 taps count."""
    taps = Taps()
    for t in (T0, T0 + 400_000, T0 + 800_000):
        taps = taps.add(t)
    assert taps.bpm == 150.0
    for i in range(40):
        taps = taps.add(T0 + 60_000_000 + i * 600_000)
    assert taps.bpm == 100.0
    assert len(taps.times_us) == 16
    m = edits.tap(playing(), 3, T0 + 2_000_000, taps.times_us)
    assert m.map.beat(m.n).bpm == 100.0


@pytest.mark.parametrize(
    ("seg", "met"),
    [
        ([Segment(0, 10, 500_000), Segment(960, 500_020, 400_000)], [MeterChange(0, 0, 1, FOUR)]),
        ([Segment(0, 10, 500_000), Segment(-960, 500_010, 400_000)], [MeterChange(0, 0, 1, FOUR)]),
        ([Segment(0, 10, 0), Segment(0, 20, 0)], [MeterChange(0, 0, 1, FOUR)]),
        ([Segment(0, 10, 0), Segment(0, 5, 500_000)], [MeterChange(0, 0, 1, FOUR)]),
        ([Segment(0, 10, 0)], [MeterChange(0, 0, 1, FOUR), MeterChange(3, 2880, 2, FOUR)]),
        ([Segment(0, 10, 0)], [MeterChange(0, 0, 1, FOUR), MeterChange(4, 3841, 2, FOUR)]),
        ([], [MeterChange(0, 0, 1, FOUR)]),
        ([Segment(0, 10, 0)], []),
    ],
)
def test_a_map_that_contradicts_itself_cannot_be_made(seg: list[Segment], met: list[MeterChange]):
    """Times that don't follow from the tempo, positions that go back, meters off the bar line: ValueError."""
    with pytest.raises(ValueError, match=r"map|segment|meter"):
        TempoMap(1, tuple(seg), tuple(met))


@pytest.mark.parametrize(
    "args",
    [(0, 0, 500_000, 400_000), (0, 0, 0, 1), (0, 0, 5), (0, -1, 0), (0, 0, 500_000, 400_000, 0, "time"),
     (0, 0, 500_000, 400_000, 10, "log"), (0, 0, 0, 500_000, 10, "time")],
)  # fmt: skip
def test_a_segment_that_makes_no_sense_cannot_be_made(args: tuple):
    """Half a ramp, a ramp of no length, a ramp out of standing still, a tempo out of this world: ValueError."""
    with pytest.raises(ValueError, match="segment"):
        Segment(*args)
