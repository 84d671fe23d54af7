"""The device's own clock."""

import asyncio

import pytest
from bandroom_devices.localclock import Flag, SkewedClock, SystemClock, sleep_until
from bandroom_devices.testing import ManualLocalClock


def test_a_skewed_clock_is_off_by_its_offset_and_gains_its_ppm() -> None:
    """A clock 3 s ahead that gains 50 ppm is 3 s and 5 ms ahead after 100 s."""
    base = ManualLocalClock(1_000_000)
    clock = SkewedClock(3_000_000, 50, base, origin_us=1_000_000)
    assert clock.now_us() == 4_000_000
    later = SkewedClock(3_000_000, 50, ManualLocalClock(101_000_000), origin_us=1_000_000)
    assert later.now_us() == 104_000_000 + 5_000


@pytest.mark.parametrize("ppm", [-50.0, 0.0, 37.5, 50.0])
async def test_a_sleeper_on_a_skewed_clock_wakes_at_its_time_and_not_before(ppm: float) -> None:
    """Whatever the skew, the clock reads at least the wanted time when the sleeper wakes, and at most 2 µs more."""
    base = ManualLocalClock(5_000_000)
    clock = SkewedClock.starting_now(-2_000_000, ppm, base)
    wanted_us = clock.now_us() + 10_000_000
    sleeper = asyncio.create_task(sleep_until(clock, wanted_us))
    await asyncio.sleep(0)
    await base.advance(9_990_000)
    assert not sleeper.done()
    read: list[int] = []
    sleeper.add_done_callback(lambda _: read.append(clock.now_us()))
    await base.advance(20_000)
    assert 0 <= read[0] - wanted_us <= 2


async def test_the_system_clock_never_wakes_early() -> None:
    """The short last stretch is slept by the alarm thread, and not before its time."""
    clock = SystemClock()
    for wait_us in (0, 300, 5_000):
        due_us = clock.now_us() + wait_us
        await asyncio.wait_for(sleep_until(clock, due_us), 5)
        assert clock.now_us() >= due_us


async def test_the_alarm_wakes_sleepers_in_the_order_of_their_times() -> None:
    """A sleeper that came later with an earlier time is not held up by the others."""
    clock, woken = SystemClock(), list[int]()

    async def sleep(wait_us: int, start_us: int) -> None:
        await sleep_until(clock, start_us + wait_us)
        woken.append(wait_us)

    start_us = clock.now_us()
    await asyncio.gather(*(sleep(wait_us, start_us) for wait_us in (40_000, 20_000, 30_000)))
    assert woken == [20_000, 30_000, 40_000]


async def test_a_flag_cuts_a_sleep_short() -> None:
    """A sleeper that is told of a change returns at once, and says that its time has not come."""
    clock, flag = ManualLocalClock(0), Flag()
    sleeper = asyncio.create_task(sleep_until(clock, 1_000_000, unless=flag))
    await clock.advance(500_000)
    assert not sleeper.done()
    flag.set()
    assert await asyncio.wait_for(sleeper, 5) is False
    assert await sleep_until(clock, 400_000, unless=flag) is True
