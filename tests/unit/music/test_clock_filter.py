"""The clock filter, by example and with whatever may come over a network."""

import random
from math import inf, isfinite

import pytest
from bandroom.music.clock_filter import ClockFilter, MinRttFilter
from hypothesis import given, settings
from hypothesis import strategies as st

OFFSET = 1_763_800_000_000_000


def exchange(
    clock: ClockFilter | MinRttFilter, t1: int, up: int, down: int, *, skew: float = 0.0, step: int = 0
) -> int:
    """Add an exchange with these delays (µs); returns when it came back."""
    server = OFFSET + step + t1 + up + round(skew * (t1 + up))
    clock.add(t1, server, server, t1 + up + down)
    return t1 + up + down


def test_nothing_is_known_at_first():
    """No guess: not synced, an infinite bound, and asking for the offset is an error."""
    for clock in (ClockFilter(), MinRttFilter()):
        assert not clock.synced
        assert clock.bound_at(0) == inf
        with pytest.raises(LookupError):
            clock.offset_at(0)


def test_one_exchange_gives_its_middle_and_half_its_round_trip():
    """4 ms up and 2 ms down: off by 1 ms, and known to within 3."""
    clock = ClockFilter()
    back = exchange(clock, 1_000_000, 4_000, 2_000)
    assert clock.synced
    assert clock.offset_at(back) == pytest.approx(OFFSET + 1_000, abs=1)
    # 2 µs for the resolution of the clocks, and what two crystals may part in 6 ms.
    assert clock.bound_at(back) == pytest.approx(3_002.3, abs=1)


def test_the_best_way_up_and_the_best_way_down_need_not_be_of_one_exchange():
    """One exchange quick on the way up, one on the way down: better than either alone."""
    clock = ClockFilter()
    exchange(clock, 1_000_000, 500, 80_000)
    back = exchange(clock, 1_090_000, 80_000, 500)
    assert clock.offset_at(back) == pytest.approx(OFFSET, abs=20)
    assert clock.bound_at(back) < 530


def test_the_bound_grows_until_the_next_exchange():
    """With the skew unknown, by 101 µs a second; once it is known, by a few."""
    clock = ClockFilter()
    back = exchange(clock, 1_000_000, 500, 500)
    assert clock.bound_at(back + 10_000_000) - clock.bound_at(back) == pytest.approx(1_010, abs=1)
    for i in range(1, 12):
        back = exchange(clock, 1_000_000 + i * 10_000_000, 500, 500, skew=40e-6)
    assert clock.skew_ppm == pytest.approx(40, abs=0.5)
    assert clock.bound_at(back + 10_000_000) - clock.bound_at(back) < 120
    assert clock.offset_at(back + 10_000_000) == pytest.approx(OFFSET + 40e-6 * (back + 10_000_000), abs=15)


@pytest.mark.parametrize("step", [-10_000_000, -8_000, 8_000, 10_000_000])
def test_a_step_of_the_server_throws_away_what_was_before(step: int):
    """More than the round trip, either way: at the first exchange after it all is new."""
    clock = ClockFilter()
    for i in range(20):
        exchange(clock, i * 500_000, 900, 1_100)
    back = exchange(clock, 11_000_000, 1_000, 1_000, step=step)
    assert clock.restarts == 1
    assert abs(clock.offset_at(back) - OFFSET - step) <= clock.bound_at(back) <= 1_010


def test_three_bounds_can_contradict_each_other_where_no_two_do():
    """A bend that no single line can follow starts it afresh too."""
    clock = ClockFilter()
    for t, skew_us in ((0, 0), (30_000_000, 2_900), (60_000_000, 100)):
        back = t + 1_000
        server = OFFSET + t + 500 + skew_us
        clock.add(t, server, server, back)
    assert clock.offset_at(60_001_000) == pytest.approx(OFFSET + 100, abs=1)
    assert clock.restarts == 1


def test_what_cannot_have_happened_is_ignored():
    """A reply from before its ping, a server that answers before it is asked, a round trip below nothing."""
    clock = ClockFilter()
    assert not clock.add(1_000, OFFSET, OFFSET, 900)
    assert not clock.add(1_000, OFFSET, OFFSET - 1, 2_000)
    assert not clock.add(1_000, OFFSET, OFFSET + 5_000, 2_000)
    assert clock.ignored == 3
    assert not clock.synced


