"""When a device asks for the time, on a clock that is moved by hand."""

import asyncio

from bandroom.music.ping_plan import BURST, STEP_US
from bandroom.wire.messages import ClockPing
from bandroom_devices.listeners import Changes
from bandroom_devices.testing import ManualLocalClock
from bandroom_devices.timekeeper import Timekeeper


async def test_the_first_burst_waits_for_the_line_and_then_for_nothing() -> None:
    """No ping is spent without a line; once it stands the first leaves at once, and `settled` ends the burst."""
    clock, sent = ManualLocalClock(), list[int]()

    async def send(ping: ClockPing) -> None:
        sent.append(clock.now_us())

    async def tell(error_us: int) -> None:
        raise AssertionError("nothing is known that could be told")

    keeper = Timekeeper(clock, Changes(), send=send, is_playing=lambda _: False, tell=tell)
    running = asyncio.create_task(keeper.run())
    await clock.advance(1_000_000)
    assert sent == []
    keeper.ask_now()
    up_us = clock.now_us()
    await clock.advance(0)
    assert sent == [up_us]
    assert not keeper.settled.is_set()
    await clock.advance(BURST * STEP_US)
    assert sent == [up_us + i * STEP_US for i in range(BURST)]
    assert keeper.settled.is_set()
    running.cancel()
