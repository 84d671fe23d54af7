"""Laws that hold whatever is done to a tempo map, and in whatever order."""

from contextlib import suppress
from itertools import pairwise

import pytest
from bandroom.music import edits
from bandroom.music.meter import Meter
from bandroom.music.segment import Segment
from bandroom.music.tempo_map import Beat, MeterChange, TempoMap
from bandroom.music.units import LEAD_US, uq_from_bpm
from bandroom.wire.tempo import to_message
from hypothesis import example, given, settings
from hypothesis import strategies as st

T0 = 1_763_800_000_000_000

meters = st.sampled_from(["4/4", "3/4", "6/8", "7/8:2+2+3", "5/4", "2/2", "12/8", "6/8@8", "1/4", "9/8:3+3+3", "4/4@8"])
bpms = st.floats(20, 400).map(lambda b: round(b, 2))
ats = st.sampled_from(["bar", "beat", "now"]) | st.integers(-8, 60)
waits = st.integers(0, 8_000_000) | st.sampled_from([0, 1, 149_999, 150_000, 150_001, 500_000, 60_000_000])
ramps = st.none() | st.tuples(st.sampled_from(["time", "beats"]), st.floats(0.25, 40).map(lambda x: round(x, 2)))

operations = st.one_of(
    st.tuples(st.just("start"), st.integers(0, 2), st.integers(0, 3)),
    st.tuples(st.just("stop"), ats),
    st.tuples(st.just("continue")),
    st.tuples(st.just("set_tempo"), bpms, ats, ramps),
    st.tuples(st.just("set_meter"), meters, ats, st.none() | bpms),
    st.tuples(st.just("cancel"), st.none() | st.integers(-8, 60)),
)
histories = st.lists(st.tuples(waits, operations), max_size=14)
firsts = st.tuples(bpms, meters)


def apply(m: TempoMap, rev: int, now_us: int, op: tuple) -> edits.Edit:
    match op:
        case ("start", count_in, pickup):
            return edits.start(m, rev, now_us, count_in=count_in, pickup=pickup)
        case ("stop", at):
            return edits.stop(m, rev, now_us, at)
        case ("continue",):
            return edits.continue_(m, rev, now_us)
        case ("set_tempo", bpm, at, ramp):
            kind, over = ramp or (None, None)
            return edits.set_tempo(m, rev, now_us, bpm, at, ramp=kind, over=over)
        case ("set_meter", text, at, bpm):
            return edits.set_meter(m, rev, now_us, Meter.parse(text), at, bpm=bpm)
        case ("cancel", n):
            return edits.cancel(m, rev, now_us, n)
    raise AssertionError(op)


def play(first, history):
    """Every (map before, edit, now) of a history; edits that are refused are left out."""
    now = T0
    m = TempoMap.initial(1, now, first[0], Meter.parse(first[1]))
    for rev, (wait, op) in enumerate(history, start=2):
        now += wait
        try:
            edit = apply(m, rev, now, op)
        except edits.EditError:
            continue
        yield m, edit, now, op
        m = edit.map


def last_map(first, history) -> tuple[TempoMap, int]:
    m, now = TempoMap.initial(1, T0, first[0], Meter.parse(first[1])), T0
    for _, edit, now, _ in play(first, history):  # noqa: B007
        m = edit.map
    return m, now


def beats_from(m: TempoMap, after_us: int, many: int = 40) -> list[Beat]:
    out: list[Beat] = []
    beat = m.next_beat(after_us)
    while beat is not None and len(out) < many:
        out.append(beat)
        beat = m.next_beat(beat.t)
    return out


@settings(deadline=None, max_examples=150)
@given(firsts, histories)
def test_beats_follow_each_other(first, history):
    """Beat numbers rise by one, times rise, `d` is the gap, bars fill up, and every way to ask agrees."""
    m, _ = last_map(first, history)
    beats = beats_from(m, m.seg[0].t - 1)
    for a, b in pairwise(beats):
        assert b.n == a.n + 1
        assert b.t > a.t
        assert a.d == b.t - a.t
        assert m.beat_at_or_before(b.t - 1) == a
        full = a.pos == m.meter_of(a.n).meter.beats_per_bar
        assert (b.bar, b.pos) == ((a.bar + 1, 1) if full else (a.bar, a.pos + 1))
    for b in beats:
        assert m.beat(b.n) == b
        assert m.next_beat(b.t - 1) == b
        assert m.beat_at_or_before(b.t) == b
        assert m.time_at(m.beat_ticks(b.n)) == b.t
        assert 20 <= b.bpm <= 400


