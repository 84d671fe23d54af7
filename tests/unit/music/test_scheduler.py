"""A device's scheduler: each beat once, on time, whatever happens around it."""

from itertools import pairwise

from bandroom.music import edits
from bandroom.music.meter import Meter
from bandroom.music.scheduler import LATE_US, LOOK_AHEAD_US, Due, Scheduler, TakenBack
from bandroom.music.slew import SlewedClock
from bandroom.music.tempo_map import TempoMap
from hypothesis import given, settings
from hypothesis import strategies as st

OFFSET = 1_763_800_000_000_000
T0 = OFFSET + 10_000_000


def playing(bpm: float = 120, meter: str = "4/4") -> TempoMap:
    """A map whose beat 0 is due at local time 10.15 s."""
    return edits.start(TempoMap.initial(1, T0, bpm, Meter.parse(meter)), 2, T0, count_in=0).map


def device_clock() -> SlewedClock:
    clock = SlewedClock()
    clock.steer(0, OFFSET)
    return clock


def polled(s: Scheduler, clock: SlewedClock, start: int, end: int, every: int = 20_000) -> list[Due]:
    out: list[Due] = []
    for local in range(start, end, every):
        out += [e for e in s.poll(local, clock) if isinstance(e, Due)]
    return out


def test_each_beat_once_and_ahead():
    """Ten seconds at 120: twenty beats, in order, each handed out before it is due, for its own local time."""
    s, clock = Scheduler(), device_clock()
    s.set_map(playing(), 9_990_000, clock)
    due = polled(s, clock, 9_990_000, 20_000_000)
    assert [d.beat.n for d in due] == list(range(20))
    assert [d.at_us for d in due] == [10_150_000 + 500_000 * n for n in range(20)]
    assert all(d.late_us == 0 for d in due)


def test_wake_us_is_when_the_next_beat_comes_within_reach():
    """Sleeping exactly until `wake_us` each time loses no beat."""
    s, clock = Scheduler(latency_us=15_000), device_clock()
    s.set_map(playing(), 9_990_000, clock)
    local, numbers = 9_990_000, []
    for _ in range(30):
        for d in s.poll(local, clock):
            assert isinstance(d, Due)
            assert d.at_us == 10_135_000 + 500_000 * d.beat.n
            numbers.append(d.beat.n)
        wake = s.wake_us(local, clock)
        assert wake is not None
        local = wake
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 25


def test_a_new_map_takes_back_only_what_it_moves():
    """A map that came late: the beat announced under the old one is taken back and announced where it is now."""
    s, clock = Scheduler(look_ahead_us=400_000), device_clock()
    old = playing()
    s.set_map(old, 9_990_000, clock)
    polled(s, clock, 9_990_000, 12_300_000)
    later = edits.set_tempo(old, 3, OFFSET + 11_900_000, 90, 8).map
    assert s.set_map(later, 12_300_000, clock) == []
    moved = edits.set_tempo(later, 4, OFFSET + 11_900_000, 240, 4).map
    assert s.set_map(moved, 12_310_000, clock) == [TakenBack(old.beat(5))]
    due = polled(s, clock, 12_320_000, 14_000_000)
    assert [d.beat.n for d in due] == list(range(5, 5 + len(due)))
    assert due[0].at_us == 12_400_000


def test_a_beat_announced_and_moved_is_taken_back():
    """Stopped in time: what was announced for after the stop is not to be played."""
    s, clock = Scheduler(look_ahead_us=1_200_000), device_clock()
    old = playing()
    s.set_map(old, 9_990_000, clock)
    polled(s, clock, 9_990_000, 12_000_000)
    stopped = edits.stop(old, 3, OFFSET + 12_000_000)
    events = s.set_map(stopped.map, 12_010_000, clock)
    assert [e.beat.n for e in events if isinstance(e, TakenBack)] == [4, 5, 6]
    assert stopped.n == 4
    assert polled(s, clock, 12_020_000, 16_000_000) == []
    again = edits.continue_(stopped.map, 4, OFFSET + 16_000_000).map
    s.set_map(again, 16_000_000, clock)
    assert [d.beat.n for d in polled(s, clock, 16_000_000, 16_500_000)] == [4, 5, 6, 7]


def test_a_map_that_came_late_plays_no_beat_twice():
    """Beat 4 has sounded when a map comes that has it 50 ms later: the next one is beat 5, where that map has it."""
    s, clock = Scheduler(), device_clock()
    old = playing()
    s.set_map(old, 9_990_000, clock)
    assert polled(s, clock, 9_990_000, 12_150_000)[-1].beat.n == 4
    late = edits.set_tempo(old, 3, OFFSET + 11_950_000, 60, "now").map
    again = late.beat(4)
    assert again is not None
    assert 12_195_000 <= again.t - OFFSET <= 12_205_000
    assert s.set_map(late, 12_160_000, clock) == []
    due = polled(s, clock, 12_160_000, 15_500_000)
    assert [d.beat for d in due] == [late.beat(n) for n in (5, 6, 7)]


