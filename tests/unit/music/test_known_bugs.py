"""What other programs get wrong about tempo, each shown not to happen here."""

from itertools import pairwise

import pytest
from bandroom.music import edits
from bandroom.music.meter import Meter
from bandroom.music.tempo_map import Beat, TempoMap
from bandroom.music.units import LEAD_US, PPQ

T0 = 1_763_800_000_000_000


def playing(bpm: float = 120, meter: str = "4/4") -> TempoMap:
    """A map whose beat 0 is due at T0 + 150 ms."""
    return edits.start(TempoMap.initial(1, T0, bpm, Meter.parse(meter)), 2, T0, count_in=0).map


def beat(m: TempoMap, n: int) -> Beat:
    found = m.beat(n)
    assert found is not None
    return found


def test_a_tempo_change_keeps_the_phase():
    """A timer that restarts on a change loses what had passed of the beat; here that part stays passed."""
    m = playing(60)
    now = beat(m, 3).t + 600_000
    edit = edits.set_tempo(m, 3, now, 120, "now")
    at = edit.map.position_at(edit.t)
    assert at == pytest.approx(m.position_at(edit.t), abs=0.01)
    assert at % PPQ == pytest.approx(0.75 * PPQ, abs=1)
    # A quarter of the beat is left, and goes by at the new tempo.
    assert beat(edit.map, 4).t - edit.t == pytest.approx(125_000, abs=600)


def test_a_change_does_not_wait_for_the_slow_beat_to_pass():
    """From 20 to 400 bpm in the middle of a beat of 3 s: the next beat comes sooner than the old one was due."""
    m = playing(20)
    now = beat(m, 2).t + 100_000
    edit = edits.set_tempo(m, 3, now, 400, "now")
    assert beat(edit.map, 3).t < now + 600_000
    assert beat(m, 3).t > now + 2_800_000


def test_the_fraction_of_a_beat_is_musical_not_seconds():
    """Half a beat stays half a beat through a change, whatever its length in seconds."""
    m = playing(60)
    now = beat(m, 5).t + 350_000
    edit = edits.set_tempo(m, 3, now, 240, "now")
    assert edit.map.position_at(edit.t) / PPQ == pytest.approx(5.5, abs=0.002)
    assert beat(edit.map, 6).t - edit.t == pytest.approx(125_000, abs=600)


@pytest.mark.parametrize("at", ["bar", 16])
def test_no_bar_has_two_tempi(at: str | int):
    """A change at a bar line leaves the bars on both sides whole, though it is asked for in mid-bar."""
    m = playing(100)
    m = edits.set_tempo(m, 3, beat(m, 9).t + 5, 140, at).map
    bars: dict[int, set[float]] = {}
    for n in range(40):
        b = beat(m, n)
        bars.setdefault(b.bar, set()).add(b.bpm)
    assert all(len(tempi) == 1 for tempi in bars.values())
    assert {100.0, 140.0} == set.union(*bars.values())


def test_beat_zero_is_exactly_zero():
    """Beat 0 is at tick 0, at its own time, found by a search from just before it, and not from it."""
    for bpm in (20, 97.3, 133.33, 399.9):
        m = playing(bpm)
        zero = m.next_beat(T0 + LEAD_US - 1)
        assert zero is not None
        assert (zero.n, zero.bar, zero.pos, zero.t) == (0, 1, 1, T0 + LEAD_US)
        assert m.position_at(zero.t) == 0.0
        after = m.next_beat(zero.t)
        assert after is not None
        assert after.n == 1


@pytest.mark.parametrize("bpm", [20, 61.7, 120, 133.33, 399.7])
def test_asking_at_a_beats_own_time_finds_that_beat(bpm: float):
    """A beat reached as 0.999999 or 1.000001 would be missed or doubled: position and time agree to the tick."""
    m = playing(bpm)
    for n in range(0, 50_000, 997):
        b = beat(m, n)
        assert m.beat_at_or_before(b.t) == b
        assert m.next_beat(b.t - 1) == b
        assert round(m.position_at(b.t) / PPQ, 4) == n


def test_a_midi_clock_counter_starts_anew_on_start():
    """24 clocks a quarter derived from the position: on start the first clock is at beat 0, not six clocks on."""
    m = playing(120)
    now = beat(m, 1).t + 77_000
    m = edits.stop(m, 3, now, "now").map
    assert m.position_at(now + 10_000_000) % (PPQ // 24)
    m = edits.start(m, 4, now + 10_000_000, count_in=0).map
    first = beat(m, 0).t
    clocks = [m.time_at(i * PPQ // 24) for i in range(25)]
    assert clocks[0] == first
    assert clocks[24] == beat(m, 1).t
    gaps = [b - a for a, b in pairwise(t for t in clocks if t is not None)]
    assert max(gaps) - min(gaps) <= 1


def test_a_meter_change_keeps_the_count():
    """Through 4/4, 3/4, 6/8 and 7/8 beat numbers go on one by one, and every bar is full."""
    m = playing(120)
    for rev, (n, meter) in enumerate([(8, "3/4"), (14, "6/8"), (18, "7/8:2+2+3")], start=3):
        m = edits.set_meter(m, rev, T0, Meter.parse(meter), n).map
    seen = [(b.n, b.bar, b.pos) for b in (beat(m, n) for n in range(32))]
    assert [n for n, _, _ in seen] == list(range(32))
    per_bar = [sum(bar == i for _, bar, _ in seen) for i in range(1, 9)]
    assert per_bar == [4, 4, 3, 3, 2, 2, 7, 7]
    # The quarter keeps its tempo: dotted quarters are slower to count, eighths faster.
    assert [beat(m, n).bpm for n in (7, 13, 17, 18)] == [120.0, 120.0, 80.0, 240.0]


def test_no_drift_over_an_hour():
    """Beat 7,200 is as right as beat 1: no interval is ever added to the beat before."""
    m = playing(120)
    assert beat(m, 7_200).t == T0 + LEAD_US + 7_200 * 500_000
    uneven = playing(133)
    uq = uneven.seg[-1].uq
    t, after = uneven.seg[-1].t, T0
    for n in range(7_200):
        b = uneven.next_beat(after)
        assert b is not None
        assert b.t == t + n * uq
        # Whoever plays it is late by a few ms each time; the next one does not inherit that.
        after = b.t + 3_000


def test_a_late_caller_skips_and_does_not_replay():
    """Asked three seconds late, the map names the next beat on the same grid."""
    m = playing(120)
    b = m.next_beat(beat(m, 10).t + 3_000_001)
    assert b is not None
    assert b.n == 17
    assert b.t == T0 + LEAD_US + 17 * 500_000