@settings(deadline=None, max_examples=150)
@given(firsts, histories, st.lists(st.integers(0, 40_000_000), min_size=2, max_size=12))
def test_position_rises_while_running_and_stands_still_otherwise(first, history, offsets):
    """Position never goes back, moves exactly while running, and is a function of time alone."""
    m, _ = last_map(first, history)
    times = sorted({m.seg[0].t + o for o in offsets})
    for a, b in pairwise(times):
        if any(m.running_at(t) for t in (a, b - 1)) or any(s.uq and a <= s.t < b for s in m.seg):
            assert m.position_at(a) < m.position_at(b)
        else:
            assert m.position_at(a) == m.position_at(b)


@settings(deadline=None, max_examples=150)
@given(firsts, histories, st.lists(st.integers(-8000, 80_000), max_size=12))
def test_position_of_the_time_of_a_position_is_itself(first, history, ticks):
    """position(time(k)) == k within the microsecond to which times are rounded, on both kinds of ramp too."""
    m, _ = last_map(first, history)
    for k in [*ticks, *(s.k for s in m.seg), *(s.k + (s.len or 0) for s in m.seg)]:
        t = m.time_at(k)
        if t is None:
            continue
        slack = m.position_at(t + 1) - m.position_at(t)
        assert m.position_at(t) == pytest.approx(k, abs=slack + 1e-6)
        assert m.time_at(float(k)) == pytest.approx(t, abs=1)


@settings(deadline=None, max_examples=150)
@given(firsts, histories)
@example(
    first=(20.0, "4/4"),
    history=[
        (0, ("start", 0, 0)),
        (150_000, ("stop", "bar")),
        (0, ("set_meter", "3/4", "bar", None)),
        (0, ("cancel", None)),
    ],
)
@example(first=(120.0, "4/4"), history=[(0, ("start", 1, 0)), (0, ("set_meter", "6/8", 0, None))])
def test_an_edit_leaves_alone_what_comes_before_it(first, history):
    """Before the moment that an edit names, every beat stays: number, bar, place and time, to the microsecond."""
    for before, edit, now, op in play(first, history):
        t = edit.t
        assert edit.map is before or t >= now + LEAD_US or not before.running_at(t)
        since = max(before.seg[0].t, edit.map.seg[0].t, now - 10_000_000) - 1
        if op[0] == "start":
            since = now
        old = [b[:5] for b in beats_from(before, since) if b.t < t]
        new = [b[:5] for b in beats_from(edit.map, since) if b.t < t]
        assert old == new


@settings(deadline=None, max_examples=150)
@given(firsts, histories)
def test_an_edit_that_changes_nothing_is_the_same_map(first, history):
    """A map's own tempo and meter, set again, return the very same map; every other edit has a higher revision."""
    for before, edit, _, _ in play(first, history):
        assert edit.map is before or edit.map.rev > before.rev
        assert edit.map is before or (edit.map.seg, edit.map.met) != (before.seg, before.met)
    m, now = last_map(first, history)
    for at in ("now", "beat", "bar"):
        beat = m.next_beat(now + LEAD_US)
        last = m.seg[-1]
        if beat is None or last.len is not None or last.t > now or not last.uq:
            continue
        bpm = m.beat(beat.n + 100).bpm
        if uq_from_bpm(bpm, m.met[-1].meter.q) == last.uq and m.met[-1].k <= m.position_at(now):
            assert edits.set_tempo(m, m.rev + 1, now, bpm, at).map is m
            assert edits.set_meter(m, m.rev + 1, now, m.met[-1].meter, at).map is m


@settings(deadline=None, max_examples=150)
@given(firsts, histories)
def test_a_map_stays_small(first, history):
    """At most 8 segments and meter changes of the past and 16 of each to come, under 5 KB as a message."""
    for _, edit, now, _ in play(first, history):
        m = edit.map
        assert len(m.seg) <= 24
        assert len(m.met) <= 24
        assert sum(s.t <= now for s in m.seg) <= 8
        assert len(to_message(m).encode()) < 5_000


def test_a_busy_hour_keeps_the_map_small():
    """Ten thousand edits, a tempo change at every chance, leave a map of the same size as ten."""
    now = T0
    m = edits.start(TempoMap.initial(1, now, 120, Meter.parse("4/4")), 2, now).map
    for rev in range(3, 10_000):
        now += 360_000
        m = edits.set_tempo(m, rev, now, 100 + rev % 80, "now").map
        assert len(m.seg) <= 9
    assert beats_from(m, now)[0].n > 5000