def test_an_older_map_is_dropped():
    """A retained map of an earlier revision, delivered late, changes nothing."""
    s, clock = Scheduler(), device_clock()
    old = playing()
    new = edits.set_tempo(old, 3, T0, 60).map
    s.set_map(new, 9_990_000, clock)
    assert s.set_map(old, 9_991_000, clock) == []
    assert s.tempo_map is new
    assert s.counts.stale_maps == 1


def test_after_a_sleep_it_comes_back_at_a_bar():
    """A machine that slept through beats 5 to 13 is silent until beat 16, the next bar."""
    s, clock = Scheduler(), device_clock()
    s.set_map(playing(), 9_990_000, clock)
    assert [d.beat.n for d in polled(s, clock, 9_990_000, 12_500_000)] == [0, 1, 2, 3, 4]
    due = polled(s, clock, 16_700_000, 20_000_000)
    assert [d.beat.n for d in due] == [16, 17, 18, 19]
    assert due[0].beat.pos == 1


def test_a_short_stall_leaves_out_only_what_is_late():
    """Stopped for 700 ms, it leaves out the beats that are over, plays the next, and replays nothing."""
    s, clock = Scheduler(), device_clock()
    s.set_map(playing(), 9_990_000, clock)
    polled(s, clock, 9_990_000, 12_000_000)
    due = polled(s, clock, 12_720_000, 14_000_000)
    assert [d.beat.n for d in due] == [6, 7]
    assert s.counts.left_out_late == 2


def test_a_beat_a_little_late_is_still_played_and_says_so():
    """Found 20 ms late it is worth playing; the caller learns by how much."""
    s, clock = Scheduler(look_ahead_us=0), device_clock()
    s.set_map(playing(), 9_990_000, clock)
    s.poll(10_100_000, clock)
    (due,) = s.poll(10_170_000, clock)
    assert isinstance(due, Due)
    assert due.late_us == 20_000


def test_after_a_jump_of_the_clock_it_rests_until_a_bar():
    """`resync` and then silence until the bar, even where the clock jumped back."""
    s, clock = Scheduler(), device_clock()
    s.set_map(playing(), 9_990_000, clock)
    polled(s, clock, 9_990_000, 14_000_000)
    assert clock.steer(14_000_000, OFFSET - 900_000) == "resync"
    s.rest_until_bar()
    assert s.resting
    due = polled(s, clock, 14_000_000, 17_500_000)
    assert due[0].beat.pos == 1
    assert [d.beat.n for d in due] == list(range(due[0].beat.n, due[0].beat.n + len(due)))


def test_a_start_plays_again_from_its_count_in():
    """Numbers fall back at a start; the scheduler plays them all the same."""
    s, clock = Scheduler(), device_clock()
    m = playing()
    s.set_map(m, 9_990_000, clock)
    polled(s, clock, 9_990_000, 12_000_000)
    m = edits.stop(m, 3, OFFSET + 12_000_000).map
    s.set_map(m, 12_000_000, clock)
    polled(s, clock, 12_000_000, 14_000_000)
    s.set_map(edits.start(m, 4, OFFSET + 14_000_000).map, 14_000_000, clock)
    assert [d.beat.n for d in polled(s, clock, 14_000_000, 17_000_000)] == [-4, -3, -2, -1, 0, 1]


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.integers(1_000, 110_000), min_size=20, max_size=120),
    st.lists(st.tuples(st.integers(0, 60), st.floats(40, 240), st.integers(0, 140_000)), max_size=5),
    st.floats(-1e-4, 1e-4),
)
def test_no_beat_is_lost_or_doubled(gaps, tempi, skew):
    """Uneven polling, a skewed clock, maps that arrive up to 140 ms after their edit: the very beats of the map."""
    clock = SlewedClock()
    clock.steer(0, OFFSET, skew)
    s = Scheduler()
    m = playing()
    s.set_map(m, 9_990_000, clock)
    local, played, waiting = 9_990_000, [], []
    todo = {60 + 2 * i: t for i, t in enumerate(tempi)}
    for i, gap in enumerate(gaps * 2):
        if i in todo:
            _, bpm, delay = todo[i]
            try:
                m = edits.set_tempo(m, m.rev + 1, clock.server_at(local), bpm, "beat").map
            except edits.EditError:
                continue
            waiting.append((local + delay, m))
        for arrives, new in [w for w in waiting if w[0] <= local]:
            waiting.remove((arrives, new))
            taken = {e.beat.n for e in s.set_map(new, local, clock) if isinstance(e, TakenBack)}
            played = [d for d in played if d.beat.n not in taken]
        played += [e for e in s.poll(local, clock) if isinstance(e, Due)]
        local += gap
    assert [d.beat.n for d in played] == list(range(len(played)))
    assert all(d.late_us <= LATE_US for d in played)
    assert all(b.beat.t - a.beat.t > 0 for a, b in pairwise(played))
    assert LOOK_AHEAD_US < 150_000