def test_an_hour_of_pings_keeps_the_filter_small():
    """Eight pings a second for ten minutes, and it holds 64 bounds a side, 128 exchanges and 64 blocks at most."""
    clock = ClockFilter()
    for i in range(4_800):
        exchange(clock, i * 125_000, 500 + i * 7919 % 300, 500 + i * 104729 % 300)
    held = [len(v) for v in vars(clock).values() if isinstance(v, list)]
    assert max(held) <= 128
    assert sum(held) <= 64 + 64 + 128 + 64


def test_exchanges_that_were_gathered_still_count():
    """Over a link with jitter, what the last 128 exchanges don't tell the ones before them do: the error of the offset
    at the end of 100 s is smaller by a fifth and more than that of a filter that heard the last 16 bursts alone."""
    whole, recent = list[float](), list[float]()
    for seed in range(24):
        rng = random.Random(seed)
        skew = rng.uniform(-50e-6, 50e-6)
        clocks = ClockFilter(), ClockFilter()
        for burst in range(100):
            for i in range(8):
                t1 = burst * 1_000_000 + i * 30_000
                up, down = rng.gammavariate(4, 2_500), rng.gammavariate(4, 2_500)
                server = OFFSET + (t1 + up) * (1 + skew)
                for clock in clocks[: 2 if burst >= 84 else 1]:
                    clock.add(t1, round(server), round(server), round(t1 + up + down))
        for errors, clock in zip((whole, recent), clocks, strict=True):
            errors.append(abs(clock.offset_at(99_500_000) - OFFSET - skew * 99_500_000))
    assert sum(whole) < 0.8 * sum(recent)


def test_after_a_long_silence_old_bounds_are_dropped():
    """A tablet whose clock went on while it slept: what is from over 120 s ago no longer counts."""
    clock = ClockFilter()
    exchange(clock, 0, 500, 500)
    back = exchange(clock, 3_600_000_000, 900, 900, skew=50e-6)
    assert clock.restarts == 0
    assert clock.bound_at(back) == pytest.approx(902, abs=1)


ways = st.integers(100, 20_000)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(ways, ways), min_size=12, max_size=60), st.integers(-60_000, 60_000), st.integers(0, 60))
def test_a_step_that_hides_in_the_round_trips_stays_below_them(delays, step: int, at: int):
    """A step of the server less than a round trip cannot be seen: the error is then still below the last one, as with
    no knowledge of before at all."""
    clock = ClockFilter()
    for i, (up, down) in enumerate(delays):
        now = OFFSET + (step if i >= at else 0)
        back = exchange(clock, (i // 8) * 10_000_000 + i % 8 * 50_000, up, down, step=now - OFFSET)
        # What two crystals may part within a burst comes on top.
        assert abs(clock.offset_at(back) - now) <= max(up, down) + 60


def test_a_hidden_step_is_over_when_what_was_before_has_aged():
    """120 s after it the bound is honest again at the latest; while nothing contradicts, nothing is thrown away."""
    clock = ClockFilter()
    for i in range(12):
        exchange(clock, i * 10_000_000, 1_000, 1_000)
    known = clock.bound_at(120_000_000)
    errors: list[tuple[float, float]] = []
    for i in range(12, 40):
        back = exchange(clock, i * 10_000_000, 1_000, 1_000, step=1_500)
        errors.append((abs(clock.offset_at(back) - OFFSET - 1_500), clock.bound_at(back)))
    assert max(error for error, _ in errors) <= 1_010
    assert all(error <= bound for error, bound in errors[13:])
    assert errors[-1][1] <= known * 1.2


times = st.integers(0, 2**53) | st.integers(0, 10**9)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(times, times, st.integers(-5, 10**9), st.integers(-5, 10**9)), max_size=30), times)
def test_whatever_comes_it_neither_fails_nor_forgets_its_bound(exchanges, asked: int):
    """Any numbers in any order: no exception; once synced, a finite offset and a bound that is not negative."""
    clock = ClockFilter()
    for t1, t2, held, trip in exchanges:
        clock.add(t1, t2, t2 + held, t1 + trip)
    if clock.synced:
        assert isfinite(clock.offset_at(asked))
        assert clock.bound_at(asked) >= 0


def test_the_simple_filter_takes_the_quickest():
    """`MinRttFilter`: of all it remembers, the quickest exchange's middle."""
    clock = MinRttFilter(keep=4)
    exchange(clock, 0, 300, 100)
    for i in range(1, 4):
        exchange(clock, i * 30_000, 9_000, 1_000)
    assert clock.offset_at(100_000) == OFFSET + 100
    assert 200 < clock.bound_at(100_000) < 220
    exchange(clock, 150_000, 9_000, 1_000)
    assert clock.offset_at(160_000) == OFFSET + 4_000