@settings(deadline=None, max_examples=100)
@given(st.floats(20, 400), st.lists(st.integers(1, 2_000_000), max_size=400, unique=True))
def test_splitting_a_segment_moves_nothing_by_more_than_half_a_microsecond_each(bpm, cuts):
    """Each split rounds one time by at most half a microsecond: 400 splits can't add up to more than that each."""
    uq = uq_from_bpm(bpm)
    whole = Segment(0, T0, uq)
    parts = [whole]
    for k in sorted(cuts):
        parts.append(Segment(k, parts[-1].time_of(k), uq))
    m = TempoMap(1, tuple(parts), (MeterChange(0, 0, 1, Meter.parse("4/4")),))
    end = 4_000_000
    moved = abs((m.time_at(end) or 0) - whole.time_of(end))
    assert moved <= 0.5 * (len(parts) + 1)


@settings(deadline=None, max_examples=100)
@given(firsts, st.lists(st.tuples(st.integers(0, 2_000_000), bpms), min_size=1, max_size=30))
def test_edits_that_cancel_each_other_out_add_nothing(first, taps):
    """A change that is announced and taken back before it falls due leaves the grid as it was."""
    now = T0
    m = edits.continue_(TempoMap.initial(1, now, first[0], Meter.parse(first[1])), 2, now).map
    now += LEAD_US
    far = m.beat(500)
    for rev, (wait, bpm) in enumerate(taps):
        now += wait
        changed = edits.set_tempo(m, 3 + 2 * rev, now, bpm, "bar")
        m = edits.cancel(changed.map, 4 + 2 * rev, now).map
        assert m.beat(500) == far
        assert len(m.seg) == 2 or m.seg[0].uq


@settings(deadline=None, max_examples=100)
@given(firsts, st.integers(0, 20_000_000), st.integers(0, 5_000_000), st.sampled_from(["beat", "bar", "now"]))
def test_continue_goes_on_where_stop_stood_still(first, played, rested, at):
    """A stopped map stands still; continue sounds the very beat that stop left out, and numbers go on."""
    now = T0
    m = edits.start(TempoMap.initial(1, now, first[0], Meter.parse(first[1])), 2, now).map
    now += played
    stopped = edits.stop(m, 3, now, at)
    assert stopped.map.beat(stopped.n) is None
    now = stopped.t + rested
    place = stopped.map.position_at(now)
    assert place == stopped.map.position_at(stopped.t)
    assert stopped.map.next_beat(now) is None
    going = edits.continue_(stopped.map, 4, now)
    assert going.map.position_at(going.t) == place
    assert going.n == stopped.n
    nxt = going.map.next_beat(now)
    assert nxt is not None
    assert nxt.n == stopped.n
    if at != "now":
        assert nxt.t == going.t


@settings(deadline=None, max_examples=100)
@given(firsts, st.integers(0, 3), st.integers(0, 3))
def test_start_counts_in(first, count_in, pickup):
    """After `count_in` bars (and what the pick-up bar lacks) comes beat 0, on the pick-up if there is one."""
    meter = Meter.parse(first[1])
    if pickup >= meter.beats_per_bar:
        pickup = 0
    edit = edits.start(TempoMap.initial(1, T0, first[0], meter), 2, T0, count_in=count_in, pickup=pickup)
    beats = beats_from(edit.map, T0, 20)
    missing = meter.beats_per_bar - pickup if pickup and count_in else 0
    assert beats[0].n == edit.n == -(count_in * meter.beats_per_bar + missing)
    assert beats[0].t == edit.t == T0 + LEAD_US
    zero = edit.map.beat(0)
    assert zero is not None
    assert edit.map.beat_ticks(0) == 0
    assert (zero.bar, zero.pos) == ((0, meter.beats_per_bar - pickup + 1) if pickup else (1, 1))
    assert all(b.bar <= 0 for b in beats if b.n < 0)


@settings(deadline=None, max_examples=100)
@given(firsts, st.lists(st.tuples(st.integers(1, 9), bpms), min_size=1, max_size=6), meters, st.integers(0, 9))
def test_pending_changes_keep_their_bar(first, planned, meter, bar):
    """A meter change before pending tempo changes moves each with its bar line; no bar mixes two tempi."""
    m = edits.start(TempoMap.initial(1, T0, first[0], Meter.parse(first[1])), 2, T0).map
    size = Meter.parse(first[1]).beats_per_bar
    plan: dict[int, float] = {}
    for rev, (at_bar, bpm) in enumerate(planned):
        try:
            m = edits.set_tempo(m, 3 + rev, T0, bpm, at_bar * size).map
        except edits.EditError:
            continue
        plan[at_bar] = bpm
    with suppress(edits.EditError):  # a tempo that the new meter would take out of its range
        m = edits.set_meter(m, 90, T0, Meter.parse(meter), bar * size).map
    for b in beats_from(m, T0, 200):
        if b.pos > 1 and b.bar > 0:
            prev = m.beat(b.n - 1)
            assert prev is not None
            assert prev.bpm == b.bpm
